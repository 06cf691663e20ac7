"""What a watch shows of jobs that another process works on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lexigram_ray.cli import embed_progress, ingest_progress
from lexigram_ray.cli.job_words import (
    local_time,
    pace_in_words,
    place_of,
    progress_in_words,
    waits_for_a_worker,
)
from lexigram_ray.cli.output import count
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.schedule_records import MAINTENANCE
from lexigram_ray.jobs.watching import Watched

PHASES = ingest_progress.PHASES | embed_progress.PHASES


@dataclass(frozen=True, slots=True)
class JobsMoment:
    """A moment of one or more jobs under watch, seen from outside."""

    watched: tuple[Watched, ...]
    now: datetime

    @property
    def phase(self) -> str:
        """What is new whenever a job begins or ends."""
        return self.title

    @property
    def title(self) -> str:
        """What the one job does, or how many are in which state."""
        if self._one is not None:
            job = self._one.job
            doing = job.kind if job.kind == MAINTENANCE else f"{job.kind} into"
            return f"{doing} {place_of(job)}: {_phase(job, self.now)}"
        states = Counter(each.job.status for each in self.watched)
        told = ", ".join(
            f"{states[status]:,} {status.value}" for status in JobStatus if states[status]
        )
        return f"{count(len(self.watched), 'job')}: {told}"

    @property
    def job_id(self) -> str:
        """Of the one job; empty where there are several."""
        return self._one.job.id if self._one is not None else ""

    @property
    def fraction(self) -> float | None:
        """The mean of the jobs' fractions; None while nothing is known of any."""
        known = [_fraction(each.job) for each in self.watched]
        if all(fraction is None for fraction in known):
            return None
        return sum(fraction or 0.0 for fraction in known) / len(known)

    @property
    def rated(self) -> int:
        """Records that are done."""
        return sum(Counts.of(each.job).done for each in self.watched)

    @property
    def seconds_remaining(self) -> float | None:
        """Of the one job; who works on several, and how many at once, is not known."""
        return None if self._one is None else self._one.pace(self.now).seconds_remaining

    @property
    def current(self) -> str:
        """What ends is named only where it ends."""
        return ""

    @property
    def kept(self) -> str:
        """Nothing hangs on a watch."""
        return ""

    def counts(self, per_second: float) -> Sequence[str]:
        """Say how far the jobs are, and how fast they go.

        `per_second` is of what is seen here: the owner saves its counts only every few seconds, so
        that the mean pace says more.
        """
        if not self.rated:
            return []
        if self._one is None:
            return [f"{count(self.rated, 'record')} done"]
        pace = self._one.pace(self.now)
        return [
            progress_in_words(self._one.job),
            *pace_in_words(replace(pace, seconds_remaining=None)),
        ]

    def to_record(self) -> dict[str, object]:
        """Return the status object; as in restic, `percent_done` is a fraction from 0 to 1."""
        counts = [Counts.of(each.job) for each in self.watched]
        remaining = self.seconds_remaining
        return {
            "message_type": "status",
            "phase": self.title,
            "job_id": self.job_id,
            "percent_done": round(self.fraction or 0.0, 4),
            "records_done": sum(each.done for each in counts),
            "records_total": sum(each.total for each in counts),
            "seconds_remaining": None if remaining is None else round(remaining, 1),
            "error_count": sum(each.failed for each in counts),
            "jobs": {each.job.id: each.job.status.value for each in self.watched},
        }

    @property
    def _one(self) -> Watched | None:
        return self.watched[0] if len(self.watched) == 1 else None


def _phase(job: Job, now: datetime) -> str:
    if waits_for_a_worker(job, now):
        return "waiting for a worker"
    if job.status is JobStatus.PENDING and job.run_after is not None:
        return f"waiting until {local_time(job.run_after)}"
    if job.status is not JobStatus.RUNNING:
        return job.status.value
    phase = job.progress.get("phase")
    return PHASES.get(phase, phase) if isinstance(phase, str) else "running"


def _fraction(job: Job) -> float | None:
    return 1.0 if job.status.is_final else Counts.of(job).fraction
