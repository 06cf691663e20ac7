"""JSON, JSON Lines and CSV as text that reads well: every value beside its name.

A row of a table cut out of its middle says nothing without the header. So each row carries the
names of its columns, and any chunk of the text can be understood alone.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import cast

from lexigram_ray.core.errors import LimitExceededError

JSON_TREE_LIMIT = 32 << 20
"""Bytes of JSON from which the text is kept as it stands: the tree would be ten times as big."""

_MAX_DEPTH = 200
_INLINE = 80
_SNIFFED = 16 << 10
_NO_LIMIT = (1 << 31) - 1
_DELIMITERS = ",;\t|"


def json_text(text: str) -> str:
    """Return the values of a JSON document, one a line, under their names.

    Text that is not JSON after all (with comments, say) is returned as it is.

    Raises:
        LimitExceededError: It is nested too deep to be read.
    """
    if len(text) > JSON_TREE_LIMIT:
        return text
    try:
        value: object = json.loads(text)
    except RecursionError as error:
        raise LimitExceededError("its JSON is nested too deep to be read") from error
    except ValueError:
        return text
    return "\n".join(_lines(value, "", 0))


def json_lines_text(text: str) -> str:
    """Return each record as a paragraph of `name: value` lines; a broken line stays as it is.

    Raises:
        LimitExceededError: A record is nested too deep to be read.
    """
    return "\n\n".join(json_text(line.strip()) for line in _lines_of(text) if line.strip())


def csv_text(text: str) -> str:
    """Return each row as a line of `column: value` pairs, or of values where no header is seen."""
    rows = _rows(text)
    first = list(islice(rows, 2))
    if not first:
        return text
    header = first[0] if _is_header(first) else None
    body = first[1:] if header else first
    return "\n".join(_row_line(row, header) for row in chain(body, rows) if any(row))


def _lines(value: object, name: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise LimitExceededError(f"its JSON is nested deeper than {_MAX_DEPTH} levels")
    indent = "  " * max(depth - 1, 0)
    if isinstance(value, dict) and value:
        if name:
            yield f"{indent}{name}:"
        for key, member in cast("dict[str, object]", value).items():
            yield from _lines(member, key, depth + 1)
    elif isinstance(value, list) and value:
        items = cast("list[object]", value)
        inline = _inline_list(items)
        if inline is not None:
            yield f"{indent}{name}: {inline}" if name else f"{indent}{inline}"
            return
        if name:
            yield f"{indent}{name}:"
        for item in items:
            yield from _item_lines(item, depth + 1)
    else:
        yield f"{indent}{name}: {_scalar(value)}" if name else f"{indent}{_scalar(value)}"


def _inline_list(items: list[object]) -> str | None:
    if any(isinstance(item, (dict, list)) for item in items):
        return None
    text = ", ".join(_scalar(item) for item in items)
    return text if len(text) <= _INLINE else None


def _item_lines(item: object, depth: int) -> Iterator[str]:
    first, *rest = _lines(item, "", depth) if item not in ({}, []) else ("",)
    indent = "  " * max(depth - 1, 0)
    yield f"{indent}- {first.strip()}"
    yield from rest


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _lines_of(text: str) -> Iterator[str]:
    # Not str.splitlines: it would hold a second copy of a big text as one list.
    start = 0
    while (end := text.find("\n", start) + 1) > 0:
        yield text[start:end]
        start = end
    yield text[start:]


def _rows(text: str) -> Iterator[list[str]]:
    sample = text[:_SNIFFED]
    try:
        dialect = csv.Sniffer().sniff(sample, delimiters=_DELIMITERS)
    except csv.Error:
        dialect = csv.excel
    # One field may hold a whole document; the module's own limit, which is global, is 128 KB.
    csv.field_size_limit(_NO_LIMIT)
    lines = _RecordedLines(text)
    # The sniffer denies doubled quotes when its sample holds none.
    reader = csv.reader(lines, dialect, doublequote=True)
    while True:
        lines.taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # What the dialect cannot read is still text.
            row = lines.taken.copy()
            reader = csv.reader(lines, dialect, doublequote=True)
        yield [cell.strip() for cell in row]


class _RecordedLines:
    """The lines of a text, with those in `taken` that a reader took for the row it is at."""

    def __init__(self, text: str) -> None:
        self.taken: list[str] = []
        self._lines = _lines_of(text)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.taken.append(line)
        return line


def _is_header(rows: list[list[str]]) -> bool:
    header = rows[0]
    if len(rows) < 2 or len(header) < 2 or len(set(header)) != len(header):
        return False
    return all(cell and not _is_number(cell) and len(cell) < 80 for cell in header)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _row_line(row: list[str], header: list[str] | None) -> str:
    if header is None:
        return ", ".join(cell for cell in row if cell)
    named = [f"{name}: {cell}" for name, cell in zip(header, row, strict=False) if cell]
    return "; ".join([*named, *filter(None, row[len(header) :])])
