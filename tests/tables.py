"""Reading a collection as any Lance program would, to compare tables row for row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

# These differ between runs that did the same: whose row it is, when, and the vector's last bits.
OF_THE_RUN = {"job_id", "created_at", "vector"}


def read(state: Path, collection: str) -> pa.Table:
    """Return all rows of a collection, sorted by id."""
    table = lance.dataset(str(state / "lancedb" / f"{collection}.lance")).to_table()
    return table.sort_by("id")


def rows_of(state: Path, collection: str) -> list[dict[str, Any]]:
    """Return all rows, sorted by id."""
    return read(state, collection).to_pylist()


def sources(state: Path, collection: str) -> Counter[str]:
    """Return the rows of each document, by file name."""
    return Counter(Path(row["source"]).name for row in rows_of(state, collection))


def assert_same(one: pa.Table, other: pa.Table, least_cosine: float = 0.9999) -> None:
    """Check that two tables hold the same rows, apart from what is of the run."""
    names = [name for name in one.schema.names if name not in OF_THE_RUN]
    assert one.select(names).to_pylist() == other.select(names).to_pylist()
    cosines = (vectors(one) * vectors(other)).sum(axis=1)
    assert cosines.min() >= least_cosine


def vectors(table: pa.Table) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the vectors, shape (rows, dimension)."""
    flat = table["vector"].combine_chunks().flatten().to_numpy()
    return flat.reshape(table.num_rows, -1)


def assert_nothing_twice(state: Path, collection: str) -> None:
    """Check that no id stands in two rows, and that each document's indexes have no gap."""
    rows = rows_of(state, collection)
    assert len({row["id"] for row in rows}) == len(rows)
    by_document: dict[str, list[int]] = {}
    for row in rows:
        by_document.setdefault(row["document_id"], []).append(row["chunk_index"])
    assert all(sorted(found) == list(range(len(found))) for found in by_document.values())
