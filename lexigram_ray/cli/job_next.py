"""What to do next with a job, as lines that can be copied."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.job_words import at, place_of, waits_for_a_worker
from lexigram_ray.cli.output import printable, say
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.schedule_records import MAINTENANCE

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.records import Job

STYLES = {"note": "bold"}


def is_up(config: WorkersConfig) -> bool:
    """Return whether `up` has started what works on recorded jobs, and it has not ended since."""
    from lexigram_ray.runtime import cluster_file

    return cluster_file.is_up(config)


def say_what_is_missing(work: str, config: WorkersConfig, invocation: Invocation) -> None:
    """Say on stderr what starts what works on this, where nothing does."""
    if not is_up(config):
        line = f"nothing works on {work} yet: {invocation.suggest('up')} does"
        say(line, label="try", style="cyan")


def say_next(
    job: Job,
    invocation: Invocation,
    now: datetime,
    *,
    has_workers: bool,
    orphaned: bool = False,
    is_watched: bool = False,
) -> None:
    """Say on stderr what can be done now.

    Args:
        has_workers: Whether something is up that works on recorded jobs.
        orphaned: Whether the process that worked on it is gone.
        is_watched: Whether the user has just watched it.
    """
    if waits_for_a_worker(job, now) or orphaned:
        steps = _before_a_worker(job, invocation, has_workers=has_workers, orphaned=orphaned)
    else:
        steps = _steps(job, invocation, now, is_watched=is_watched)
    for label, line in steps:
        say(printable(line), label=label, style=STYLES.get(label, "cyan"))


def _before_a_worker(
    job: Job, invocation: Invocation, *, has_workers: bool, orphaned: bool
) -> Iterator[tuple[str, str]]:
    if orphaned:
        yield "note", "the process that worked on it is gone: the next worker goes on with it"
    elif has_workers:
        yield "note", "it waits for its turn"
    else:
        yield "note", "nothing works on recorded jobs yet"
    if has_workers:
        yield "watch with", invocation.suggest("jobs", "watch", job.id)
    else:
        yield "try", invocation.suggest("up")


def _steps(
    job: Job, invocation: Invocation, now: datetime, *, is_watched: bool
) -> Iterator[tuple[str, str]]:
    match job.status:
        case JobStatus.PENDING:
            yield "note", f"it waits until {at(job.run_after or now, now)}"
        case JobStatus.RUNNING:
            if not is_watched:
                yield "watch with", invocation.suggest("jobs", "watch", job.id)
        case JobStatus.COMPLETED:
            yield from _after_completion(job, invocation)
        case JobStatus.FAILED | JobStatus.CANCELLED:
            if is_watched and job.status is JobStatus.FAILED:
                yield "more with", invocation.suggest("jobs", "show", job.id, "--traceback")
            yield "try", line_again(job, invocation)


def line_again(job: Job, invocation: Invocation) -> str:
    """Return the command that does once more what a job did that has failed or was cancelled."""
    if job.kind == MAINTENANCE:
        return invocation.suggest("maintenance", "run", place_of(job))
    return invocation.suggest("jobs", "retry", job.id)


def _is_repeatable(job: Job) -> bool:
    """Whether a completed job has said all that is needed to do it again."""
    request = job.spec.get("request")
    if not isinstance(request, dict):
        return False
    # The texts of stdin, and a program's objects, are gone with the job.
    return job.kind == "ingest" or bool(request["table"] and not request["provider"])


def _after_completion(job: Job, invocation: Invocation) -> Iterator[tuple[str, str]]:
    counts = Counts.of(job)
    if counts.failed:
        line = invocation.suggest("dlq", "list", "--collection", job.collection)
        yield "see failures with", line
    if counts.failed and _is_repeatable(job):
        yield "try", invocation.suggest("jobs", "retry", job.id, "--failed")
    if counts.done > counts.failed:
        line = invocation.suggest("search", "your question", "--collection", job.collection)
        yield "search with", line
