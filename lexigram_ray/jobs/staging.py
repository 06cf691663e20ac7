"""Staging: one pass over a table of texts, which ends as a file of checked rows.

Whatever the input is, its rows are checked here, once, and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import Failure, FailureCategory
from lexigram_ray.ingestion.table_checks import (
    REPEATED_ID,
    Checked,
    Refusal,
    SeenIds,
    checked_ids,
    checked_texts,
    hashes_of,
)
from lexigram_ray.ingestion.table_columns import chosen_id_of_schema
from lexigram_ray.ingestion.table_digest import RowsDigest
from lexigram_ray.ingestion.table_passages import passage_columns
from lexigram_ray.ingestion.table_rows import TextRows, TextTable, Wanted
from lexigram_ray.jobs import durable_files
from lexigram_ray.jobs.staged import (
    BATCH_ROWS,
    SUFFIX,
    RefusedRow,
    StagedTable,
    staged_schema,
    units_of,
)
from lexigram_ray.jobs.staged_sidecar import TEMPORARY, temporary_file, write_sidecar

# Its functions are made while it is imported: no checker of types sees them.
pc: Any = pyarrow.compute


class StagingStopped(Exception):
    """Staging was asked to stop. It leaves no file."""


def stage(
    table: TextTable,
    folder: Path,
    *,
    on_progress: Callable[[int], None],
    keep_on: Callable[[], bool],
    store_id: str = "",
) -> StagedTable:
    """Check all rows of a table and write those that can be embedded to `<digest>.arrow`.

    Rows without text, without a usable id, with the id of an earlier row, or that could not be
    read are refused, and kept in the file's sidecar. If a file of that name exists, it has these
    rows, and stays. When this returns, both are durable.

    Args:
        table: Is read once.
        folder: Made if it does not exist.
        on_progress: Gets the number of rows read so far.
        keep_on: Asked between some thousand rows; False stops.
        store_id: A store whose jobs will want the rows, where it is known already.

    Raises:
        StagingStopped: `keep_on` said so.
        UsageError: The table has no such columns, or cannot be read.
        DiskFullError: No space is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check = _Check(table)
    refused: list[RefusedRow] = []
    read = 0
    with temporary_file(folder) as temporary:
        with temporary.open("xb") as file:
            sheet = _Sheet(pa.ipc.new_file(file, staged_schema()))
            for rows in table.rows():
                if not keep_on():
                    raise StagingStopped
                kept, of_these = check.staged(rows)
                sheet.add(kept)
                refused += of_these
                read += rows.batch.num_rows
                on_progress(read)
            sheet.close()
            file.flush()
            os.fsync(file.fileno())
        digest = sheet.digest(refused)
        path = folder / f"{digest}{SUFFIX}"
        # The sidecar first: whoever finds the rows finds what belongs to them.
        write_sidecar(
            path,
            read=read,
            rows=sheet.rows,
            characters=sheet.characters,
            refused=refused,
            store_id=store_id,
        )
        if not path.exists():
            temporary.rename(path)
        durable_files.sync(folder)
    return StagedTable(
        source=table.source,
        path=path,
        digest=digest,
        read=read,
        rows=sum(sheet.rows),
        characters=sum(sheet.characters),
        units=units_of(sheet.rows, sheet.characters),
        refused=tuple(refused),
    )


