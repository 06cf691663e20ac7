"""The rows of small tables, vectors and all, and whether the ledger says the same."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from lexigram_ray.jobs.reconcile import differing_rows
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection

Rows = Counter[tuple[object, ...]]


def rows_of(collection: Collection) -> Rows:
    """Count the rows of the newest version."""
    collection.refresh()
    return counted(collection.dataset.to_table())


def counted(table: pa.Table) -> Rows:
    """Count rows as they are, vectors included: all but which job wrote them, and when.

    For small tables of exact vectors: those of a model would differ between runs.
    """
    table = table.drop_columns(["job_id", "created_at"])
    return Counter(
        tuple(tuple(value) if isinstance(value, list) else value for value in row.values())
        for row in table.to_pylist()
    )


def against_ledger(collection: Collection, store: Store) -> list[str]:
    """Return a note for each document whose rows are not what the ledger says."""
    collection.refresh()
    wrong = differing_rows(collection, store.ledger(collection.name).values())
    return [f"the table differs from the ledger: {entry.document_id}" for entry in wrong]
