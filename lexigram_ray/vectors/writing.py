"""Writes that can be repeated: whole documents, one commit, refused when late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from lexigram_ray.core.errors import IntegrityError, RepeatedIdError
from lexigram_ray.core.ids import digest
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.schema import is_keyed
from lexigram_ray.vectors.sql import is_any_of
from lexigram_ray.vectors.translate import lance_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRows:
    """What a table holds of one document.

    Attributes:
        count: Rows.
        distinct_ids: Of them; fewer than `count` means that something was written twice.
        digest: `core.ids.digest` over `content_hash`, ordered by `chunk_index`.
    """

    count: int
    distinct_ids: int
    digest: str


def replace_documents(
    collection: Collection,
    rows: pa.Table | pa.RecordBatchReader,
    *,
    delete_for: Sequence[str],
) -> int:
    """Write whole documents in one commit: readers see the old ones or the new ones.

    It starts from the version that `collection` holds, which is the new one afterwards.

    A reader's new documents stream: 200,000 rows of 384 numbers cost 0.4 GB over the empty table
    and over one of a million rows. Rows that replace others do not: Lance joins them in
    memory, and the same 200,000 rows cost 2.3 GB (measured with pylance 14.0.2).

    Args:
        collection: Where to.
        rows: All rows of these documents, with the collection's columns.
        delete_for: Documents whose rows that are not among `rows` go away; documents of which
            the ledger has never recorded an intent are left out of it, which is faster.

    Returns:
        The new version; the present one when there was nothing to do.

    Raises:
        RepeatedIdError: An id occurs twice in `rows` (known before anything is written, when
            they are a table).
        WriteConflictError: A commit came first; nothing was written.
        DiskFullError: No space is left; nothing was written.
        CollectionNotFoundError: The collection was dropped meanwhile.
    """
    check_key(collection)
    if isinstance(rows, pa.Table):
        check_ids(rows.column("id"))
        if rows.num_rows == 0 and not delete_for:
            return collection.version
    merge = (
        collection.dataset.merge_insert("id")
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .conflict_retries(0)
    )
    if delete_for:
        merge = merge.when_not_matched_by_source_delete(is_any_of("document_id", delete_for))
    source = with_columns_of(collection, rows)
    with lance_errors(collection.name, collection.path):
        merge.execute(source)
    return collection.version


def remove_documents(collection: Collection, document_ids: Sequence[str]) -> tuple[int, int]:
    """Remove documents in one commit, starting from the version that `collection` holds.

    Returns:
        The new version, and how many rows went.

    Raises:
        WriteConflictError: A commit came first; nothing was removed.
    """
    if not document_ids:
        return collection.version, 0
    with lance_errors(collection.name, collection.path):
        # Lance's default is ten retries, and a late removal would take newer rows with it.
        result = collection.dataset.delete(
            is_any_of("document_id", document_ids), conflict_retries=0
        )
    return collection.version, result["num_deleted_rows"]


def verify_documents(
    collection: Collection, document_ids: Sequence[str], version: int
) -> dict[str, DocumentRows]:
    """Read what the table holds of some documents at one version; every one of them is a key."""
    found = dict.fromkeys(document_ids, DocumentRows(count=0, distinct_ids=0, digest=digest(())))
    if found:
        found.update(_summed(_rows_of(collection, list(found), version)))
    return found


def _rows_of(collection: Collection, document_ids: Sequence[str], version: int) -> pa.Table:
    with lance_errors(collection.name, collection.path):
        return collection.dataset.checkout_version(version).to_table(
            columns=["document_id", "chunk_index", "id", "content_hash"],
            filter=is_any_of("document_id", document_ids),
        )


def _summed(rows: pa.Table) -> Iterator[tuple[str, DocumentRows]]:
    # In Arrow to the last: a document may have hundreds of thousands of rows.
    in_order = rows.sort_by([("document_id", "ascending"), ("chunk_index", "ascending")])
    counts = in_order.group_by("document_id").aggregate([("id", "count"), ("id", "count_distinct")])
    # Groups come in any order.
    counts = counts.sort_by("document_id")
    start = 0
    for document_id, count, distinct in zip(
        *(counts[name].to_pylist() for name in ("document_id", "id_count", "id_count_distinct")),
        strict=True,
    ):
        hashes = in_order["content_hash"].slice(start, count)
        start += count
        yield (
            document_id,
            DocumentRows(count=count, distinct_ids=distinct, digest=digest(hashes.to_pylist())),
        )


def check_key(collection: Collection) -> None:
    """Refuse a table whose `id` is no declared key any more.

    Raises:
        IntegrityError: Somebody has rewritten its schema.
    """
    if not is_keyed(collection.dataset.schema):
        raise IntegrityError(
            f"collection {collection.name} has lost its primary key: writes would not be safe",
            hint="ingest into a new collection",
        )


def check_ids(column: pa.ChunkedArray) -> None:
    """Refuse rows among which an id occurs twice.

    Raises:
        RepeatedIdError: Naming the first of them.
    """
    # Lance inserts both rows when an id occurs twice within one write.
    ids: Iterable[str] = column.to_pylist()
    repeated = [row_id for row_id, count in Counter(ids).items() if count > 1]
    if repeated:
        shown = ", ".join(repr(row_id) for row_id in repeated[:3])
        more = f" and {len(repeated) - 3} more" if len(repeated) > 3 else ""
        raise RepeatedIdError(f"an id occurs twice in one write: {shown}{more}")


def with_columns_of(
    collection: Collection,
    rows: pa.Table | pa.RecordBatchReader,
) -> pa.Table | pa.RecordBatchReader:
    """Return rows with exactly the table's columns and types."""
    # A source that lacks a column would be a partial update: its rows would keep old values.
    schema = collection.dataset.schema
    if rows.schema.names != schema.names:
        raise ValueError(f"columns must be {schema.names}, not {rows.schema.names}")
    return rows.cast(schema)