class _Check:
    """Turns rows as they are read into rows as they are staged."""

    def __init__(self, table: TextTable) -> None:
        self._table = table
        self._wanted = Wanted(
            source=table.source, text_column=table.text_column, id_column=table.id_column
        )
        self._seen = SeenIds()
        self._schema: pa.Schema | None = None

    def staged(self, rows: TextRows) -> tuple[pa.RecordBatch, list[RefusedRow]]:
        """Return the rows that can be embedded, with all columns, and the others; in order."""
        if rows.batch.schema != self._schema:
            self._schema = rows.batch.schema
            chosen_id_of_schema(self._wanted, self._schema)
        texts = checked_texts(rows.batch.column(self._table.text_column))
        ids = self._ids(rows)
        broken = {row.row - rows.first_row: Refusal(row.code, row.reason) for row in rows.broken}
        refusals = {**ids.refused, **texts.refused, **broken}
        if self._table.id_column is not None:
            refusals |= self._repeated(ids.values, refusals)
        refused = [
            RefusedRow(
                row=rows.first_row + place,
                row_id=ids.values[place].as_py(),
                failure=_failure(refusals[place]),
            )
            for place in sorted(refusals)
        ]
        columns = passage_columns(self._table, rows, ids.values, texts.values)
        return _with_hashes(columns, _others(len(ids.values), refusals)), refused

    def _ids(self, rows: TextRows) -> Checked:
        if self._table.id_column is not None:
            return checked_ids(rows.batch.column(self._table.id_column))
        numbers = range(rows.first_row, rows.first_row + rows.batch.num_rows)
        ids = [hash_text(f"{self._table.source}#{number}") for number in numbers]
        return Checked(values=pa.array(ids, pa.string()), refused={})

    def _repeated(self, ids: pa.StringArray, refusals: Mapping[int, Refusal]) -> dict[int, Refusal]:
        # A refused row takes no id: the next one of that id counts.
        usable = _others(len(ids), refusals)
        again = self._seen.repeated(ids.take(pa.array(usable)))
        return dict.fromkeys(usable[again].tolist(), REPEATED_ID)


class _Sheet:
    """The file that is being written, in record batches of one size, and what it is known by."""

    def __init__(self, writer: pa.RecordBatchFileWriter) -> None:
        self._writer = writer
        self._pending: list[pa.RecordBatch] = []
        self._digest = RowsDigest(leave_out=frozenset({"text"}))
        self.rows: list[int] = []
        self.characters: list[int] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Write as many whole record batches as there are rows for."""
        self._digest.add(batch)
        self._pending.append(batch)
        waiting = sum(batch.num_rows for batch in self._pending)
        if waiting < BATCH_ROWS:
            return
        joined = pa.concat_batches(self._pending) if len(self._pending) > 1 else batch
        whole = waiting - waiting % BATCH_ROWS
        for start in range(0, whole, BATCH_ROWS):
            self._write(joined.slice(start, BATCH_ROWS))
        self._pending = [joined.slice(whole)]

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        left = pa.concat_batches(self._pending) if self._pending else None
        if left is not None and left.num_rows:
            self._write(left)
        self._writer.close()

    def digest(self, refused: Sequence[RefusedRow]) -> str:
        """Return the digest of all rows and of those refused."""
        for row in refused:
            self._digest.add_text(f"{row.row} {row.failure.code} {row.failure.reason} {row.row_id}")
        return self._digest.value()

    def _write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self.rows.append(batch.num_rows)
        self.characters.append(int(pc.sum(pc.utf8_length(batch.column("text"))).as_py()))


def _with_hashes(columns: dict[str, pa.Array], kept: NDArray[np.int64]) -> pa.RecordBatch:
    """Return the rows at some places, with their contents' hashes, as they are staged."""
    if len(kept) < len(columns["id"]):
        places = pa.array(kept)
        columns = {name: column.take(places) for name, column in columns.items()}
    hashes = pa.array(hashes_of(columns["text"]), pa.string())
    columns["content_hash"] = hashes
    schema = staged_schema()
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _others(count: int, places: Collection[int]) -> NDArray[np.int64]:
    """Return all places but these, in order."""
    mask = np.ones(count, np.bool_)
    mask[list(places)] = False
    return np.flatnonzero(mask)


@lru_cache(maxsize=1_000)
def _failure(refusal: Refusal) -> Failure:
    # One object for all rows of the same trouble, of which there may be a million.
    return Failure(category=FailureCategory.INVALID_INPUT, code=refusal.code, reason=refusal.reason)


def remove_left_behind(folder: Path) -> None:
    """Remove what killed stagings have left half written in a folder, which may be missing.

    Staging does not do so itself: it would list all that is staged for each small table.
    """
    durable_files.remove_left_behind(folder, f"{TEMPORARY}*")
