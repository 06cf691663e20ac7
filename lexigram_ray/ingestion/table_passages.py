"""What a collection's columns hold of a table's rows: each one a document, or its passage."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute

from lexigram_ray.ingestion.table_checks import checked_texts
from lexigram_ray.ingestion.table_columns import is_text
from lexigram_ray.ingestion.table_metadata import json_of_columns
from lexigram_ray.ingestion.table_rows import TITLE, TextRows, TextTable

# Its functions are made while it is imported: no checker of types sees them.
pc: Any = pyarrow.compute


def passage_columns(
    table: TextTable, rows: TextRows, ids: pa.StringArray, texts: pa.StringArray
) -> dict[str, pa.Array]:
    """Return all columns that do not hang on the text's content, each as long as `rows`.

    Args:
        table: Whose rows these are.
        rows: As they were read.
        ids: Checked; one a row.
        texts: Checked; one a row.
    """
    count = len(texts)
    title = _title_column(table, rows.batch.schema)
    metadata = rows.rest
    if metadata is None:
        taken = {table.text_column, table.id_column, title}
        further = [name for name in rows.batch.schema.names if name not in taken]
        metadata = json_of_columns(rows.batch, further)
    titles = checked_texts(rows.batch.column(title)).values if title else _same("", count)
    return {
        "id": ids,
        "source": _same(table.source, count),
        "title": titles,
        "text": texts,
        "metadata": metadata,
        **_places(rows.passages, ids, pc.utf8_length(texts).cast(pa.int64())),
    }


def _title_column(table: TextTable, schema: pa.Schema) -> str | None:
    if TITLE not in schema.names or TITLE in (table.text_column, table.id_column):
        return None
    return TITLE if is_text(schema.field(TITLE).type) else None


def _places(
    passages: pa.RecordBatch | None, ids: pa.StringArray, lengths: pa.Int64Array
) -> dict[str, pa.Array]:
    """Return where each row lies in its document; without `passages` it is the document."""
    if passages is None:
        count = len(ids)
        no_headings = pa.ListArray.from_arrays(
            pa.array([0] * (count + 1), pa.int32()), pa.array([], pa.string())
        )
        return {
            "document_id": ids,
            "chunk_index": _same(0, count, pa.int32()),
            "page": pa.nulls(count, pa.int32()),
            "char_start": _same(0, count, pa.int64()),
            "char_end": lengths,
            "headings": no_headings,
        }
    known = {name: passages.column(name) for name in passages.schema.names}
    end = pc.add(known["char_start"], lengths)
    return known | {
        "document_id": pc.coalesce(known["document_id"], ids),
        "char_end": pc.coalesce(known["char_end"], end),
    }


def _same(value: object, count: int, type_: pa.DataType | None = None) -> pa.Array:
    return pa.repeat(pa.scalar(value, type_), count)
