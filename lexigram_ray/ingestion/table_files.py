"""Which table a path holds: by its first bytes, and by its name only where these cannot tell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import source_name
from lexigram_ray.ingestion.decode import decode
from lexigram_ray.ingestion.sources import check_allowed
from lexigram_ray.ingestion.table_arrow import ipc_table, lance_table, parquet_table
from lexigram_ray.ingestion.table_columns import reading
from lexigram_ray.ingestion.table_csv import csv_table, is_csv
from lexigram_ray.ingestion.table_json import json_table
from lexigram_ray.ingestion.table_rows import TextRows, TextTable, Wanted
from lexigram_ray.ingestion.table_text import packing_of, read_head

FORMATS = "Parquet, JSON Lines, JSON, CSV, TSV, Arrow, Feather and Lance"

_CSV = frozenset({".csv", ".tsv", ".tab", ".psv"})
_JSON = frozenset({".json", ".jsonl", ".ndjson", ".jsonlines"})
_TYPED = frozenset({".parquet", ".pq", ".parq", ".arrow", ".arrows", ".feather", ".ipc"})
_PACKED = frozenset({".gz", ".gzip", ".zst", ".zstd"})
_ARROW_MAGIC = (b"ARROW1", b"FEA1", b"\xff\xff\xff\xff")
_PARQUET_MAGIC = (b"PAR1", b"PARE")
_OTHER_MAGIC = (
    (b"PK\x03\x04", "a zip archive or an office document", "unpack it, or save it as CSV"),
    (b"BZh", "packed by bzip2", "unpack it, or pack it with gzip or zstd"),
    (b"\xfd7zXZ\x00", "packed by xz", "unpack it, or pack it with gzip or zstd"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"%PDF", "a PDF", "`lexigram-ray ingest` reads documents"),
    (b"\xd0\xcf\x11\xe0", "a Microsoft office document", "save it as CSV"),
    (b"SQLite format 3\x00", "a SQLite database", "export the table as CSV"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet"),
    (b"ORC", "an ORC file", "convert it to Parquet"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyTable:
    """A file of no bytes: no rows, and whatever columns are asked for."""

    source: str
    text_column: str
    id_column: str | None

    def rows(self) -> Iterator[TextRows]:
        """Read nothing."""
        return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTable:
    """The tables in a folder, one after the other by their paths."""

    source: str
    text_column: str
    id_column: str | None
    parts: tuple[TextTable, ...]

    def rows(self) -> Iterator[TextRows]:
        """Read the rows, numbered throughout; see `TextTable`."""
        first_row = 0
        for part in self.parts:
            following = first_row
            for rows in part.rows():
                broken = tuple(replace(row, row=first_row + row.row) for row in rows.broken)
                yield replace(rows, first_row=first_row + rows.first_row, broken=broken)
                following = first_row + rows.first_row + rows.batch.num_rows
            first_row = following


def open_path(
    path: Path,
    text_column: str,
    id_column: str | None,
    allowed_roots: tuple[Path, ...] | None = None,
) -> TextTable:
    """Open a file or a folder; see `tables.open_table`."""
    path = Path(os.path.abspath(path.expanduser()))
    check_allowed(os.path.realpath(path), allowed_roots)
    with reading(source_name(path)):
        path = path.resolve(strict=True)
    wanted = Wanted(source=source_name(path), text_column=text_column, id_column=id_column)
    if (path / "_versions").is_dir():
        return lance_table(path, wanted)
    if path.is_dir():
        return _folder(path, wanted, allowed_roots)
    if not path.is_file():
        raise UsageError(f"{wanted.source} is no file and no folder", hint="give a file of rows")
    return _file(path, wanted)


def _file(path: Path, wanted: Wanted) -> TextTable:
    with reading(wanted.source), path.open("rb") as file:
        raw = file.read(16)
    if not raw:
        return EmptyTable(
            source=wanted.source, text_column=wanted.text_column, id_column=wanted.id_column
        )
    if raw.startswith(_PARQUET_MAGIC):
        return parquet_table(path, wanted)
    if raw.startswith(_ARROW_MAGIC):
        return ipc_table(path, raw, wanted)
    for magic, what, way_out in _OTHER_MAGIC:
        if raw.startswith(magic):
            raise UsageError(f"{wanted.source} is {what}, no table that is read", hint=way_out)
    return _text_file(path, raw, wanted)


def _text_file(path: Path, raw: bytes, wanted: Wanted) -> TextTable:
    with reading(wanted.source):
        head = read_head(path)
    if packing_of(raw) and head.startswith((*_PARQUET_MAGIC, *_ARROW_MAGIC[:2])):
        raise UsageError(
            f"{wanted.source} is a packed file of a format that packs itself", hint="unpack it"
        )
    text = decode(head)
    suffix = _suffix(path.name)
    if suffix in _CSV:
        return csv_table(path, text, wanted)
    if text.lstrip().startswith(("{", "[")) or suffix in _JSON:
        return json_table(path, text, wanted)
    if suffix in _TYPED or not is_csv(text):
        raise UsageError(
            f"{wanted.source} is no table that is read: these are {FORMATS}",
            hint="`lexigram-ray ingest` reads documents, such as PDF, HTML and plain text",
        )
    return csv_table(path, text, wanted)


def _folder(path: Path, wanted: Wanted, allowed_roots: tuple[Path, ...] | None) -> TextTable:
    files = [file for file in sorted(path.rglob("*")) if _is_part(file.relative_to(path), file)]
    if not files:
        inside = sorted(path.glob("*.lance"))
        raise UsageError(
            f"{wanted.source} holds no table: these are {FORMATS}",
            hint=f"name one table: {source_name(inside[0])}" if inside else "check the path",
        )
    for file in files:
        # A link in an allowed folder may lead out of it.
        check_allowed(os.path.realpath(file), allowed_roots)
    parts = tuple(_file(file, replace(wanted, source=source_name(file))) for file in files)
    parts = tuple(part for part in parts if not isinstance(part, EmptyTable)) or parts
    id_column = parts[0].id_column
    odd = next((part for part in parts if part.id_column != id_column), None)
    if odd is not None:
        without, with_id = (odd, parts[0]) if odd.id_column is None else (parts[0], odd)
        raise UsageError(
            f"{without.source} has no column {with_id.id_column!r}, but {with_id.source} has",
            hint="give all files the same columns, or name the one that holds ids by --id-column",
        )
    return FolderTable(
        source=wanted.source, text_column=wanted.text_column, id_column=id_column, parts=parts
    )


def _is_part(relative: PurePath, file: Path) -> bool:
    # What Spark and others leave beside their files begins with a dot or an underscore.
    if any(part.startswith((".", "_")) for part in relative.parts) or not file.is_file():
        return False
    return _suffix(file.name) in _CSV | _JSON | _TYPED


def _suffix(name: str) -> str:
    path = PurePath(name.lower())
    while path.suffix in _PACKED:
        path = path.with_suffix("")
    return path.suffix
