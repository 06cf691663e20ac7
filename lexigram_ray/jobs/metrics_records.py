"""What is counted of the system's work, and how it is kept: by minute, by hour and by day."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from lexigram_ray.jobs.histograms import Histogram

MINUTE_MICROS = 60_000_000


class Metric(StrEnum):
    """What is counted or measured; a text that was embedded counts as a document.

    Counted when a job has ended, of the whole job:

    - `documents`: by kind, collection and outcome (done, unchanged, skipped, failed, removed)
    - `chunks`: rows written, by kind and collection
    - `embeddings`: by collection and origin (computed, cached)
    - `failures`: documents that failed, by kind, collection, category and code
    - `document_seconds`: by kind and collection
    - `jobs`: by kind, collection and status
    - `job_failures`: by kind, collection and code
    - `job_seconds`, `job_wait_seconds`: by kind and collection; from the first claim to the end,
      and from the submission to the first claim
    - `attempts`: by kind and outcome
    - `maintenance_runs`: by task and status; `maintenance_run_seconds` by task

    Sampled from time to time: `unfinished_jobs` by status, `open_dead_letters` by category,
    `collection_rows` and `collection_bytes` by collection, `cache_rows` and
    `cache_bytes` by model and precision, `disk_free_bytes`.
    """

    DOCUMENTS = "documents"
    CHUNKS = "chunks"
    EMBEDDINGS = "embeddings"
    FAILURES = "failures"
    DOCUMENT_SECONDS = "document_seconds"
    JOBS = "jobs"
    JOB_FAILURES = "job_failures"
    JOB_SECONDS = "job_seconds"
    JOB_WAIT_SECONDS = "job_wait_seconds"
    ATTEMPTS = "attempts"
    MAINTENANCE_RUNS = "maintenance_runs"
    MAINTENANCE_RUN_SECONDS = "maintenance_run_seconds"
    UNFINISHED_JOBS = "unfinished_jobs"
    OPEN_DEAD_LETTERS = "open_dead_letters"
    COLLECTION_ROWS = "collection_rows"
    COLLECTION_BYTES = "collection_bytes"
    CACHE_ROWS = "cache_rows"
    CACHE_BYTES = "cache_bytes"
    DISK_FREE_BYTES = "disk_free_bytes"


class Resolution(StrEnum):
    """How much time one record sums up. Hours and days are those of UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def micros(self) -> int:
        """Its length in microseconds."""
        return _LENGTHS[self]

    def begin(self, micros: int) -> int:
        """Return when the minute, hour or day of a time began; both since the epoch."""
        return micros - micros % self.micros


_LENGTHS = {
    Resolution.MINUTE: MINUTE_MICROS,
    Resolution.HOUR: 60 * MINUTE_MICROS,
    Resolution.DAY: 24 * 60 * MINUTE_MICROS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What is known of one metric, with the same labels, over some time.

    Attributes:
        count: How many there were: documents that ended, values measured, samples taken.
        total: Their sum; of what is only counted, the same as `count`.
        low, high: The smallest and the largest measured value or sample; None where it is counted.
        last: The newest sample.
        histogram: Of measured values.
    """

    count: int = 0
    total: float = 0.0
    low: float | None = None
    high: float | None = None
    last: float | None = None
    histogram: Histogram = field(default_factory=Histogram)

    @classmethod
    def counted(cls, number: int) -> Value:
        """So many things."""
        return cls(count=number, total=float(number))

    @classmethod
    def measured(cls, values: Iterable[float]) -> Value:
        """Values such as durations; negative ones, of a clock that was put back, count as 0."""
        known = [max(0.0, value) for value in values]
        return cls(
            count=len(known),
            total=sum(known),
            low=min(known, default=None),
            high=max(known, default=None),
            histogram=Histogram.of(known),
        )

    @classmethod
    def sampled(cls, value: float) -> Value:
        """One look at something that goes up and down."""
        return cls(count=1, total=value, low=value, high=value, last=value)

    def merged(self, later: Value) -> Value:
        """Return what is known of both times together."""
        return Value(
            count=self.count + later.count,
            total=self.total + later.total,
            low=_lowest(self.low, later.low),
            high=_highest(self.high, later.high),
            last=self.last if later.last is None else later.last,
            histogram=self.histogram.merged(later.histogram),
        )

    @property
    def mean(self) -> float | None:
        """Of values or samples; None where there are none."""
        return self.total / self.count if self.count else None

    def quantile(self, fraction: float) -> float | None:
        """Return about the value that a fraction of the measured values does not exceed.

        It is off by at most 5 % of itself; None where nothing was measured.
        """
        found = self.histogram.quantile(fraction)
        if found is None or self.low is None or self.high is None:
            return found
        return min(max(found, self.low), self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A metric in one minute, hour or day.

    Attributes:
        at: When that began.
        labels: Those that were asked for.
    """

    at: datetime
    labels: Mapping[str, str]
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at something that goes up and down."""

    metric: Metric
    value: float
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Names one record: what is measured, with which labels, in which minute, hour or day.

    Attributes:
        at: When that began, in microseconds since the epoch.
        labels: As the store keeps them: JSON with sorted keys.
    """

    resolution: Resolution
    at: int
    name: str
    labels: str


Sums = dict[Cell, Value]
"""What is to be added to the records."""


def label_text(labels: Mapping[str, str]) -> str:
    """Return labels as the store keeps them: equal labels are equal texts."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))


def label_values(text: str) -> dict[str, str]:
    """Read back what `label_text` wrote."""
    return json.loads(text)


def add(sums: Sums, metric: Metric, at: int, labels: Mapping[str, str], value: Value) -> None:
    """Add a value to the minute, the hour and the day of a time.

    Args:
        sums: Changed.
        at: In microseconds since the epoch.
    """
    if not value.count:
        return
    text = label_text(labels)
    for resolution in Resolution:
        cell = Cell(resolution=resolution, at=resolution.begin(at), name=metric.value, labels=text)
        sums[cell] = sums[cell].merged(value) if cell in sums else value


def add_all(sums: Sums, more: Mapping[Cell, Value]) -> None:
    """Add what another has summed up.

    Args:
        sums: Changed.
    """
    for cell, value in more.items():
        sums[cell] = sums[cell].merged(value) if cell in sums else value


def _lowest(*values: float | None) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _highest(*values: float | None) -> float | None:
    return max((value for value in values if value is not None), default=None)
