"""How staged rows stand in a collection: there or not, the same or another, whose, since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lexigram_ray.jobs.staged import staged_schema
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.rows import scan_rows

SHOWN_COLUMNS = tuple(name for name in staged_schema().names if name not in ("id", "text"))
"""What decides whether a row that is there is written anew; the hash stands for the text."""

BETWEEN_HEADINGS = "\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One entry for each staged row, shape `(n,)`.

    Attributes:
        count: Rows of the collection with its id.
        same: Whether all of them have the staged row's values.
        by_others: Whether one of them was written by another job.
        written: When the last of them was written, in microseconds since 1970; 0 where none was.
    """

    count: NDArray[np.int64]
    same: NDArray[np.bool_]
    by_others: NDArray[np.bool_]
    written: NDArray[np.int64]

    @classmethod
    def of_nothing(cls, rows: int) -> Standing:
        """Return how so many rows stand in an empty collection."""
        return cls(
            count=np.zeros(rows, np.int64),
            same=np.zeros(rows, np.bool_),
            by_others=np.zeros(rows, np.bool_),
            written=np.zeros(rows, np.int64),
        )


def standing_of(
    staged: pa.Table, collection: Collection, *, job_id: str, compare: Sequence[str]
) -> Standing:
    """Look staged rows up in a collection, in one scan of its ids.

    Args:
        staged: Rows with the columns of `staged_schema`.
        collection: At the version that counts.
        job_id: The job whose rows are not others'.
        compare: Columns that must be equal for a row to be the same.
    """
    found = Standing.of_nothing(len(staged))
    found.same[:] = True
    ids = pc.SetLookupOptions(value_set=staged.column("id").combine_chunks())
    # Once, and in 64-bit offsets: the metadata of a million rows may be more than 2 GB.
    wanted = {name: _comparable(staged.column(name)).combine_chunks() for name in compare}
    for batch in scan_rows(collection, ["id", "job_id", "created_at", *compare]):
        places = pc.call_function("index_in", [batch.column("id")], ids)
        here = places.is_valid()
        if here.true_count == 0:
            continue
        places, rows = places.filter(here), batch.filter(here)
        at = places.to_numpy()
        np.add.at(found.count, at, 1)
        for name in compare:
            equal = _equal(_comparable(rows.column(name)), wanted[name].take(places))
            found.same[at[~equal]] = False
        others = pc.call_function("not_equal", [rows.column("job_id"), job_id]).fill_null(True)
        found.by_others[at[others.to_numpy(zero_copy_only=False)]] = True
        written = rows.column("created_at").cast(pa.int64()).fill_null(0).to_numpy()
        np.maximum.at(found.written, at, written)
    found.same[found.count == 0] = False
    return found


def _comparable(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column that `equal` takes: lists of texts as one text each."""
    if pa.types.is_list(column.type):
        column = pc.call_function("binary_join", [column, pa.scalar(BETWEEN_HEADINGS)])
    return column.cast(pa.large_string()) if pa.types.is_string(column.type) else column


def _equal(left: pa.Array, right: pa.Array) -> NDArray[np.bool_]:
    equal = pc.call_function("equal", [left, right]).fill_null(False)
    missing = [side.is_null().to_numpy(zero_copy_only=False) for side in (left, right)]
    return equal.to_numpy(zero_copy_only=False) | (missing[0] & missing[1])
