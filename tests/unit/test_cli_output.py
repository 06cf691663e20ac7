"""Colour, numbers and text that must not steer a terminal."""

from __future__ import annotations

import io

import pytest

from lexigram_ray.cli.output import (
    byte_size,
    count,
    duration,
    printable,
    wants_colour,
)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (io.StringIO(), {}, False),
        (io.StringIO(), {"CLICOLOR_FORCE": "1"}, True),
        (io.StringIO(), {"CLICOLOR_FORCE": "0"}, False),
        (io.StringIO(), {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
        (Screen(), {}, True),
        (Screen(), {"NO_COLOR": "1"}, False),
        (Screen(), {"NO_COLOR": ""}, True),
        (Screen(), {"TERM": "dumb"}, False),
        (Screen(), {"CLICOLOR": "0"}, False),
    ],
)
def test_colour_follows_no_color_then_clicolor_force_then_the_terminal(
    stream: io.StringIO, environ: dict[str, str], expected: bool
) -> None:
    assert wants_colour(stream, environ) is expected


def test_control_characters_of_a_text_are_shown_and_not_obeyed() -> None:
    assert printable("a\x1b[2Jb\nc\x9bd\udcffe") == "a\\x1b[2Jb\\nc\\x9bd\\udcffe"
    assert printable("größe 文書") == "größe 文書"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (45.4, "45 s"),
        (59.6, "1 min 0 s"),
        (133, "2 min 13 s"),
        (11100, "3 h 5 min"),
    ],
)
def test_a_duration_is_told_in_the_two_units_that_matter(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (2 * 10**18, "2000.0 PB"),
    ],
)
def test_a_size_is_told_in_powers_of_a_thousand(number: int, expected: str) -> None:
    assert byte_size(number) == expected


def test_one_thing_is_singular() -> None:
    assert (count(1, "row"), count(1234, "row")) == ("1 row", "1,234 rows")
