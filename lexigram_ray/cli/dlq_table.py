"""Dead letters as a table, one line a letter, and their causes, a block each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.job_ids import short_ids
from lexigram_ray.cli.job_words import age
from lexigram_ray.cli.letter_words import NONE, STYLES, failed, next_retry, one_line, retries
from lexigram_ray.cli.output import (
    console,
    is_terminal,
    paint,
    print_table,
    printable,
    shortened,
    write_line,
)
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.letter_records import LetterStatus

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.cli.letter_filters import Asked
    from lexigram_ray.jobs.letter_records import DeadLetter, LetterGroup

SHOWN_OF_AN_ERROR = 60
INDENT = "  "
SHOWN_OF_AN_EXAMPLE = 200
COLLECTIONS_SHOWN = 3

MaxRetries = Callable[[FailureCategory], int]


def print_letters(letters: Sequence[DeadLetter], max_retries: MaxRetries, now: datetime) -> None:
    """Print letters on stdout, in their order: two lines each on a terminal, one in a pipe."""
    ids = short_ids([letter.id for letter in letters])
    columns = {
        "ID": ids,
        "STATUS": [letter.status.value for letter in letters],
        "CATEGORY": [letter.category.value for letter in letters],
        "CODE": [one_line(letter.code) for letter in letters],
        "COLLECTION": [one_line(letter.collection) for letter in letters],
        "FAILED": [failed(letter, now) for letter in letters],
        "RETRIES": [retries(letter, max_retries(letter.category)) for letter in letters],
        "NEXT RETRY": [next_retry(letter, now) for letter in letters],
    }
    if is_terminal(sys.stdout):
        _print_blocks(letters, columns)
        return
    columns["SOURCE"] = [one_line(letter.source) for letter in letters]
    columns["ERROR"] = [shortened(one_line(letter.error), SHOWN_OF_AN_ERROR) for letter in letters]
    print_table(tuple(columns), zip(*columns.values(), strict=True))


def _print_blocks(letters: Sequence[DeadLetter], columns: Mapping[str, Sequence[str]]) -> None:
    """Print what has room in a line, and below it the source and the error as far as they go."""
    from rich.cells import cell_len, set_cell_size

    width = console(sys.stdout).width
    shown = {name: list(map(printable, cells)) for name, cells in columns.items() if _tells(cells)}
    widths = {name: max(map(cell_len, (name, *cells))) for name, cells in shown.items()}
    header = "  ".join(set_cell_size(name, widths[name]) for name in shown)
    write_line(sys.stdout, paint(header.rstrip(), "bold", sys.stdout))
    for number, letter in enumerate(letters):
        cells = [set_cell_size(shown[name][number], widths[name]) for name in shown]
        styled = dict(zip(shown, cells, strict=True))
        if "STATUS" in styled:
            styled["STATUS"] = paint(styled["STATUS"], STYLES[letter.status], sys.stdout)
        write_line(sys.stdout, "  ".join(styled.values()).rstrip())
        why = f"{_end(letter.source, width // 2)}: {printable(one_line(letter.error))}"
        if cell_len(why) > width - len(INDENT):
            why = f"{set_cell_size(why, width - len(INDENT) - 1).rstrip()}…"
        write_line(sys.stdout, INDENT + why)


def _tells(cells: Sequence[str]) -> bool:
    """Whether a column says more than that nobody has decided anything yet."""
    return not {LetterStatus.OPEN.value, NONE} >= set(cells)


def print_groups(
    groups: Sequence[LetterGroup], asked: Asked, invocation: Invocation, now: datetime
) -> None:
    """Print causes on stdout: how many failures, what they say, and the line that retries them."""
    width = max((len(f"{group.count:,}") for group in groups), default=0)
    for number, group in enumerate(groups):
        if number:
            write_line(sys.stdout, "")
        count = paint(f"{group.count:>{width},}", "bold", sys.stdout)
        write_line(sys.stdout, f"{count}  {_headline(group, now)}")
        indent = " " * (width + 2)
        example = shortened(one_line(group.example), SHOWN_OF_AN_EXAMPLE)
        write_line(sys.stdout, indent + printable(example))
        same = replace(asked, status=None, fingerprint=group.fingerprint)
        line = invocation.suggest("dlq", "retry", *same.words())
        write_line(sys.stdout, f"{indent}{paint('retry with:', 'cyan', sys.stdout)} {line}")


def _headline(group: LetterGroup, now: datetime) -> str:
    shown = ", ".join(map(printable, group.collections[:COLLECTIONS_SHOWN]))
    more = len(group.collections) - COLLECTIONS_SHOWN
    where = f"{shown} and {more:,} more" if more > 0 else shown
    code = printable(group.code)
    newest = f"the newest {age(group.last_failed_at, now)} ago"
    return f"{paint(code, 'red', sys.stdout)} ({group.category.value}) in {where}; {newest}"


def _end(source: str, at_most: int) -> str:
    """Return the end of a source, which of a path tells most, and leaves room for the error."""
    shown = printable(one_line(source))
    return shown if len(shown) <= at_most else f"…{shown[1 - at_most :]}"
