"""Looking at jobs that another process works on: until they end, and how fast they go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store

LOOK_EVERY_SECONDS = 0.5

SETTLE_SECONDS = 2.0
"""A pace of less time than this says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a running job goes.

    Attributes:
        per_second: Records; None while unknown.
        seconds_remaining: None while unknown.
    """

    per_second: float | None = None
    seconds_remaining: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A job as it was at one moment.

    Attributes:
        at: Seconds on the looker's monotonic clock.
        changed_at: When a look first saw this progress: owners save it every few seconds.
    """

    job: Job
    at: float
    changed_at: float

    @property
    def is_change(self) -> bool:
        """Whether the look before saw another progress."""
        return self.at == self.changed_at

    def again(self, job: Job, at: float) -> Look:
        """Return a later look at the same job."""
        same = job.progress == self.job.progress
        return Look(job=job, at=at, changed_at=self.changed_at if same else at)


def pace_between(first: Look, last: Look) -> Pace:
    """Return the mean pace between two looks that each saw a change."""
    if last.job.status is not JobStatus.RUNNING:
        return Pace()
    done = Counts.of(last.job).done - Counts.of(first.job).done
    return _pace(
        last.job, done, last.changed_at - first.changed_at, since=last.at - last.changed_at
    )


def pace_since_start(job: Job, now: datetime) -> Pace:
    """Return the mean pace since a running job was first claimed, from one look at it.

    It is too high where most records were done before (unchanged documents), and too low where the
    job lay idle between two attempts: two looks are better.
    """
    if job.status is not JobStatus.RUNNING or job.started_at is None:
        return Pace()
    return _pace(job, Counts.of(job).done, (now - job.started_at).total_seconds())


def _pace(job: Job, done: int, seconds: float, *, since: float = 0.0) -> Pace:
    """Return a pace from `done` records in `seconds`, which ended `since` seconds ago.

    Where the job's owner foresees its end, that counts: it knows what its records cost.
    """
    foreseen = job.progress.get("seconds_remaining")
    remaining = float(foreseen) if isinstance(foreseen, (int, float)) else None
    if done <= 0 or seconds < SETTLE_SECONDS:
        return Pace(seconds_remaining=_left(remaining, since))
    per_second, counts = done / seconds, Counts.of(job)
    if remaining is None and counts.total:
        remaining = (counts.total - counts.done) / per_second
    return Pace(per_second=per_second, seconds_remaining=_left(remaining, since))


def _left(seconds: float | None, passed: float) -> float | None:
    return None if seconds is None else max(0.0, seconds - passed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A job under watch.

    Attributes:
        base: The look that the pace is measured from: the first one that saw a change.
        last: The latest look.
    """

    base: Look
    last: Look

    @classmethod
    def begin(cls, job: Job, at: float) -> Watched:
        """Return a job at which one look was taken."""
        # When its progress was saved is not known.
        look = Look(job=job, at=at, changed_at=float("-inf"))
        return cls(base=look, last=look)

    @property
    def job(self) -> Job:
        """The job as it was seen last."""
        return self.last.job

    @property
    def seconds_unchanged(self) -> float:
        """For how long looks have seen no change of its progress."""
        return self.last.at - max(self.base.at, self.last.changed_at)

    def pace(self, now: datetime) -> Pace:
        """Return the best that is known of its pace."""
        if self.base.is_change:
            between = pace_between(self.base, self.last)
            if between.per_second is not None:
                return between
        return pace_since_start(self.job, now)

    def look(self, store: Store, at: float) -> Watched:
        """Look again; a final job stays as it is.

        Raises:
            UsageError: The job is gone from the store.
        """
        if self.job.status.is_final:
            return self
        job = store.get(self.job.id)
        if job is None:
            raise UsageError(
                f"job {self.job.id} is gone from the store",
                hint="`lexigram-ray jobs list` shows what is there",
            )
        if job.attempt != self.job.attempt:
            # Another attempt counts anew, and the time between two is nobody's pace.
            return Watched.begin(job, at)
        last = self.last.again(job, at)
        base = last if last.is_change and not self.base.is_change else self.base
        return Watched(base=base, last=last)


def watch(
    store: Store,
    jobs: Sequence[Job],
    show: Callable[[Sequence[Watched]], None],
    stop: threading.Event,
    *,
    every_seconds: float = LOOK_EVERY_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> list[Job]:
    """Look at jobs until all of them are final, or `stop` is set.

    Claims nothing and writes nothing: whoever works on them is not disturbed.

    Args:
        show: Is given all of them after each look, in the order of `jobs`.

    Returns:
        The jobs as they were seen last.

    Raises:
        UsageError: One of them is gone from the store.
        StoreUnreachableError: The store does not answer any more; the jobs may well go on.
    """
    watched = [Watched.begin(job, clock()) for job in jobs]
    while True:
        show(watched)
        if all(each.job.status.is_final for each in watched) or stop.wait(every_seconds):
            return [each.job for each in watched]
        watched = [each.look(store, clock()) for each in watched]
