"""Writes of single rows that can be repeated: each row stands for itself.

The counterpart of `writing` for tables of texts. No row goes because others come: one commit
inserts the new ids and replaces the known ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.sql import is_any_of
from lexigram_ray.vectors.translate import lance_errors
from lexigram_ray.vectors.writing import check_ids, check_key, with_columns_of

IDS_AT_ONCE = 10_000
SCANNED_AT_ONCE = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedRows:
    """What one commit did.

    Attributes:
        version: The new one.
        inserted, updated: Rows.
        written: Columns `id` and `content_hash` of the merged rows, as they are read back from the
            new version; rows that the commit did not put there are left out.
    """

    version: int
    inserted: int
    updated: int
    written: pa.Table


def merge_rows(collection: Collection, rows: pa.Table) -> MergedRows:
    """Insert or replace rows by `id`, in one commit.

    It starts from the version that `collection` holds, which is the new one afterwards.

    Args:
        collection: Where to.
        rows: With the collection's columns; at least one row.

    Raises:
        RepeatedIdError: An id occurs twice in `rows`; nothing was written.
        WriteConflictError: A commit came first; nothing was written.
        DiskFullError: No space is left; nothing was written.
        CollectionNotFoundError: The collection was dropped meanwhile.
    """
    check_key(collection)
    check_ids(rows.column("id"))
    before = {fragment.fragment_id for fragment in collection.dataset.get_fragments()}
    source = with_columns_of(collection, rows)
    with lance_errors(collection.name, collection.path):
        result = (
            collection.dataset.merge_insert("id")
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .conflict_retries(0)
            .execute(source)
        )
        added = [
            fragment
            for fragment in collection.dataset.get_fragments()
            if fragment.fragment_id not in before
        ]
        written = collection.dataset.scanner(
            columns=["id", "content_hash"], fragments=added
        ).to_table()
    # A compaction that Lance has let pass beside the merge has made fragments as well.
    ours = pc.SetLookupOptions(value_set=rows.column("id").combine_chunks())
    return MergedRows(
        version=collection.version,
        inserted=result["num_inserted_rows"],
        updated=result["num_updated_rows"],
        written=written.filter(pc.call_function("is_in", [written.column("id")], ours)),
    )


def remove_rows(collection: Collection, ids: Sequence[str]) -> None:
    """Remove rows by id, in one commit for each ten thousand.

    Raises:
        WriteConflictError: A commit came first; what it came before was not removed.
    """
    with lance_errors(collection.name, collection.path):
        for start in range(0, len(ids), IDS_AT_ONCE):
            # Lance's default is ten retries, and a late removal would take newer rows with it.
            collection.dataset.delete(
                is_any_of("id", ids[start : start + IDS_AT_ONCE]), conflict_retries=0
            )


def texts_at(collection: Collection, places: Sequence[int]) -> list[str]:
    """Read the texts of some rows by their places, at the version that `collection` holds."""
    if not places:
        return []
    with lance_errors(collection.name, collection.path):
        taken = collection.dataset.take(list(places), columns=["text"])
    return taken.column("text").to_pylist()


def scan_rows(collection: Collection, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read some columns of all rows at the version that `collection` holds, batch by batch."""
    with lance_errors(collection.name, collection.path):
        yield from collection.dataset.scanner(
            columns=list(columns), batch_size=SCANNED_AT_ONCE
        ).to_batches()
