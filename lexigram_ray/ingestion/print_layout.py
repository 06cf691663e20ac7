"""Printed pages to running text: without headers and footers, lines joined into paragraphs."""

from __future__ import annotations

import re
from collections import Counter

_BULLET = re.compile(r"\s*(?:[-*•·▪◦–]|\(?[0-9a-zA-Z]{1,3}[.)])\s")
# Longer ones number no pages.
_NUMBER = re.compile(r"(?<!\d)\d{1,6}(?!\d)")
_ROMAN = re.compile(r"(?=.)(x{0,4})(ix|iv|v?i{0,3})", re.I)
_DIVISION = re.compile(
    r"(?:chapter|section|part|appendix|unit|lesson|book|act|article|rule|step|day|week"
    r"|kapitel|abschnitt|teil|anhang|chapitre|partie|cap[ií]tulo|parte)\s+\d+\W*",
    re.I,
)
_SPLIT_WORD = re.compile(r"(?<=[a-zà-ÿ])-$")
_ROMAN_VALUES = {"i": 1, "v": 5, "x": 10}
_LEADERS = re.compile(r"(?:\. ?){4,}")
_FULL_LINE = 0.72
_RUNNING_SHARE = 0.3
_MIN_PAGES = 4
_MIN_NUMBERED = 3

# What of a line repeats from page to page, and by how much its number differs from the page's.
_Form = tuple[tuple[str, ...], int | None]


def paragraphs_of(pages: list[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Take headers and footers off printed pages, and join their lines into paragraphs.

    Args:
        pages: Numbers from 1 and texts; a single page numbered 0 is returned as it is.
    """
    if pages[0][0] == 0:
        return tuple(pages)
    lines = [[line.strip() for line in re.split(r"\r?\n", text.strip())] for _, text in pages]
    numbers = [number for number, _ in pages]
    running = _running_lines(numbers, lines)
    return tuple(
        (number, _paragraphs(_without_running(number, page, running)))
        for number, page in zip(numbers, lines, strict=True)
    )


def _running_lines(numbers: list[int], pages: list[list[str]]) -> set[_Form]:
    """Find headers and footers: outermost lines that repeat, but for the number of the page.

    A line with other numbers that change is a row of a table or a heading.
    """
    if len(pages) < _MIN_PAGES:
        return set()
    edges = Counter(
        form
        for number, page in zip(numbers, pages, strict=True)
        for form in {form for line in _edges(page) for form in _forms(number, line)}
    )
    least = _RUNNING_SHARE * len(pages)
    return {
        form
        for form, count in edges.items()
        if count >= max(least, 2 if form[1] is None else _MIN_NUMBERED)
    }


def _edges(page: list[str]) -> list[str]:
    # The outermost line of each end: further in, text that repeats may be meant. Only a bare
    # number is a page's also in the second line.
    bare = [line for line in (*page[1:2], *page[-2:-1]) if _is_bare_number(line)]
    return [*page[:1], *page[-1:], *bare]


def _forms(page: int, line: str) -> list[_Form]:
    """Return what of a line may repeat: itself, and itself around a number that counts pages.

    Args:
        page: The number of the page.
        line: The line.

    Returns:
        Pairs: the line, or what is left and right of a number in it; and by how much that number
        differs from the page's, None for the line itself.
    """
    if not line:
        return []
    forms: list[_Form] = [] if _is_bare_number(line) else [((line,), None)]
    if _ROMAN.fullmatch(line):
        forms.append((("", ""), _roman(line) - page))
    if not _DIVISION.fullmatch(line):
        forms += [
            ((line[: match.start()], line[match.end() :]), int(match[0]) - page)
            for match in _NUMBER.finditer(line)
        ]
    return forms


def _is_bare_number(line: str) -> bool:
    return bool(_NUMBER.fullmatch(line) or _ROMAN.fullmatch(line))


def _roman(number: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in number.lower()]
    return sum(
        -value if value < after else value
        for value, after in zip(values, [*values[1:], 0], strict=True)
    )


def _without_running(number: int, page: list[str], running: set[_Form]) -> list[str]:
    kept = list(page)
    for end, second in ((0, 1), (-1, -2)):
        if kept and not running.isdisjoint(_forms(number, kept[end])):
            del kept[end]
        is_second_bare = len(kept) > 1 and _is_bare_number(kept[second])
        if is_second_bare and not running.isdisjoint(_forms(number, kept[second])):
            del kept[second]
    return kept


def _paragraphs(lines: list[str]) -> str:
    """Join the lines of a column of print into paragraphs: a short line ends one."""
    # Not the longest line: one that is set in small print would make all others look short.
    lengths = sorted(len(line) for line in lines if line)
    width = lengths[int(len(lengths) * 0.85)] if lengths else 0
    joined: list[str] = []
    for number, line in enumerate(lines):
        before = lines[number - 1] if number else ""
        goes_on = (
            bool(line and before)
            and len(before) >= _FULL_LINE * width
            and width > 50
            and not _BULLET.match(line)
            and not _LEADERS.search(before)
        )
        if not goes_on:
            joined.append(line)
        elif _SPLIT_WORD.search(before) and line[:1].islower():
            joined[-1] = joined[-1][:-1] + line
        else:
            joined[-1] = f"{joined[-1]} {line}"
    return "\n".join(joined).strip()
