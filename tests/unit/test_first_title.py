"""A document's title is its first heading, as a person would read it aloud."""

from __future__ import annotations

import pytest

from lexigram_ray.ingestion.headings import first_title


@pytest.mark.parametrize(
    ("markdown", "title"),
    [
        ("# Harbour *rules*\n\ntext", "Harbour rules"),
        ("intro\n\n## `os` and `sys` ##\n", "os and sys"),
        ("# Controls [![ci](https://a/b.svg)](https://a) [![c](https://c)](https://c)", "Controls"),
        ("# ![logo](logo.png) Tides", "Tides"),
        ("# See [the docs](https://a/b)", "See the docs"),
        ("```\n# a comment\n```\n# The title", "The title"),
        ("no heading at all", ""),
    ],
)  # fmt: skip
def test_the_first_heading_is_the_title_without_marks_and_badges(markdown: str, title: str) -> None:
    assert first_title(markdown) == title
