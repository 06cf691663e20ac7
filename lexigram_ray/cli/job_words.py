"""Jobs in words: how far one is, how it stands, when something was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lexigram_ray.cli.output import duration
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.schedule_records import MAINTENANCE
from lexigram_ray.jobs.watching import Pace

STYLES = {
    JobStatus.PENDING: "yellow",
    JobStatus.RUNNING: "cyan",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "dim",
}
RECORDS = {"ingest": "documents", "embed": "texts"}
HOUR, DAY = 3600, 86400


def style_of(job: Job) -> str:
    """Return the colour of a job's status; done with failed records is not plainly done."""
    if job.status is JobStatus.COMPLETED and Counts.of(job).failed:
        return "yellow"
    return STYLES[job.status]


def records_of(job: Job) -> str:
    """Return what the job's records are called, such as `documents`."""
    return RECORDS.get(job.kind, "records")


def title_of(job: Job) -> str:
    """Return `ingest into collection docs`, or `maintenance cache_cleanup`."""
    if job.kind == MAINTENANCE:
        return f"{job.kind} {place_of(job)}"
    return f"{job.kind} into collection {place_of(job)}"


def place_of(job: Job) -> str:
    """Return the collection of a job, or the schedule that has made it."""
    return str(job.spec.get("schedule", "")) if job.kind == MAINTENANCE else job.collection


def waits_for_a_worker(job: Job, now: datetime) -> bool:
    """Return whether nothing but a worker is missing for a job to begin."""
    is_due = job.run_after is None or job.run_after <= now
    return job.status is JobStatus.PENDING and is_due


def progress_in_short(job: Job) -> str:
    """Return `1,200/5,000 24%, 3 failed`; a dash before anything is known."""
    counts = Counts.of(job)
    if not counts.total:
        return f"{counts.done:,}" if counts.done else "-"
    failed = f", {counts.failed:,} failed" if counts.failed else ""
    return f"{counts.done:,}/{counts.total:,} {counts.fraction or 0.0:.0%}{failed}"


def progress_in_words(job: Job) -> str:
    """Return `1,200/5,000 documents, 24%, 3 failed`, or that nothing is done."""
    counts, records = Counts.of(job), records_of(job)
    if counts.total:
        return progress_in_short(job).replace(" ", f" {records}, ", 1)
    if counts.done:
        return f"{counts.done:,} {records}"
    if job.kind == MAINTENANCE:
        return "done" if job.status is JobStatus.COMPLETED else "it says nothing of how far it is"
    return "nothing to do" if job.status is JobStatus.COMPLETED else "nothing is done yet"


def pace_in_words(pace: Pace) -> list[str]:
    """Return what is known of `12/s` and `about 5 min 3 s left`."""
    words: list[str] = []
    if pace.per_second is not None:
        words.append(f"{pace.per_second:,.{0 if pace.per_second >= 10 else 1}f}/s")
    if pace.seconds_remaining is not None:
        words.append(f"about {duration(pace.seconds_remaining)} left")
    return words


def object_of(jobs: Sequence[Job]) -> dict[str, object]:
    """Return what `--json` answers of the jobs that a user has named: one object, or a list."""
    objects = [job.to_dict() for job in jobs]
    return objects[0] if len(objects) == 1 else {"items": objects, "next": None}


def seconds_taken(job: Job, now: datetime) -> float | None:
    """Return how long it has taken since it was first claimed, or did take."""
    if job.started_at is None:
        return None
    return max(0.0, ((job.finished_at or now) - job.started_at).total_seconds())


def age(moment: datetime, now: datetime) -> str:
    """Return how long ago it was, in one unit: `40 s`, `12 min`, `5 h`, `3 d`."""
    seconds = max(0, round((now - moment).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // 60} min"
    return f"{seconds // HOUR} h" if seconds < 2 * DAY else f"{seconds // DAY} d"


def at(moment: datetime, now: datetime) -> str:
    """Return a time on this machine's clock with its zone, and how far from now it is."""
    if moment > now:
        return f"{local_time(moment)} (in {duration((moment - now).total_seconds())})"
    return f"{local_time(moment)} ({age(moment, now)} ago)"


def local_time(moment: datetime) -> str:
    """Return a time on this machine's clock with its zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
