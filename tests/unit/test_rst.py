from __future__ import annotations

import pytest

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


def test_what_stands_under_a_condition_is_kept() -> None:
    assert convert(".. only:: html\n\n   Kept words.\n").split() == ["Kept", "words."]


@pytest.mark.parametrize("name", ["image", "figure", "|quay| image"])
def test_a_picture_leaves_the_words_that_stand_for_it(name: str) -> None:
    marks = name.replace("image", "image:: quay.png").replace("figure", "figure:: quay.png")
    text = (
        f".. {marks}\n   :width: 300\n   :alt: The quay\n      at night\n   :target: x\n\nText.\n"
    )

    assert convert(text).split() == ["The", "quay", "at", "night", "Text."]


def test_a_role_keeps_angle_brackets_that_are_no_target() -> None:
    assert convert(":cpp:any:`std::vector<int>` or :ref:`a list <list<int>>`\n") == (
        "`std::vector<int>` or `a list`\n"
    )


def test_two_literals_are_no_reference_between_them() -> None:
    assert convert("``foo`` or ``_()``, :meth:`a`, :meth:`_()`, a `link`_\n") == (
        "`foo` or `_()`, `a`, `_()`, a link\n"
    )


def test_a_literal_with_a_backtick_in_it_stays_one() -> None:
    assert convert("``a`b`_``\n") == "``a`b`_``\n"
