"""Rows that are objects with names of their own: lines of JSON, dictionaries, passages."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import SupportsIndex, cast

import pyarrow as pa

from lexigram_ray.ingestion.table_metadata import json_of_fields
from lexigram_ray.ingestion.table_rows import (
    BYTES_AT_ONCE,
    ROWS_AT_ONCE,
    TITLE,
    BrokenRow,
    TextRows,
    storable,
    string_array,
)

PASSAGE_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.string()),
        pa.field("chunk_index", pa.int32()),
        pa.field("page", pa.int32()),
        pa.field("char_start", pa.int64()),
        pa.field("char_end", pa.int64()),
        pa.field("headings", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """What stands in place of an object that could not be read."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text that may know its place in a document.

    Attributes:
        text, row_id: As given; whether they can be used is checked later.
        metadata: Its further values.
        document_id: None for a passage that is a document of its own.
        char_end: None where the length of the text tells it.
    """

    text: object
    row_id: object = None
    title: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    document_id: str | None = None
    chunk_index: int = 0
    page: int | None = None
    char_start: int = 0
    char_end: int | None = None
    headings: Sequence[str] = ()


def object_rows(
    values: Iterable[object], text_column: str, id_column: str | None
) -> Iterator[TextRows]:
    """Gather objects into batches.

    Args:
        values: Dictionaries, `Passage`s and `Unreadable`s; whatever else there is, is a broken row.
        text_column: The key of the text.
        id_column: The key of the id; None where rows are numbered.
    """
    gathered = _Gathered(text_column, id_column, 0)
    for value in values:
        gathered.add(value)
        if len(gathered.texts) == ROWS_AT_ONCE or gathered.characters >= BYTES_AT_ONCE:
            yield gathered.rows()
            first_row = gathered.first_row + len(gathered.texts)
            gathered = _Gathered(text_column, id_column, first_row)
    if gathered.texts:
        yield gathered.rows()


@dataclass(slots=True)
class _Gathered:
    text_column: str
    id_column: str | None
    first_row: int
    texts: list[str | None] = field(default_factory=list[str | None])
    ids: list[str | None] = field(default_factory=list[str | None])
    titles: list[str | None] = field(default_factory=list[str | None])
    rests: list[str] = field(default_factory=list[str])
    passages: dict[int, Passage] = field(default_factory=dict[int, Passage])
    broken: list[BrokenRow] = field(default_factory=list[BrokenRow])
    characters: int = 0

    def add(self, value: object) -> None:
        if isinstance(value, dict):
            self._add_fields(cast("dict[str, object]", value).copy())
        elif isinstance(value, Passage):
            self._add(value.text, value.row_id, value.title, value.metadata)
            self.passages[len(self.texts) - 1] = value
        else:
            reason = f"it is {_kind(value)}, not an object"
            self._break(value.reason if isinstance(value, Unreadable) else reason)
            self._add(None, None, None, {})

    def rows(self) -> TextRows:
        """Return what is gathered."""
        columns = {self.text_column: string_array(self.texts)}
        if self.id_column is not None:
            columns[self.id_column] = string_array(self.ids)
        if TITLE not in columns:
            columns[TITLE] = string_array(self.titles)
        return TextRows(
            batch=pa.record_batch(columns),
            first_row=self.first_row,
            broken=tuple(self.broken),
            rest=_json_array(self.rests),
            passages=_passage_batch(self.passages, len(self.texts)) if self.passages else None,
        )

    def _add_fields(self, fields: dict[str, object]) -> None:
        text = fields.pop(self.text_column, None)
        row_id = None if self.id_column is None else fields.pop(self.id_column, None)
        title = fields.pop(TITLE) if isinstance(fields.get(TITLE), str) else None
        self._add(text, row_id, title, fields)

    def _add(
        self, text: object, row_id: object, title: object, further: Mapping[str, object]
    ) -> None:
        text, row_id = _known(text), _known(row_id)
        if not (text is None or isinstance(text, str)):
            self._break(f"its {self.text_column!r} is {_kind(text)}, not text", "not_text")
            text = None
        as_text = id_text(row_id)
        if as_text is None and row_id is not None:
            self._break(f"its {self.id_column!r} is {_kind(row_id)}, not an id", "invalid_id")
        rest = json_of_fields(further)
        self.texts.append(text)
        self.ids.append(as_text)
        self.titles.append(title if isinstance(title, str) else None)
        self.rests.append(rest)
        self.characters += len(rest) + (0 if text is None else len(text))

    def _break(self, reason: str, code: str = "unreadable_row") -> None:
        row = self.first_row + len(self.texts)
        if not self.broken or self.broken[-1].row != row:
            self.broken.append(BrokenRow(row=row, reason=reason, code=code))


def id_text(value: object) -> str | None:
    """Return an id as text: texts as they are, numbers in decimal; None for whatever else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return None if isinstance(value, bool) else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        # Whole numbers become floats in tables where another row has none.
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, (SupportsIndex, uuid.UUID)):
        return str(value)
    return None


def _known(value: object) -> object:
    # What frames of mixed values have where there is none.
    return None if isinstance(value, float) and math.isnan(value) else value


def _json_array(texts: list[str]) -> pa.StringArray:
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([storable(text) for text in texts], pa.string())


def _passage_batch(passages: Mapping[int, Passage], count: int) -> pa.RecordBatch:
    unknown = Passage(text=None)
    known = [passages.get(place, unknown) for place in range(count)]
    return pa.record_batch(
        [
            pa.array([getattr(passage, field_.name) for passage in known], field_.type)
            for field_ in PASSAGE_SCHEMA
        ],
        schema=PASSAGE_SCHEMA,
    )


def _kind(value: object) -> str:
    kinds: dict[type, str] = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        dict: "an object",
        list: "a list",
        type(None): "null",
    }
    return kinds.get(type(value), f"of type {type(value).__name__}")
