"""Chunks of other code as rows: texts, mappings, or objects with `text` and `metadata`.

A chunk without an id gets one of what it says, so that the same chunk is the same row always.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import chunk_id, hash_text
from lexigram_ray.ingestion.table_rows import TextTable
from lexigram_ray.ingestion.tables import table_of
from lexigram_ray.jobs.foreign_queue import field_of

__all__ = ["ChunkRow", "chunk_dict", "chunk_rows", "table_of_chunks"]

_TEXTS = ("text", "content", "page_content")
_IDS = ("id", "chunk_id")
_PLACES = ("title", "page", "page_number", "char_start", "char_end", "headings")
_OWN = {*_TEXTS, *_IDS, *_PLACES, "metadata", "document_id", "chunk_index", "index"}
"""What of a dictionary is no further value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRow:
    """A chunk with an id.

    Attributes:
        document_id: None for a chunk that is a document of its own.
    """

    id: str
    text: object
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    document_id: str | None = None
    chunk_index: int | None = None
    title: str | None = None
    page: int | None = None
    page_number: int | None = None
    char_start: int | None = None
    char_end: int | None = None
    headings: object = None


def table_of_chunks(chunks: Iterable[object]) -> TextTable:
    """Return chunks as a table that a job can stage.

    Raises:
        UsageError: There are none, or one of them is no chunk.
    """
    return table_of(chunk_rows(chunks), text_column="text", id_column="id")


def chunk_rows(chunks: Iterable[object]) -> list[ChunkRow]:
    """Return chunks as rows, in their order; those that say the same are numbered.

    Raises:
        UsageError: There are none, or one of them is no chunk.
    """
    made = [_row(place, chunk) for place, chunk in enumerate(chunks)]
    if not made:
        raise UsageError("there are no chunks to embed", hint="give at least one")
    seen: Counter[str] = Counter()
    rows: list[ChunkRow] = []
    for row in made:
        if not row["id"]:
            own = _said(row["text"], row["metadata"])
            seen[own] += 1
            row["id"] = own if seen[own] == 1 else f"{own}-{seen[own]}"
        rows.append(ChunkRow(**row))
    return rows


def chunk_dict(place: int, chunk: object) -> dict[str, Any]:
    """Return a chunk as a task of a queue holds it: `text`, `metadata`, and `id` where it has one.

    Raises:
        UsageError: It is no chunk.
    """
    said: dict[str, Any] = {"text": _text(place, chunk), "metadata": _metadata(chunk)}
    own = _first_id(chunk, ("id",))
    return said if own is None else said | {"id": own}


def _row(place: int, chunk: object) -> dict[str, Any]:
    metadata = _metadata(chunk)
    document, index = _document_of(chunk, metadata)
    row_id = _first_id(chunk, _IDS) or _first_id(metadata, _IDS)
    if row_id is None and document is not None and index is not None:
        row_id = chunk_id(document, index)
    row: dict[str, Any] = {
        "id": row_id,
        "text": _text(place, chunk),
        "metadata": metadata,
        "document_id": document,
        "chunk_index": index,
    }
    return row | {name: _plain(_given(chunk, name)) for name in _PLACES}


def _text(place: int, chunk: object) -> object:
    if isinstance(chunk, str):
        return chunk
    for name in _TEXTS:
        text = _given(chunk, name)
        if isinstance(text, str):
            return text
    raise UsageError(
        f"chunk {place} is of type {type(chunk).__name__} and has no text",
        hint="chunks are texts, dictionaries with a `text`, or objects with `text` and `metadata`",
    )


def _metadata(chunk: object) -> dict[str, Any]:
    given = _given(chunk, "metadata")
    if isinstance(given, Mapping):
        return dict(cast("Mapping[str, Any]", given))
    if not isinstance(chunk, Mapping):
        return {}
    fields = cast("Mapping[str, Any]", chunk)
    return {name: value for name, value in fields.items() if name not in _OWN}


def _document_of(chunk: object, metadata: Mapping[str, Any]) -> tuple[str | None, int | None]:
    document = _first_id(chunk, ("document_id",)) or _first_id(metadata, ("document_id",))
    if document is None:
        return None, None
    numbers = (
        _given(source, name) for source in (chunk, metadata) for name in ("chunk_index", "index")
    )
    index = next((n for n in numbers if isinstance(n, int) and not isinstance(n, bool)), None)
    return document, index


def _first_id(source: object, names: Iterable[str]) -> str | None:
    for name in names:
        value = _given(source, name)
        if isinstance(value, (str, int, UUID)) and not isinstance(value, bool) and str(value):
            return str(value)
    return None


def _given(source: object, name: str) -> object:
    # A text has methods of such names.
    return None if isinstance(source, str) else field_of(source, name)


def _plain(value: object) -> Any:
    """Return what a row may hold: test doubles have every attribute."""
    return value if isinstance(value, (str, int, list, tuple)) else None


def _said(text: object, metadata: Mapping[str, Any]) -> str:
    said = json.dumps([text, metadata], sort_keys=True, default=str)
    return hash_text(said)
