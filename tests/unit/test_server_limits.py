from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.embedding.server_limits import BatchLimits, cut, estimate_tokens, pack

TEXT = st.text(st.characters(codec="utf-8"), max_size=80)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abcd", 2), ("汉字", 2), ("añb", 2), ("naïve café", 5)]
)
def test_an_estimate_is_a_third_of_ascii_and_all_other_characters(text, tokens):
    assert estimate_tokens(text) == tokens


@given(TEXT, st.integers(1, 20))
def test_a_cut_is_the_longest_head_within_the_estimate(text, tokens):
    head = cut(text, tokens)

    assert text.startswith(head)
    assert estimate_tokens(head) <= tokens
    assert head == text or estimate_tokens(text[: len(head) + 1]) > tokens


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 10), st.integers(1, 100))
def test_requests_hold_every_text_once_in_order_and_within_the_limits(tokens, texts, most):
    limits = BatchLimits(texts=texts, tokens=most)

    packed = list(pack(range(len(tokens)), tokens, limits))

    assert [row for part in packed for row in part] == list(range(len(tokens)))
    assert all(0 < len(part) <= texts for part in packed)
    assert all(sum(tokens[r] for r in part) <= most or len(part) == 1 for part in packed)


def test_a_refusals_words_tell_which_limit_shrinks():
    limits = BatchLimits(texts=256, tokens=100_000)

    assert limits.below(256, 9_000, "batch size 256 > 32") == BatchLimits(texts=128, tokens=100_000)
    assert limits.below(9, 90_000, "max 50000 Tokens") == BatchLimits(texts=256, tokens=45_000)
    assert limits.below(1, 1, "tokens").below(1, 1, "x") == BatchLimits(texts=1, tokens=1)
