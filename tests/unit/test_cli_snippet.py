"""The part of a passage that is shown under a hit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.cli.snippet import ELLIPSIS, find_words, make_snippet, query_words

LONG = "filler " * 200 + "the lease is renewed every ten seconds by its owner " + "padding " * 200


def test_a_short_passage_is_shown_whole_on_one_line() -> None:
    assert make_snippet("one\n\ntwo\tthree", frozenset({"two"})) == "one two three"


def test_the_words_of_the_query_are_in_the_part_that_is_shown() -> None:
    snippet = make_snippet(LONG, query_words("How is a lease renewed?"))

    assert "lease is renewed" in snippet
    assert snippet.startswith(ELLIPSIS)
    assert snippet.endswith(ELLIPSIS)


def test_without_the_words_the_beginning_is_shown() -> None:
    assert make_snippet(LONG, frozenset({"zebra"})).startswith("filler filler")


def test_a_longer_form_of_a_word_is_found_too() -> None:
    spans = find_words("Leases were renewed", query_words("lease renew"))

    assert spans == [(0, 6), (12, 19)]


def test_short_words_count_only_when_there_is_no_other() -> None:
    assert query_words("how is a lease renewed") == {"how", "lease", "renewed"}
    assert query_words("C") == {"c"}


@given(st.text(), st.text(), st.integers(min_value=20, max_value=400))
def test_a_snippet_is_never_much_longer_than_asked(text: str, query: str, width: int) -> None:
    snippet = make_snippet(text, query_words(query), width)

    assert len(snippet) <= width + 2
    assert "\n" not in snippet
