from __future__ import annotations

from lexigram_ray.ingestion.rst import convert


def test_titles_become_headings_in_the_order_of_their_adornments() -> None:
    text = "====\nBook\n====\n\nOne\n---\n\nDeep\n~~~~\n\nTwo\n---\n"

    assert [line for line in convert(text).split("\n") if line] == [
        "# Book",
        "## One",
        "### Deep",
        "## Two",
    ]


def test_roles_links_and_literals_keep_their_words() -> None:
    text = (
        "Use :func:`~json.dump` or :py:class:`the encoder <JSONEncoder>` with ``indent``,\n"
        "see `the\nsite <https://x.example>`_ and :rfc:`7159` [#note]_.\n"
    )

    assert convert(text) == (
        "Use `json.dump` or `the encoder` with `indent`,\nsee the\nsite and RFC 7159.\n"
    )


def test_what_stands_under_any_directive_is_kept() -> None:
    text = ".. function:: dump(obj)\n   :module: json\n\n   Writes *obj*.\n\n.. note:: Careful.\n"

    assert [line.strip() for line in convert(text).split("\n") if line.strip()] == [
        "dump(obj)",
        "Writes *obj*.",
        "Note: Careful.",
    ]


def test_comments_targets_and_index_entries_are_no_text() -> None:
    text = (
        ".. _target:\n\n.. index::\n   single: harbour\n\n.. a comment\n   of two lines\n\nText.\n"
    )

    assert convert(text).split() == ["Text."]


def test_literal_blocks_and_tables_stay_as_written() -> None:
    text = (
        "Example::\n\n    x = [1]\n\n=====  =====\nA      B\n=====  =====\n1      2\n=====  =====\n"
    )

    assert convert(text) == text.replace("Example::", "Example:")
