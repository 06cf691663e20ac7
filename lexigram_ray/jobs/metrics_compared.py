"""Whether the figures agree with the store's own counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import Connection, Executable

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs import metrics_sql
from lexigram_ray.jobs.metrics_of_jobs import UNCHANGED
from lexigram_ray.jobs.metrics_records import Metric, Resolution, label_text, label_values
from lexigram_ray.jobs.schedule_records import MAINTENANCE

_END_OF_TIME = 2**62
_COMPARED = (
    Metric.JOBS,
    Metric.ATTEMPTS,
    Metric.DOCUMENTS,
    Metric.CHUNKS,
    Metric.FAILURES,
    Metric.EMBEDDINGS,
)

Counts = dict[tuple[str, str], int]
"""By metric and labels."""


def disagreements(connection: Connection) -> list[str]:
    """Say where the sum over minutes, hours or days is not what the store has of ended jobs.

    Those that are still to be added to the figures are left out of the count, so that the two agree
    at every moment.

    Args:
        connection: Of a transaction that sees one state of the store.
    """
    counted = _counted(connection)
    return [
        f"{resolution.value}s of {name} {labels} say {found.get((name, labels), 0)}, "
        f"and the store has {counted.get((name, labels), 0)}"
        for resolution in Resolution
        for found in [_rolled_up(connection, resolution)]
        for name, labels in sorted(found.keys() | counted.keys())
        if found.get((name, labels), 0) != counted.get((name, labels), 0)
    ]


def _rolled_up(connection: Connection, resolution: Resolution) -> Counts:
    asked = {
        "of_resolution": resolution.value,
        "first": 0,
        "end": _END_OF_TIME,
        "names": [metric.value for metric in _COMPARED],
    }
    found: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(metrics_sql.CELLS_BETWEEN, asked):
        labels = label_values(row.labels)
        # Unchanged ones are no units.
        if row.name == Metric.DOCUMENTS and labels.pop("outcome") == UNCHANGED:
            continue
        found[row.name, label_text(labels)] += round(row.total)
    return dict(found)


def _counted(connection: Connection) -> Counts:
    counts: Counter[tuple[str, str]] = Counter()
    for row in _rows(connection, metrics_sql.COUNTED_JOBS):
        labels = {"kind": row.kind, "collection": row.collection, "status": row.status}
        counts[Metric.JOBS.value, label_text(labels)] += row.jobs
    for row in _rows(connection, metrics_sql.COUNTED_ATTEMPTS):
        labels = {"kind": row.kind, "outcome": row.outcome}
        counts[Metric.ATTEMPTS.value, label_text(labels)] += row.attempts
    for row in _rows(connection, metrics_sql.COUNTED_FAILURES):
        labels = {
            "kind": row.kind,
            "collection": row.collection,
            "category": row.category or FailureCategory.UNKNOWN.value,
            "code": row.code,
        }
        counts[Metric.FAILURES.value, label_text(labels)] += row.failures
    for row in _rows(connection, metrics_sql.COUNTED_UNITS):
        labels = {"kind": row.kind, "collection": row.collection}
        counts[Metric.DOCUMENTS.value, label_text(labels)] += int(row.documents)
        counts[Metric.CHUNKS.value, label_text(labels)] += int(row.chunks)
        for origin, number in (("computed", row.computed), ("cached", row.cached)):
            labels = {"collection": row.collection, "origin": origin}
            counts[Metric.EMBEDDINGS.value, label_text(labels)] += int(number)
    return {key: number for key, number in counts.items() if number}


def _rows(connection: Connection, query: Executable) -> Any:
    return connection.execute(query, {"maintenance_kind": MAINTENANCE}).all()
