from __future__ import annotations

import pytest

from lexigram_ray.ingestion.print_layout import paragraphs_of


def text_of(pages: list[str]) -> str:
    return "\n".join(text for _, text in paragraphs_of(list(enumerate(pages, start=1))))


def test_rows_of_a_table_over_many_pages_are_all_kept() -> None:
    rows = [f"{row} {row * 7 % 100} {row * 13 % 50}" for row in range(1, 61)]

    assert (
        text_of(["\n".join(rows[page : page + 10]) for page in range(0, 60, 10)]).split("\n")
        == rows
    )


def test_columns_of_single_numbers_are_all_kept() -> None:
    rows = [f"{row * row % 89}" for row in range(60)]

    assert (
        text_of(["\n".join(rows[page : page + 10]) for page in range(0, 60, 10)]).split("\n")
        == rows
    )


@pytest.mark.parametrize("heading", ["Chapter {}", "Total {}00", "xi berths, {} by {}"])
def test_numbered_headings_and_totals_are_kept(heading: str) -> None:
    pages = [
        f"{heading.format(page, page)}\nSome words.\nThe end of {page} {page}."
        for page in range(1, 9)
    ]

    text = text_of(pages)

    assert all(heading.format(page, page) in text for page in range(1, 9))


@pytest.mark.parametrize(
    "furniture",
    ["Port Authority", "Page {} of 8", "Harbour rules 2026 - {}", "- {} -", "{}"],
)
def test_lines_that_repeat_or_count_the_pages_are_left_out(furniture: str) -> None:
    names = ["Alpha", "Bravo", "Coal", "Delta", "Elbe", "Fox", "Gulf", "Hotel"]
    pages = [f"{furniture.format(n + 10)}\nAt {name}.\nSee {name}." for n, name in enumerate(names)]

    assert text_of(pages) == "\n".join(f"At {name}.\nSee {name}." for name in names)


def test_roman_page_numbers_are_left_out() -> None:
    numbers = ["i", "ii", "iii", "iv", "v", "vi"]
    pages = [f"Words about {'x' * index}.\n{roman}" for index, roman in enumerate(numbers)]

    assert [line for line in text_of(pages).split("\n") if line in numbers] == []


def test_a_number_of_any_length_is_no_reason_to_fail() -> None:
    assert "9" * 5000 in text_of([f"{'9' * 5000} {page}\nwords" for page in "abcd"])
