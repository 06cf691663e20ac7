from __future__ import annotations

import json

import pytest

from lexigram_ray.core.errors import LimitExceededError
from lexigram_ray.ingestion.records import csv_text, json_lines_text, json_text


def test_json_reads_as_names_and_values() -> None:
    value = {
        "title": "Rules",
        "berths": [{"name": "North", "tags": ["deep", "long"]}, {"name": "Oil"}],
        "open": True,
        "closed": None,
    }

    assert json_text(json.dumps(value)) == (
        "title: Rules\nberths:\n  - name: North\n    tags: deep, long\n  - name: Oil\n"
        "open: true\nclosed: null"
    )


def test_long_values_of_a_list_have_lines_of_their_own() -> None:
    text = json_text(json.dumps({"rules": ["first " * 10, "second " * 10]}))

    assert [line.strip()[:7] for line in text.split("\n")] == ["rules:", "- first", "- secon"]


def test_what_is_no_json_stays_as_it_is() -> None:
    assert json_text("{ // comment\n}") == "{ // comment\n}"


@pytest.mark.parametrize("depth", [500, 100_000])
def test_json_nested_too_deep_is_over_a_limit(depth: int) -> None:
    with pytest.raises(LimitExceededError, match="nested"):
        json_text("[" * depth + "1" + "]" * depth)


def test_json_lines_are_paragraphs_and_a_broken_one_stays() -> None:
    assert json_lines_text('{"a": 1, "b": "x"}\n\nbroken\n{"a": 2}\n') == (
        "a: 1\nb: x\n\nbroken\n\na: 2"
    )


def test_each_row_of_a_csv_carries_its_column_names() -> None:
    assert csv_text('berth;depth\n"North; quay";9.5\nOil jetty;\n') == (
        "berth: North; quay; depth: 9.5\nberth: Oil jetty"
    )


def test_a_csv_without_a_header_keeps_its_rows() -> None:
    assert csv_text("1,2\n3,4\n") == "1, 2\n3, 4"


def test_cells_beyond_the_header_are_not_lost() -> None:
    assert csv_text("a,b\n1,2,extra\n") == "a: 1; b: 2; extra"


def test_line_breaks_and_quotes_within_a_cell_stay() -> None:
    assert csv_text('name,text\nx,"first ""line""\nsecond"\n') == (
        'name: x; text: first "line"\nsecond'
    )


def test_a_doubled_quote_is_one_quote_also_past_the_sample() -> None:
    plain = '"a, b","c"\n' * 4000

    assert csv_text(plain + '"say ""x"", twice","d"\n').endswith('say "x", twice; c: d')


def test_a_row_that_cannot_be_read_as_one_stays_and_so_do_those_after_it() -> None:
    text = csv_text("name,depth\nquay,9\nbad\rline,3\njetty,7\n")

    assert text.startswith("name: quay; depth: 9\n")
    assert "bad\rline,3" in text
    assert text.endswith("name: jetty; depth: 7")
