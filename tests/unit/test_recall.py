from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.core.errors import TextsRefusedError
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.recall import (
    LEAST_TEXTS,
    MOST_TEXTS,
    measure_recall,
    read_report,
    recall_at_k,
)

DIMENSION = 16
TEXTS = [f"text {number}" for number in range(500)]


def _vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class _Provider:
    """Vectors by the number in a text, with some noise; forces refusals."""

    def __init__(self, noise: float = 0.0, refused: Sequence[str] = (), precision: str = "fp32"):
        self.spec = ModelSpec(
            name="m",
            revision="r",
            dimension=DIMENSION,
            max_tokens=8,
            pooling="mean",
            precision=precision,
        )
        vectors = _vectors(len(TEXTS)) + noise * _vectors(len(TEXTS), seed=1)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self._refused = refused

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        vectors = self._vectors[[int(text.split()[1]) for text in texts]]
        reasons = {row: "refused" for row, text in enumerate(texts) if text in self._refused}
        if reasons:
            vectors[list(reasons)] = 0
            raise TextsRefusedError(reasons, vectors)
        return vectors

    def embed_query(self, text: str) -> np.ndarray:
        return self.embed_texts([text])[0]


@pytest.mark.parametrize("k", [1, 10, 59])
def test_equal_vectors_lose_no_neighbour(k):
    assert recall_at_k(_vectors(60), _vectors(60), k=k) == 1.0


def test_the_share_of_neighbours_that_are_found_again_is_counted_without_the_query_itself():
    # On a circle, by degrees: 0's nearest are 10 and 25; when 10 moves to 200, they are 25 and 45.
    def at(*degrees: float) -> np.ndarray:
        angles = np.radians(degrees)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    before, after = at(0, 10, 25, 45, 180), at(0, 200, 25, 45, 180)

    assert recall_at_k(before, after, [0], k=2) == 0.5
    assert recall_at_k(before, after, [0], k=1) == 0.0
    assert recall_at_k(before, after, [3], k=1) == 1.0


@given(st.integers(12, 40), st.integers(1, 10), st.integers(0, 100))
def test_turning_all_vectors_alike_changes_no_neighbour(count, k, seed):
    vectors = _vectors(count, seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(DIMENSION, DIMENSION)))

    assert recall_at_k(vectors, (vectors @ turn).astype(np.float32), k=k) == 1.0


def test_vectors_that_have_nothing_in_common_find_few_neighbours():
    assert recall_at_k(_vectors(400), _vectors(400, seed=9)) < 0.1


@pytest.mark.parametrize(("other", "queries", "k"), [(19, None, 10), (20, None, 20), (20, [], 10)])
def test_what_has_no_recall_is_refused(other, queries, k):
    with pytest.raises(ValueError, match="vectors"):
        recall_at_k(_vectors(20), _vectors(other), queries, k=k)


def test_a_report_has_the_recall_and_the_cosines_of_a_sample_from_all_over():
    report = measure_recall(
        _Provider(), _Provider(noise=0.2), TEXTS * 2, usual=_Provider(precision="bf16")
    )

    assert report is not None
    assert report.texts == MOST_TEXTS
    assert 0.5 < report.recall_at_10 < 1
    assert 0.9 < report.min_cosine < report.mean_cosine < 1
    assert report.usual_precision == "bf16"
    assert report.texts_per_second > 0


def test_texts_that_either_provider_refuses_are_left_out():
    report = measure_recall(
        _Provider(refused=["text 1", "text 2"]), _Provider(refused=["text 3"]), TEXTS[:60]
    )

    assert report is not None
    assert report.texts == 57
    assert report.recall_at_10 == 1.0


@pytest.mark.parametrize(
    ("texts", "refused"), [(TEXTS[: LEAST_TEXTS - 1] * 9, ()), (TEXTS[:LEAST_TEXTS], TEXTS[:1])]
)
def test_too_few_texts_have_no_report(texts, refused):
    assert measure_recall(_Provider(), _Provider(refused=refused), texts) is None


def test_a_model_of_which_nothing_is_known_has_no_report(tmp_path: Path):
    model = LocalModel(spec=_Provider().spec, folder=tmp_path, tokenizer_file=tmp_path)

    assert read_report(model, models_dir=tmp_path) is None
