"""The service's figures in Prometheus' text: what the store knows, alike from every replica."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from lexigram_ray.core.errors import DiskFullError, StoreUnreachableError
from lexigram_ray.jobs.metrics_records import Metric, Resolution
from lexigram_ray.jobs.requests import EMBED, INGEST
from lexigram_ray.jobs.schedule_records import MAINTENANCE
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.amounts import Sizes, open_letters, sizes_of

FRESH_SECONDS = 5.0
"""However many ask, the store is asked once in this time."""
SIZES_FRESH_SECONDS = 60.0
"""The files of all collections are looked at."""
MOST_COLLECTIONS = 200
"""More of them would be more series than a Prometheus is to keep of us."""
ROLL_UP_SECONDS = 2.0
"""Jobs that have ended and are not in the figures yet wait for the next look after so long."""

_EVER = datetime(1970, 1, 1, tzinfo=UTC)

_COUNTERS: Sequence[tuple[Metric, str, tuple[str, ...], str]] = (
    (Metric.DOCUMENTS, "lexigram_documents", ("kind", "collection", "outcome"), "Documents"),
    (Metric.CHUNKS, "lexigram_chunks", ("kind", "collection"), "Rows written"),
    (Metric.EMBEDDINGS, "lexigram_embeddings", ("collection", "origin"), "Vectors"),
    (
        Metric.FAILURES,
        "lexigram_document_failures",
        ("kind", "collection", "category", "code"),
        "Documents that failed",
    ),
    (Metric.JOBS, "lexigram_ended_jobs", ("kind", "collection", "status"), "Jobs"),
    (Metric.JOB_FAILURES, "lexigram_job_failures", ("kind", "collection", "code"), "Jobs"),
    (Metric.ATTEMPTS, "lexigram_attempts", ("kind", "outcome"), "Attempts at jobs"),
    (Metric.MAINTENANCE_RUNS, "lexigram_maintenance_runs", ("task", "status"), "Runs"),
)
_SECONDS: Sequence[tuple[Metric, str, tuple[str, ...], str]] = (
    (Metric.DOCUMENT_SECONDS, "lexigram_document_seconds", ("kind",), "Work on documents"),
    (Metric.JOB_SECONDS, "lexigram_job_seconds", ("kind",), "From first claim to end"),
    (Metric.JOB_WAIT_SECONDS, "lexigram_job_wait_seconds", ("kind",), "From submission to claim"),
    (Metric.MAINTENANCE_RUN_SECONDS, "lexigram_maintenance_run_seconds", ("task",), "Runs"),
)


class Figures:
    """Reads figures, and remembers them for some seconds.

    Args:
        store: Where jobs, dead letters and sums of work are.
        lancedb: The folder of the collections.
    """

    def __init__(self, store: Store, lancedb: Path) -> None:
        self._store = store
        self._lancedb = lancedb
        self._text, self._read_at = b"", float("-inf")
        self._sizes, self._sized_at = Sizes(), float("-inf")
        self._reading = threading.Lock()

    def text(self) -> bytes:
        """Return the figures as they are exposed.

        Raises:
            StoreUnreachableError: The store cannot be read.
        """
        with self._reading:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                self._text = self._read()
                self._read_at = time.monotonic()
            return self._text

    def _read(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected([*self._now(), *self._ever()]))
        return generate_latest(registry)

    def _now(self) -> Iterator[Family]:
        jobs = GaugeMetricFamily("lexigram_jobs", "Jobs in the store", labels=("kind", "status"))
        for kind in (INGEST, EMBED, MAINTENANCE):
            for status, number in self._store.counts(kind).items():
                jobs.add_metric((kind, status.value), number)
        yield jobs
        letters = open_letters(self._store)
        yield _gauge("lexigram_dead_letters", "Dead letters that are open", "category", letters)
        if time.monotonic() - self._sized_at >= SIZES_FRESH_SECONDS:
            self._sizes = sizes_of(self._lancedb, most=MOST_COLLECTIONS)
            self._sized_at = time.monotonic()
        rows, size = self._sizes.rows, self._sizes.bytes
        yield _gauge("lexigram_collection_rows", "Rows of a collection", "collection", rows)
        yield _gauge("lexigram_collection_bytes", "Bytes of a collection", "collection", size)

    def _ever(self) -> Iterator[Family]:
        self._roll_up()
        now = datetime.now(UTC)
        for metric, name, labels, what in _COUNTERS:
            counter = CounterMetricFamily(name, f"{what}, of jobs that have ended", labels=labels)
            found = self._store.metrics.totals(metric, Resolution.DAY, _EVER, now, by=labels)
            for values, value in sorted(found.items()):
                counter.add_metric(values, value.total)
            yield counter
        for metric, name, labels, what in _SECONDS:
            summary = SummaryMetricFamily(name, f"{what}, in seconds", labels=labels)
            found = self._store.metrics.totals(metric, Resolution.DAY, _EVER, now, by=labels)
            for values, value in sorted(found.items()):
                summary.add_metric(values, value.count, value.total)
            yield summary

    def _roll_up(self) -> None:
        until = time.monotonic() + ROLL_UP_SECONDS
        try:
            self._store.metrics.roll_up(keep_on=lambda: time.monotonic() < until)
        except (StoreUnreachableError, DiskFullError):
            # What can be read is shown all the same: the newest jobs are counted later.
            return


class _Collected(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Sequence[Family]:
        """Return what was read."""
        return self._families


def _gauge(name: str, what: str, label: str, values: Mapping[str, float]) -> Family:
    gauge = GaugeMetricFamily(name, what, labels=(label,))
    for value, number in sorted(values.items()):
        gauge.add_metric((value,), number)
    return gauge
