"""What all jobs have done over some time, put together from the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from lexigram_ray.jobs.database import from_micros, to_micros
from lexigram_ray.jobs.metrics_records import Metric, Resolution, Value

if TYPE_CHECKING:
    from lexigram_ray.jobs.metrics_store import Metrics

K = TypeVar("K")

SECONDS = {
    "document": Metric.DOCUMENT_SECONDS,
    "job": Metric.JOB_SECONDS,
    "job_wait": Metric.JOB_WAIT_SECONDS,
}
"""What is measured in seconds, by the name that it has in a summary."""

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_MINUTES_FOR, _HOURS_FOR = timedelta(hours=6), timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A minute, an hour or a day.

    Attributes:
        at: When it began.
        documents: Those that were put into a collection; a text is one.
    """

    at: datetime
    documents: int = 0
    failed: int = 0
    chunks: int = 0
    computed: int = 0
    cached: int = 0

    @property
    def cache_hit_rate(self) -> float | None:
        """Of the vectors, those that the cache had; None where there was none."""
        return _share(self.cached, self.computed)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSummary:
    """Everything that has ended in a time; counts are left out where they are 0.

    Attributes:
        since: When the first minute, hour or day began.
        collection: Whose work it is; None of all, and only then are there attempts and runs.
        documents: By outcome: done, unchanged, skipped, failed, removed.
        jobs: By status.
        attempts: By outcome.
        seconds: By the names of `SECONDS`.
        failures: Of documents, by category and code, the most frequent first.
        job_failures: Of whole jobs, by code, the most frequent first.
        maintenance: Runs, by task and status.
        intervals: Those in which something ended, oldest first.
    """

    since: datetime
    until: datetime
    resolution: Resolution
    collection: str | None = None
    documents: Mapping[str, int] = field(default_factory=dict[str, int])
    chunks: int = 0
    computed: int = 0
    cached: int = 0
    jobs: Mapping[str, int] = field(default_factory=dict[str, int])
    attempts: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: Mapping[str, Value] = field(default_factory=dict[str, Value])
    failures: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    job_failures: Mapping[str, int] = field(default_factory=dict[str, int])
    maintenance: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    intervals: Sequence[Interval] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no job has ended in this time, and none has done anything."""
        return not (self.jobs or self.documents)

    @property
    def cache_hit_rate(self) -> float | None:
        """Of the vectors, those that the cache had, from 0 to 1; None where there was none."""
        return _share(self.cached, self.computed)

    def per_hour(self, number: int) -> float:
        """Return the mean of an hour of this time."""
        return number / max(1 / 60, (self.until - self.since).total_seconds() / 3600)

    def to_dict(self) -> dict[str, object]:
        """Return what `stats --json` prints and HTTP answers."""
        done = self.documents.get("done", 0)
        hit_rate = self.cache_hit_rate
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "resolution": self.resolution.value,
            "collection": self.collection,
            "documents": dict(self.documents) | {"done_per_hour": round(self.per_hour(done), 2)},
            "chunks": {
                "written": self.chunks,
                "written_per_hour": round(self.per_hour(self.chunks), 2),
            },
            "embeddings": {
                "computed": self.computed,
                "cached": self.cached,
                "cache_hit_rate": None if hit_rate is None else round(hit_rate, 4),
            },
            "jobs": dict(self.jobs),
            "attempts": dict(self.attempts),
            "seconds": {name: _timed(self.seconds.get(name, Value())) for name in SECONDS},
            "failures": [
                {"category": category, "code": code, "documents": number}
                for (category, code), number in self.failures.items()
            ],
            "job_failures": [
                {"code": code, "jobs": number} for code, number in self.job_failures.items()
            ],
            "maintenance": [
                {"task": task, "status": status, "runs": number}
                for (task, status), number in self.maintenance.items()
            ],
            "series": [_point(each) for each in self.intervals],
        }


def resolution_for(span: timedelta) -> Resolution:
    """Return what shows a time of this length in some dozens to hundreds of steps."""
    if span <= _MINUTES_FOR:
        return Resolution.MINUTE
    return Resolution.HOUR if span <= _HOURS_FOR else Resolution.DAY


def read_summary(
    metrics: Metrics,
    since: datetime,
    until: datetime,
    *,
    resolution: Resolution | None = None,
    collection: str | None = None,
) -> WorkSummary:
    """Put together what has ended; roll up first.

    Args:
        since: The minute, hour or day of this time is the first.
        resolution: Else it follows from how long the time is.
        collection: Only what was done for this one.
    """
    step = resolution or resolution_for(until - since)
    since = from_micros(step.begin(to_micros(since)))
    labels = {} if collection is None else {"collection": collection}

    def totals(metric: Metric, *by: str) -> dict[tuple[str, ...], Value]:
        return metrics.totals(metric, step, since, until, labels=labels, by=by)

    def counts(metric: Metric, by: str) -> dict[str, int]:
        return {value: round(total.total) for (value,), total in totals(metric, by).items()}

    def pairs(metric: Metric, *by: str) -> dict[tuple[str, str], int]:
        return {(one, two): round(n.total) for (one, two), n in totals(metric, *by).items()}

    embeddings = counts(Metric.EMBEDDINGS, "origin")
    return WorkSummary(
        since=since,
        until=until,
        resolution=step,
        collection=collection,
        documents=counts(Metric.DOCUMENTS, "outcome"),
        chunks=round(totals(Metric.CHUNKS).get((), Value()).total),
        computed=embeddings.get("computed", 0),
        cached=embeddings.get("cached", 0),
        jobs=counts(Metric.JOBS, "status"),
        # These have no label of a collection: of one there are none.
        attempts=counts(Metric.ATTEMPTS, "outcome"),
        maintenance=pairs(Metric.MAINTENANCE_RUNS, "task", "status"),
        seconds={name: totals(metric).get((), Value()) for name, metric in SECONDS.items()},
        failures=_most_first(pairs(Metric.FAILURES, "category", "code")),
        job_failures=_most_first(counts(Metric.JOB_FAILURES, "code")),
        intervals=_intervals(metrics, step, since, until, labels),
    )


def _intervals(
    metrics: Metrics,
    step: Resolution,
    since: datetime,
    until: datetime,
    labels: Mapping[str, str],
) -> list[Interval]:
    counted: dict[datetime, dict[str, int]] = {}
    wanted = (
        (Metric.DOCUMENTS, "outcome", {"done": "documents", "failed": "failed"}),
        (Metric.CHUNKS, "", {"": "chunks"}),
        (Metric.EMBEDDINGS, "origin", {"computed": "computed", "cached": "cached"}),
    )
    for metric, label, names in wanted:
        for point in metrics.series(metric, step, since, until, labels=labels, by=(label,)):
            name = names.get(point.labels[label])
            if name is not None:
                counted.setdefault(point.at, {})[name] = round(point.value.total)
    return [Interval(at=at, **numbers) for at, numbers in sorted(counted.items())]


def _most_first(counts: Mapping[K, int]) -> dict[K, int]:
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None


def _timed(value: Value) -> dict[str, object]:
    quantiles = {name: value.quantile(fraction) for name, fraction in QUANTILES.items()}
    measured = {"mean": value.mean, **quantiles, "max": value.high}
    rounded = {
        name: None if seconds is None else round(seconds, 3) for name, seconds in measured.items()
    }
    return {"count": value.count, **rounded}


def _point(interval: Interval) -> dict[str, object]:
    hit_rate = interval.cache_hit_rate
    return {
        "at": interval.at.isoformat(),
        "documents": interval.documents,
        "failed": interval.failed,
        "chunks": interval.chunks,
        "cache_hit_rate": None if hit_rate is None else round(hit_rate, 4),
    }
