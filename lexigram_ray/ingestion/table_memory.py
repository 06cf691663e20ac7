"""Tables of what a program holds in memory: texts, dictionaries, passages, frames, Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, SupportsIndex, cast

import pyarrow as pa

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import chunk_id
from lexigram_ray.ingestion.table_arrow import ArrowTable, arrow_table
from lexigram_ray.ingestion.table_checks import checked_texts
from lexigram_ray.ingestion.table_columns import chosen_id
from lexigram_ray.ingestion.table_digest import RowsDigest
from lexigram_ray.ingestion.table_objects import Passage, object_rows
from lexigram_ray.ingestion.table_rows import (
    DEFAULT_ID,
    TITLE,
    TextRows,
    TextTable,
    Wanted,
    storable,
)
from lexigram_ray.ingestion.table_spool import Spool

_TEXT_NAMES = ("text", "content", "page_content")
_INDEX_NAMES = ("chunk_index", "index")
_INT32 = (1 << 31) - 1
_INT64 = (1 << 63) - 1
UNNAMED = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTable:
    """Rows that are Python objects, as they are at the time of reading.

    Attributes:
        values: Begins anew; what `object_rows` takes.
    """

    source: str
    text_column: str
    id_column: str | None
    values: Callable[[], Iterable[object]]

    def rows(self) -> Iterator[TextRows]:
        """Read the rows; see `TextTable`."""
        return object_rows(self.values(), self.text_column, self.id_column)


def table_in_memory(
    data: object, text_column: str, id_column: str | None, source: str | None
) -> TextTable:
    """Make a table of what is in memory; see `tables.table_of`."""
    wanted = Wanted(source=source or UNNAMED, text_column=text_column, id_column=id_column)
    table = _table(data, wanted)
    if source is None and table.id_column is None:
        # Rows are numbered by the source's name, so that other texts must have another name.
        return replace(table, source=f"{UNNAMED}:{_content_hash(table)[:16]}")
    return table


def _table(data: Any, wanted: Wanted) -> ArrowTable | ObjectTable:
    library = type(data).__module__.partition(".")[0]
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        return _arrow(
            pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data, wanted
        )
    if library in ("pandas", "polars") and hasattr(type(data), "to_list"):
        return _objects(_values_of_series(data, library), wanted)
    if library == "pandas" and hasattr(data, "to_dict"):
        return _pandas(data, wanted)
    if library == "polars" and hasattr(data, "__arrow_c_stream__"):
        return arrow_table(_stream(data).schema, partial(_stream, data), wanted)
    if isinstance(data, pa.RecordBatchReader) or hasattr(data, "__arrow_c_stream__"):
        spool = Spool(_stream_of_rows(data, wanted))
        return arrow_table(spool.schema, spool.batches, wanted)
    if isinstance(data, (str, bytes, Mapping)) or not (
        hasattr(data, "__len__") and hasattr(data, "__iter__")
    ):
        raise UsageError(
            f"{wanted.source} is of type {type(data).__name__}, which is no table of texts",
            hint="give a path, a list of texts or of dictionaries, a data frame or an Arrow table",
        )
    return _objects(data, wanted)


def _arrow(data: pa.Table, wanted: Wanted) -> ArrowTable:
    return arrow_table(data.schema, data.to_batches, wanted)


def _pandas(data: Any, wanted: Wanted) -> ArrowTable | ObjectTable:
    names = [str(name) for name in data.columns]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UsageError(
            f"{wanted.source} has {names.count(repeated)} columns named {repeated!r}",
            hint="rename the columns, so that each has a name of its own",
        )
    try:
        table = pa.Table.from_pandas(data)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # A column of values of several types.
        return _objects(data.to_dict("records"), wanted)
    return _arrow(
        table.select([name for name in table.schema.names if not _is_index(name)]), wanted
    )


def _is_index(name: str) -> bool:
    # What pandas calls an index that has no name.
    return name.startswith("__index_level_")


def _values_of_series(series: Any, library: str) -> list[object]:
    if library == "pandas":
        # It writes gaps as NaN or NA, which are values.
        series = series.astype(object).where(series.notna(), None)
    return series.to_list()


def _stream_of_rows(data: Any, wanted: Wanted) -> pa.RecordBatchReader:
    try:
        return _stream(data)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        why = str(error).partition("\n")[0]
        raise UsageError(
            f"{wanted.source} is of type {type(data).__name__}, whose Arrow stream is no table: "
            f"{why}",
            hint=f"give a table: pa.table({{{wanted.text_column!r}: ...}})",
        ) from error


def _stream(data: Any) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_stream(data)


def _objects(data: Iterable[object], wanted: Wanted) -> ObjectTable:
    names: dict[str, None] = {}
    for item in data:
        _add_names(item, wanted, names)
    id_column = chosen_id(wanted, list(names))
    return ObjectTable(
        source=wanted.source,
        text_column=wanted.text_column,
        id_column=id_column,
        values=lambda: (_row(item, wanted) for item in data),
    )


def _add_names(item: object, wanted: Wanted, names: dict[str, None]) -> None:
    """Add the columns that an item has.

    Raises:
        UsageError: It is no row.
    """
    if isinstance(item, str):
        names[wanted.text_column] = None
    elif isinstance(item, Mapping):
        names.update(dict.fromkeys(map(str, cast("Mapping[object, object]", item))))
    elif _has_text(item, wanted.text_column):
        names[wanted.text_column] = None
        if _passage(item, wanted).row_id is not None:
            names[wanted.id_column or DEFAULT_ID] = None
    elif item is not None:
        raise UsageError(
            f"{wanted.source} holds what is of type {type(item).__name__}, which is no row",
            hint="rows are texts, dictionaries, or objects with a text and an id",
        )


def _row(item: object, wanted: Wanted) -> object:
    if isinstance(item, str):
        return {wanted.text_column: item}
    if item is None or isinstance(item, dict):
        return item
    return (
        dict(cast("Mapping[str, object]", item))
        if isinstance(item, Mapping)
        else _passage(item, wanted)
    )


def _has_text(item: object, text_column: str) -> bool:
    return any(hasattr(item, name) for name in (text_column, *_TEXT_NAMES))


def _passage(item: object, wanted: Wanted) -> Passage:
    given = _first(item, "metadata")
    metadata = dict(cast("Mapping[str, object]", given)) if isinstance(given, Mapping) else {}
    document = _first(item, "document_id")
    index = _whole(_first(item, *_INDEX_NAMES), _INT32) or 0
    row_id = _first(item, wanted.id_column or DEFAULT_ID)
    if row_id is None and document is not None:
        row_id = chunk_id(str(document), index)
    title = _first(item, TITLE) or metadata.get(TITLE)
    return Passage(
        text=_first(item, wanted.text_column, *_TEXT_NAMES),
        row_id=row_id,
        title=title if isinstance(title, str) else "",
        metadata=metadata,
        document_id=None if document is None else str(document),
        chunk_index=index,
        page=_whole(_first(item, "page", "page_number"), _INT32),
        char_start=_whole(_first(item, "char_start"), _INT64) or 0,
        char_end=_whole(_first(item, "char_end"), _INT64),
        headings=_headings(_first(item, "headings")),
    )


def _first(item: object, *names: str) -> object:
    for name in names:
        value = getattr(item, name, None)
        # A method is no value: `str.index` and the like.
        if value is not None and not callable(value):
            return value
    return None


def _whole(value: object, most: int) -> int | None:
    """Return a whole number; None for whatever else, and for what its column cannot hold."""
    if not isinstance(value, SupportsIndex) or isinstance(value, bool):
        return None
    number = int(value)
    return number if -most <= number <= most else None


def _headings(value: object) -> list[str]:
    if isinstance(value, str):
        return [storable(value)]
    if not isinstance(value, (list, tuple)):
        return []
    return [storable(str(heading)) for heading in cast("Sequence[object]", value)]


def _content_hash(table: TextTable) -> str:
    digest = RowsDigest(leave_out=frozenset())
    for rows in table.rows():
        texts = checked_texts(rows.batch.column(table.text_column)).values
        digest.add(pa.record_batch({"text": texts}))
    return digest.value()
