"""What is measured: each metric once, in `METRICS`, and the seam to whoever publishes it.

Code says `meter().count(DOCUMENTS, 3, collection="docs", outcome="ingested")`. Outside Ray nothing
happens then; in Ray's processes `lexigram_ray.runtime.ray_metrics` hands it to Ray, which exports
`lexigram_documents` as `ray_lexigram_documents_total`.

Labels have few values: collections, kinds, outcomes, checks. Never ids of jobs, nor sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Boundaries of what lasts a moment: a batch, a commit."""

LONG_SECONDS = (0.5, 1, 5, 10, 30, 60, 300, 900, 1800, 3600, 14400, 43200)
"""Boundaries of what may last hours: a job, its wait, a maintenance run."""


class MetricKind(StrEnum):
    """How values of a metric are added up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing that is measured.

    Attributes:
        name: With its unit where it has one; a bare plural is a number of such things.
        labels: Each value has all of them; one that is not given is the empty string.
        boundaries: Upper ends of a histogram's buckets, rising.
    """

    name: str
    kind: MetricKind
    description: str
    labels: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()

    @property
    def exported_names(self) -> tuple[str, ...]:
        """The names of its series on the metrics port of a Ray node."""
        ends = {
            MetricKind.COUNTER: ("_total",),
            MetricKind.GAUGE: ("",),
            MetricKind.HISTOGRAM: ("_bucket", "_count", "_sum"),
        }
        return tuple(f"ray_{self.name}{end}" for end in ends[self.kind])

    def tags(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return a value for each label of the metric.

        Raises:
            ValueError: A label is given that the metric does not have.
        """
        if unknown := labels.keys() - set(self.labels):
            raise ValueError(f"{self.name} has no label {', '.join(sorted(unknown))}")
        return {label: labels.get(label, "") for label in self.labels}


def _counter(name: str, description: str, *labels: str) -> Metric:
    return Metric(name=name, kind=MetricKind.COUNTER, description=description, labels=labels)


def _gauge(name: str, description: str, *labels: str) -> Metric:
    return Metric(name=name, kind=MetricKind.GAUGE, description=description, labels=labels)


def _histogram(name: str, description: str, boundaries: tuple[float, ...], *labels: str) -> Metric:
    return Metric(
        name=name,
        kind=MetricKind.HISTOGRAM,
        description=description,
        labels=labels,
        boundaries=boundaries,
    )


# Counted by the process that has made them durable, after its commit.
DOCUMENTS = _counter(
    "lexigram_documents",
    "Documents whose outcome was recorded: ingested, skipped or failed",
    "collection",
    "outcome",
)
CHUNKS = _counter(
    "lexigram_chunks",
    "Rows committed to a collection: chunks of documents (ingest), texts of a table (embed)",
    "collection",
    "kind",
)
EMBEDDINGS = _counter(
    "lexigram_embeddings",
    "Vectors committed: computed by the model now, or taken from the cache",
    "collection",
    "origin",
)
COMMIT_SECONDS = _histogram(
    "lexigram_commit_seconds",
    "Seconds from the writer's turn to the verified, recorded commit of a segment",
    SECONDS,
    "collection",
    "kind",
)
EMBED_BATCH_SECONDS = _histogram(
    "lexigram_embed_batch_seconds",
    "Seconds that the model, or its server, took for the texts of one call",
    SECONDS,
    "model",
)
JOB_SECONDS = _histogram(
    "lexigram_job_seconds",
    "Seconds from a job's first claim to its end",
    LONG_SECONDS,
    "kind",
    "outcome",
)
JOB_WAIT_SECONDS = _histogram(
    "lexigram_job_wait_seconds",
    "Seconds from a job's submission to its first claim",
    LONG_SECONDS,
    "kind",
)
MAINTENANCE_RUN_SECONDS = _histogram(
    "lexigram_maintenance_run_seconds",
    "Seconds that a maintenance run took",
    LONG_SECONDS,
    "task",
    "outcome",
)

# Read from the store, the collections and the disk every few seconds.
JOBS = _gauge("lexigram_jobs", "Jobs in the store", "status")
DEAD_LETTERS = _gauge("lexigram_dead_letters", "Dead letters that are open", "category")
COLLECTION_ROWS = _gauge("lexigram_collection_rows", "Rows of a collection", "collection")
COLLECTION_BYTES = _gauge(
    "lexigram_collection_bytes",
    "Bytes of a collection on disk, old versions included",
    "collection",
)
DISK_FREE_BYTES = _gauge(
    "lexigram_disk_free_bytes", "Free bytes of the disk under a place of the state", "place"
)
HEALTH = _gauge(
    "lexigram_health", "Whether a check of the last health run was passed: 1 or 0", "check"
)

METRICS = (
    DOCUMENTS,
    CHUNKS,
    EMBEDDINGS,
    COMMIT_SECONDS,
    EMBED_BATCH_SECONDS,
    JOB_SECONDS,
    JOB_WAIT_SECONDS,
    MAINTENANCE_RUN_SECONDS,
    JOBS,
    DEAD_LETTERS,
    COLLECTION_ROWS,
    COLLECTION_BYTES,
    DISK_FREE_BYTES,
    HEALTH,
)
"""All that there is."""


class Meter(Protocol):
    """Takes values. Safe to use from several threads; never raises because of where they go."""

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add to a counter; an amount of 0 is nothing."""
        ...

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        """Say what a gauge stands at now."""
        ...

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        ...


class NoMeter:
    """Where nobody collects: values are dropped."""

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Do nothing."""

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        """Do nothing."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Do nothing."""


_installed: list[Meter] = [NoMeter()]


def meter() -> Meter:
    """Return the meter of this process."""
    return _installed[0]


def set_meter(new: Meter) -> Meter:
    """Have this process measure with `new`; return the meter that it replaces."""
    before, _installed[0] = _installed[0], new
    return before
