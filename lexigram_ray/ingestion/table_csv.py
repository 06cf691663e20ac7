"""Tables in CSV: the delimiter found, every value a text as it stands, a bad row only itself."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa

from lexigram_ray.core.errors import UsageError
from lexigram_ray.ingestion.table_columns import chosen_id, reading, unique_names
from lexigram_ray.ingestion.table_rows import (
    BYTES_AT_ONCE,
    ROWS_AT_ONCE,
    BrokenRow,
    TextRows,
    Wanted,
    string_array,
)
from lexigram_ray.ingestion.table_text import LONGEST_LINE, text_lines

LONGEST_FIELD: Final = 8 << 20
"""Characters. A longer one is a quote that was opened and never closed."""

_DELIMITERS = ",;\t|"
_NO_LIMIT = (1 << 31) - 1
_CLOSED = "a quote is opened and never closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    r"""How values are divided and quoted.

    Attributes:
        escape: `\\` where quotes within values are written `\"`; None where they are doubled.
    """

    delimiter: str
    escape: str | None = None

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Return a reader that raises `csv.Error` for wrong quotes."""
        # One field may hold a whole document; the limit, which is global, is 128 KB at first.
        csv.field_size_limit(_NO_LIMIT)
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            escapechar=self.escape,
            doublequote=self.escape is None,
            strict=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvTable:
    """A file of comma-separated values, or of tabs, semicolons or bars. Its first row is names.

    Attributes:
        names: Of the columns, each once.
    """

    path: Path
    source: str
    text_column: str
    id_column: str | None
    dialect: Dialect
    names: tuple[str, ...]

    def rows(self) -> Iterator[TextRows]:
        """Read the rows; see `TextTable`."""
        with reading(self.source):
            records = _records(text_lines(self.path), self.dialect)
            next(records, None)
            yield from _batches(records, self.names)


def csv_table(path: Path, head: str, wanted: Wanted) -> CsvTable:
    """Open a file of CSV.

    Args:
        path: It may be packed.
        head: Its first characters, unpacked and decoded.
        wanted: Its name and columns.

    Raises:
        UsageError: It has no such columns, or cannot be read.
    """
    dialect = dialect_of(head, wanted.text_column)
    with reading(wanted.source):
        first = next(_records(text_lines(path), dialect), [])
    if isinstance(first, str):
        raise UsageError(
            f"{wanted.source}: its first row, which names the columns, cannot be read: {first}",
            hint="mend the quotes of its first line",
        )
    names = [name.strip() for name in first]
    return CsvTable(
        path=path,
        source=wanted.source,
        text_column=wanted.text_column,
        id_column=chosen_id(wanted, names),
        dialect=dialect,
        names=tuple(unique_names(names)),
    )


def dialect_of(head: str, text_column: str) -> Dialect:
    """Find the dialect under which most rows of a sample are as wide as the first one.

    Args:
        head: The first characters of the file.
        text_column: A delimiter under which this is a column comes first.
    """
    escapes = (None, "\\") if '\\"' in head else (None,)
    candidates = [Dialect(delimiter=d, escape=e) for d in _DELIMITERS for e in escapes]
    return max(candidates, key=lambda dialect: _fit(dialect, head, text_column))


def is_csv(head: str) -> bool:
    """Whether a text without a telling name looks like a table: all rows of one width, above 1."""
    for delimiter in _DELIMITERS:
        records = _sample(Dialect(delimiter=delimiter), head)
        widths = {len(record) for record in records if isinstance(record, list)}
        if len(records) > 1 and len(widths) == 1 and widths.pop() > 1:
            return True
    return False


def _fit(dialect: Dialect, head: str, text_column: str) -> tuple[bool, float, int]:
    records = _sample(dialect, head)
    if not records or not isinstance(records[0], list):
        return (False, 0.0, 0)
    names = [name.strip() for name in records[0]]
    right = sum(isinstance(r, list) and len(r) == len(names) for r in records)
    # One column is what any other delimiter gives.
    share = right / len(records) if len(names) > 1 else 0.0
    return (text_column in names and len(names) > 1, round(share, 2), len(names))


def _sample(dialect: Dialect, head: str) -> list[list[str] | str]:
    lines = head.splitlines(keepends=True)
    records = list(_records(iter(lines), dialect))
    # The sample may end in the middle of the last one.
    return records[:-1] if len(records) > 2 else records


def _records(lines: Iterator[str | None], dialect: Dialect) -> Iterator[list[str] | str]:
    """Yield each record's values; of a broken record the reason, in words.

    A record with wrong quotes costs its first line: where it ends nobody knows, and what was
    taken for the rest of it may be whole records.
    """
    feed = _Lines(lines)
    reader = dialect.reader(feed)
    while True:
        feed.taken.clear()
        feed.characters = 0
        try:
            record = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLong) as error:
            yield _reason(error)
            feed.again(list(feed.taken)[1:])
            reader = dialect.reader(feed)
        else:
            if record:
                yield record


class _TooLong(Exception):
    """A line, or a field, is longer than any value."""


class _Lines:
    """Lines for a reader, with those that it took for the record at hand."""

    def __init__(self, lines: Iterator[str | None]) -> None:
        self._lines = lines
        self._again: deque[str | None] = deque()
        self.taken: list[str | None] = []
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        if line is None:
            raise _TooLong(f"its line is longer than {LONGEST_LINE >> 20} MB")
        if len(self.taken) > 1:
            self.characters += len(line)
            if self.characters > LONGEST_FIELD:
                raise _TooLong(_CLOSED)
        return line

    def again(self, lines: Sequence[str | None]) -> None:
        """Give these lines once more, before all others."""
        self._again.extendleft(reversed(lines))


def _reason(error: Exception) -> str:
    text = str(error)
    return _CLOSED if "end of data" in text else text


@dataclass(slots=True)
class _Gathered:
    names: tuple[str, ...]
    first_row: int
    records: list[list[str] | None] = field(default_factory=list["list[str] | None"])
    broken: list[BrokenRow] = field(default_factory=list[BrokenRow])
    characters: int = 0

    def add(self, record: list[str] | str) -> None:
        if isinstance(record, list) and len(record) == len(self.names):
            self.records.append(record)
            self.characters += sum(map(len, record))
            return
        reason = record
        if isinstance(record, list):
            values = "1 value" if len(record) == 1 else f"{len(record)} values"
            reason = f"it has {values}, but there are {len(self.names)} columns"
        row = self.first_row + len(self.records)
        self.broken.append(BrokenRow(row=row, reason=str(reason)))
        self.records.append(None)

    def rows(self) -> TextRows:
        """Return what is gathered."""
        nothing = [None] * len(self.names)
        whole = [record or nothing for record in self.records]
        columns = [string_array(list(column)) for column in zip(*whole, strict=True)]
        return TextRows(
            batch=pa.record_batch(columns, names=list(self.names)),
            first_row=self.first_row,
            broken=tuple(self.broken),
        )


def _batches(records: Iterator[list[str] | str], names: tuple[str, ...]) -> Iterator[TextRows]:
    gathered = _Gathered(names, 0)
    for record in records:
        gathered.add(record)
        if len(gathered.records) == ROWS_AT_ONCE or gathered.characters >= BYTES_AT_ONCE:
            yield gathered.rows()
            gathered = _Gathered(names, gathered.first_row + len(gathered.records))
    if gathered.records:
        yield gathered.rows()
