"""The figures of the system's work: every job that has ended is counted in them once.

The transaction that ends a job notes it as pending; the one that adds it to the figures takes that
note away. So nothing is lost or counted twice whoever dies in between, and however many roll up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from lexigram_ray.jobs import metrics_sql
from lexigram_ray.jobs.database import Database, from_micros, to_micros
from lexigram_ray.jobs.histograms import Histogram
from lexigram_ray.jobs.metrics_compared import disagreements
from lexigram_ray.jobs.metrics_of_jobs import (
    Record,
    add_attempts,
    add_seconds,
    add_units,
    sums_of_job,
)
from lexigram_ray.jobs.metrics_records import (
    Cell,
    Metric,
    Point,
    Resolution,
    Sample,
    Sums,
    Value,
    add,
    add_all,
    label_values,
)

JOBS_AT_ONCE = 200
_ROWS_AT_ONCE = 10_000
_TIMES_AT_ONCE = 500
# Whoever changes records has read them first: one at a time.
_LOCK = "metrics"


class Metrics:
    """Reads and writes the figures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- Writing -----------------------------------------------------------------------------------

    def roll_up(
        self, limit: int = JOBS_AT_ONCE, *, keep_on: Callable[[], bool] = lambda: True
    ) -> int:
        """Add to the figures every job that has ended and is not in them, and return how many.

        Any number of processes may do so at once; each job counts once.

        Args:
            limit: Jobs in a transaction.
            keep_on: Asked before each transaction.

        Raises:
            StoreUnreachableError, DiskFullError: As every method of `Store`.
        """
        counted = 0
        while keep_on():
            sums = self._sums_of_pending(limit)
            if not sums:
                break
            counted += self._add_jobs(sums)
        return counted

    def pending(self) -> int:
        """Return how many jobs have ended that are not in the figures."""
        with self._database.read() as connection:
            return connection.execute(metrics_sql.COUNT_PENDING).scalar_one()

    def sample(self, samples: Sequence[Sample], at: datetime) -> None:
        """Keep what was seen at a time."""
        sums: Sums = {}
        for each in samples:
            add(sums, each.metric, to_micros(at), each.labels, Value.sampled(each.value))
        with self._database.write() as connection:
            self._add(connection, sums)

    def prune(self, resolution: Resolution, before: datetime) -> int:
        """Forget minutes, hours or days that began before a time, and return how many records."""
        asked = {"of_resolution": resolution.value, "before": to_micros(before)}
        with self._database.write() as connection:
            self._database.lock(connection, _LOCK)
            return connection.execute(metrics_sql.PRUNE, asked).rowcount

    # -- Reading -----------------------------------------------------------------------------------

    def series(
        self,
        metric: Metric,
        resolution: Resolution,
        since: datetime,
        until: datetime,
        *,
        labels: Mapping[str, str] | None = None,
        by: Sequence[str] = (),
    ) -> list[Point]:
        """Return a metric over time, oldest first; times at which there was nothing are left out.

        Args:
            since: The minute, hour or day of this time is the first.
            until: Those that begin before this time.
            labels: Only records that have these.
            by: Labels to tell apart; over all others the values are added up.
        """
        merged: dict[tuple[int, tuple[str, ...]], Value] = {}
        for at, found, value in self._cells(metric, resolution, since, until):
            if all(found.get(name) == wanted for name, wanted in (labels or {}).items()):
                key = (at, tuple(found.get(name, "") for name in by))
                merged[key] = merged[key].merged(value) if key in merged else value
        return [
            Point(at=from_micros(at), labels=dict(zip(by, values, strict=True)), value=value)
            for (at, values), value in sorted(merged.items(), key=lambda item: item[0])
        ]

    def totals(
        self,
        metric: Metric,
        resolution: Resolution,
        since: datetime,
        until: datetime,
        *,
        labels: Mapping[str, str] | None = None,
        by: Sequence[str] = (),
    ) -> dict[tuple[str, ...], Value]:
        """Return what `series` adds up to, by the values of the labels `by`; `()` without any."""
        totals: dict[tuple[str, ...], Value] = {}
        for point in self.series(metric, resolution, since, until, labels=labels, by=by):
            key = tuple(point.labels.values())
            totals[key] = totals[key].merged(point.value) if key in totals else point.value
        return totals

    def compare(self) -> list[str]:
        """Return where the figures differ from the store's own counts of the jobs in them.

        Of a store from which no job was removed, and no minute, hour or day either.
        """
        with self._database.read() as connection:
            return disagreements(connection)

    def _cells(
        self, metric: Metric, resolution: Resolution, since: datetime, until: datetime
    ) -> Iterator[tuple[int, dict[str, str], Value]]:
        asked = {
            "of_resolution": resolution.value,
            "first": resolution.begin(to_micros(since)),
            "end": to_micros(until),
            "names": [metric.value],
        }
        with self._database.read() as connection:
            rows = connection.execute(metrics_sql.CELLS_BETWEEN, asked).mappings().all()
        for row in rows:
            yield row["at"], label_values(row["labels"]), _value(row)

    # -- One batch of jobs -------------------------------------------------------------------------

    def _sums_of_pending(self, limit: int) -> dict[str, Sums]:
        """Return what each of some pending jobs adds; of one that was removed, nothing."""
        with self._database.read() as connection:
            pending = connection.execute(metrics_sql.PENDING, {"at_most": limit}).scalars().all()
            asked = {"job_ids": list(pending)}
            sums: dict[str, Sums] = {job_id: {} for job_id in pending}
            if pending:
                self._fill(connection, asked, sums)
        return sums

    def _fill(
        self, connection: Connection, asked: dict[str, list[str]], sums: dict[str, Sums]
    ) -> None:
        ended = connection.execute(metrics_sql.JOBS_THAT_ENDED, asked).mappings()
        jobs: dict[str, Record] = {row["id"]: row for row in ended}
        groups = _by_job(connection.execute(metrics_sql.UNIT_SUMS, asked).mappings())
        for job_id, job in jobs.items():
            sums[job_id] = sums_of_job(job)
            add_units(sums[job_id], job, groups.get(job_id, []))
        attempts = _by_job(connection.execute(metrics_sql.ATTEMPTS_THAT_ENDED, asked).mappings())
        for job_id, rows in attempts.items():
            add_attempts(sums[job_id], jobs, rows)
        # There may be a million documents in a job.
        streamed = connection.execution_options(stream_results=True, max_row_buffer=_ROWS_AT_ONCE)
        timed = streamed.execute(metrics_sql.UNIT_SECONDS, asked).mappings()
        for some in timed.partitions(_ROWS_AT_ONCE):
            for job_id, rows in _by_job(some).items():
                add_seconds(sums[job_id], jobs, rows)

    def _add_jobs(self, sums: Mapping[str, Sums]) -> int:
        asked = {"job_ids": list(sums)}
        with self._database.write() as connection:
            self._database.lock(connection, _LOCK)
            # Another may have added some of them since they were read.
            still = set(connection.execute(metrics_sql.STILL_PENDING, asked).scalars())
            together: Sums = {}
            for job_id in still:
                add_all(together, sums[job_id])
            self._add(connection, together)
            if still:
                connection.execute(metrics_sql.FORGET_PENDING, {"job_ids": list(still)})
        return len(still)

    def _add(self, connection: Connection, sums: Sums) -> None:
        self._database.lock(connection, _LOCK)
        if not sums:
            return
        standing = _standing(connection, sums)
        rows = [
            _row(cell, standing[cell].merged(value) if cell in standing else value)
            for cell, value in sums.items()
        ]
        connection.execute(metrics_sql.put_cell(self._database.insert_into), rows)


