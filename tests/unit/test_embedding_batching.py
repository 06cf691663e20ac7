from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.embedding.batching import distinct, split, token_batches, windows
from lexigram_ray.embedding.pooling import normalised, pool

LENGTHS = st.lists(st.integers(1, 300), max_size=60)


def _ids(lengths: list[int]) -> list[np.ndarray]:
    return [np.arange(1, length + 1, dtype=np.int32) for length in lengths]


@given(st.lists(st.text(max_size=3)))
def test_equal_texts_become_one_and_every_text_finds_its_place(texts):
    once, inverse = distinct(texts)

    assert len(set(once)) == len(once)
    assert [once[place] for place in inverse] == texts


@given(st.lists(st.text(max_size=5)), st.integers(1, 7), st.integers(1, 7))
def test_windows_hold_every_position_once(texts, size, first):
    held = [row for window in windows(texts, size, first) for row in window]

    assert sorted(held) == list(range(len(texts)))


@given(LENGTHS, st.integers(1, 1024))
def test_batches_hold_every_row_once_within_the_budget_equal_lengths_first(lengths, budget):
    rows = np.arange(len(lengths), dtype=np.int64) + 100

    batches = list(token_batches(_ids(lengths), rows, budget=budget, pad_id=0))

    assert sorted(row for batch in batches for row in batch.rows) == rows.tolist()
    assert all(b.input_ids.size <= budget or len(b.rows) == 1 for b in batches)
    shapes = [(len(batch.rows), batch.input_ids.shape[1]) for batch in batches]
    full = [
        (max(1, budget // length), length)
        for length in sorted(set(lengths), reverse=True)
        for _ in range(lengths.count(length) // max(1, budget // length))
    ]
    assert shapes[: len(full)] == full
    assert all(len(set(batch.lengths.tolist())) == 1 for batch in batches[: len(full)])
    widths = [width for _, width in shapes[len(full) :]]
    assert widths == sorted(widths, reverse=True)


@given(LENGTHS)
def test_padding_is_masked_and_tokens_are_not(lengths):
    rows = np.arange(len(lengths), dtype=np.int64)

    for batch in token_batches(_ids(lengths), rows, budget=512, pad_id=0):
        assert (batch.attention_mask == (batch.input_ids != 0)).all()
        assert batch.attention_mask.sum(axis=1).tolist() == batch.lengths.tolist()


@given(LENGTHS, st.integers(1, 1024), st.integers(1, 1024))
def test_a_batch_split_to_a_smaller_budget_holds_the_same_tokens(lengths, budget, smaller):
    rows = np.arange(len(lengths), dtype=np.int64)

    for batch in token_batches(_ids(lengths), rows, budget=budget, pad_id=0):
        parts = split(batch, smaller)

        assert [row for part in parts for row in part.rows] == batch.rows.tolist()
        assert all(part.input_ids.size <= smaller or len(part.rows) == 1 for part in parts)
        for part in parts:
            assert (part.attention_mask == (part.input_ids != 0)).all()
            assert part.attention_mask.sum(axis=1).tolist() == part.lengths.tolist()


def test_mean_pooling_ignores_what_padding_holds():
    hidden = np.array([[[3, 0], [0, 4], [np.nan, np.inf]]], np.float32)

    vector = pool(hidden, np.array([2]), "mean")

    np.testing.assert_allclose(vector, [[1.5, 2]], rtol=1e-6)


def test_cls_pooling_takes_the_first_token():
    hidden = np.array([[[3, 4], [100, 0]]], np.float32)

    np.testing.assert_allclose(pool(hidden, np.array([2]), "cls"), [[3, 4]], rtol=1e-6)


def test_only_the_kept_numbers_are_normalised():
    np.testing.assert_allclose(
        normalised(np.array([[3, 4, 100]], np.float32), 2), [[0.6, 0.8]], rtol=1e-6
    )


def test_what_cannot_be_normalised_is_nan():
    pooled = np.array([[0, 0], [np.inf, 1], [np.nan, 1], [3, 4]], np.float32)

    vectors = normalised(pooled, 2)

    assert np.isnan(vectors).any(axis=1).tolist() == [True, True, True, False]
