"""Tables of typed columns: Parquet, Arrow files, Lance, and what is in memory as Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from lexigram_ray.ingestion.table_columns import (
    chosen_id_of_schema,
    is_vector,
    reading,
    unique_names,
)
from lexigram_ray.ingestion.table_rows import BYTES_AT_ONCE, ROWS_AT_ONCE, TextRows, Wanted

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_PARQUET_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrowTable:
    """Rows of typed columns.

    Attributes:
        read: Begins to read anew; batches of any size.
    """

    source: str
    text_column: str
    id_column: str | None
    read: Callable[[], Iterable[pa.RecordBatch]]

    def rows(self) -> Iterator[TextRows]:
        """Read the rows; see `TextTable`."""
        first_row = 0
        with reading(self.source):
            for whole in self.read():
                for batch in _sliced(whole):
                    yield TextRows(batch=batch, first_row=first_row)
                    first_row += batch.num_rows


def arrow_table(
    schema: pa.Schema, read: Callable[[], Iterable[pa.RecordBatch]], wanted: Wanted
) -> ArrowTable:
    """Make a table of whatever can be read as Arrow, again and again.

    Raises:
        UsageError: It has no such columns, or they hold neither texts nor ids.
    """
    return ArrowTable(
        source=wanted.source,
        text_column=wanted.text_column,
        id_column=chosen_id_of_schema(wanted, schema),
        read=read,
    )


def parquet_table(path: Path, wanted: Wanted) -> ArrowTable:
    """Open a Parquet file.

    Raises:
        UsageError: It has no such columns, or cannot be read.
    """
    with reading(wanted.source), _parquet_file(path) as file:
        schema = file.schema_arrow
    return arrow_table(schema, partial(_parquet_batches, path), wanted)


def ipc_table(path: Path, head: bytes, wanted: Wanted) -> ArrowTable:
    """Open an Arrow IPC file or stream, or a Feather file of either version.

    Args:
        path: The file.
        head: Its first bytes.
        wanted: Its name and columns.

    Raises:
        UsageError: It has no such columns, or cannot be read.
    """
    read = partial(_ipc_batches, path, head)
    with reading(wanted.source):
        schema = _ipc_schema(path, head)
    return arrow_table(schema, read, wanted)


def lance_table(path: Path, wanted: Wanted) -> ArrowTable:
    """Open a Lance table at its present version, which stays the one that is read.

    Raises:
        UsageError: It has no such columns, or cannot be read.
    """
    import lance

    with reading(wanted.source):
        table = lance.dataset(str(path))
    return arrow_table(table.schema, partial(_lance_batches, path, table.version), wanted)


def _parquet_file(path: Path) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    # Read through a small buffer: else all of a row group's bytes are held at once.
    return pq.ParquetFile(str(path), pre_buffer=False, buffer_size=_PARQUET_BUFFER)


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with _parquet_file(path) as file:
        groups = [file.metadata.row_group(place) for place in range(file.num_row_groups)]
        size = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1)
        yield from file.iter_batches(batch_size=_rows_for(size), columns=_useful(file.schema_arrow))


def _ipc_schema(path: Path, head: bytes) -> pa.Schema:
    with pa.memory_map(str(path)) as file:
        if head.startswith(b"ARROW1"):
            return pa.ipc.open_file(file).schema
        if head.startswith(b"FEA1"):
            return _feather_1(path).schema
        return pa.ipc.open_stream(file).schema


def _ipc_batches(path: Path, head: bytes) -> Iterator[pa.RecordBatch]:
    if head.startswith(b"FEA1"):
        yield from _feather_1(path).to_batches()
        return
    with pa.memory_map(str(path)) as source:
        if head.startswith(b"ARROW1"):
            file = pa.ipc.open_file(source)
            for place in range(file.num_record_batches):
                yield file.get_batch(place)
        else:
            yield from pa.ipc.open_stream(source)


def _feather_1(path: Path) -> pa.Table:
    from pyarrow import feather

    return feather.read_table(str(path))


def _lance_batches(path: Path, version: int) -> Iterator[pa.RecordBatch]:
    import lance

    table = lance.dataset(str(path), version=version)
    yield from table.to_batches(
        columns=_useful(table.schema) or table.schema.names,
        batch_size=ROWS_AT_ONCE // 4,
        batch_readahead=2,
        fragment_readahead=1,
        scan_in_order=True,
    )


def _useful(schema: pa.Schema) -> list[str] | None:
    """Return the columns but vectors, which are most of a table's bytes; None for all."""
    useful = [field.name for field in schema if not is_vector(field.type)]
    return useful if len(useful) < len(schema) else None


def _rows_for(bytes_of_a_row: float) -> int:
    return int(min(ROWS_AT_ONCE, max(16, BYTES_AT_ONCE / max(bytes_of_a_row, 1))))


def _sliced(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    names = unique_names(batch.schema.names)
    if names != batch.schema.names:
        batch = batch.rename_columns(names)
    step = _rows_for(batch.nbytes / max(batch.num_rows, 1))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)