def _standing(connection: Connection, sums: Sums) -> Sums:
    """Return the records as they are of all minutes, hours and days that are to change."""
    standing: Sums = {}
    for resolution in Resolution:
        times = sorted({cell.at for cell in sums if cell.resolution is resolution})
        for start in range(0, len(times), _TIMES_AT_ONCE):
            some = times[start : start + _TIMES_AT_ONCE]
            asked = {"of_resolution": resolution.value, "times": some}
            for row in connection.execute(metrics_sql.CELLS_AT, asked).mappings():
                cell = Cell(
                    resolution=resolution, at=row["at"], name=row["name"], labels=row["labels"]
                )
                if cell in sums:
                    standing[cell] = _value(row)
    return standing


def _by_job(rows: Iterable[Record]) -> dict[str, list[Record]]:
    grouped: defaultdict[str, list[Record]] = defaultdict(list)
    for row in rows:
        grouped[row["job_id"]].append(row)
    return grouped


def _row(cell: Cell, value: Value) -> dict[str, object]:
    return {
        "resolution": cell.resolution.value,
        "at": cell.at,
        "name": cell.name,
        "labels": cell.labels,
        "count": value.count,
        "total": value.total,
        "low": value.low,
        "high": value.high,
        "last": value.last,
        "buckets": value.histogram.to_json(),
    }


def _value(row: Record) -> Value:
    return Value(
        count=row["count"],
        total=row["total"],
        low=row["low"],
        high=row["high"],
        last=row["last"],
        histogram=Histogram.from_json(row["buckets"]),
    )
