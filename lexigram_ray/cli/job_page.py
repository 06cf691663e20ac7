"""One job in full: how far it is, how long still, who worked on it, what failed, what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

from lexigram_ray.cli.job_words import (
    at,
    pace_in_words,
    progress_in_words,
    seconds_taken,
    style_of,
    title_of,
)
from lexigram_ray.cli.output import (
    duration,
    paint,
    print_table,
    print_tracebacks,
    printable,
    write_line,
)
from lexigram_ray.jobs.report import Problem, problems_of
from lexigram_ray.jobs.watching import pace_since_start

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Attempt, Job

SOURCES_SHOWN = 3
LABEL_WIDTH = 10
NOTHING = "-"


def print_page(
    job: Job, attempts: Sequence[Attempt], now: datetime, *, tracebacks: bool = False
) -> None:
    """Print a job on stdout."""
    from lexigram_ray.cli.ingest_summary import print_problems

    status = paint(job.status.value, style_of(job), sys.stdout)
    _print(f"{status}: {printable(title_of(job))}")
    for label, text in _lines(job, now):
        _print(f"  {label:<{LABEL_WIDTH}} {printable(text)}")
    if attempts:
        _print("")
        _print_attempts(attempts, now)
    if tracebacks:
        named = [(f"attempt {attempt.number}", attempt.traceback) for attempt in attempts]
        print_tracebacks(named, "attempt")
    problems = [Problem.from_dict(problem) for problem in problems_of(job)]
    if problems:
        _print("")
        print_problems(problems)


def _lines(job: Job, now: datetime) -> Iterator[tuple[str, str]]:
    yield "job", job.id
    yield (
        "progress",
        ", ".join([progress_in_words(job), *pace_in_words(pace_since_start(job, now))]),
    )
    yield "created", at(job.created_at, now)
    if job.run_after is not None:
        yield "not before", at(job.run_after, now)
    if job.started_at is not None:
        yield "started", at(job.started_at, now)
    if job.finished_at is not None:
        yield "finished", at(job.finished_at, now)
    took = seconds_taken(job, now)
    if took is not None:
        yield "took", duration(took)
    if job.deadline is not None:
        yield "deadline", at(job.deadline, now)
    if job.priority:
        yield "priority", str(job.priority)
    if job.retry_of is not None:
        yield "retry of", job.retry_of
    sources = sources_of(job)
    if sources:
        more = len(sources) - SOURCES_SHOWN
        shown = ", ".join(sources[:SOURCES_SHOWN])
        yield "reads", f"{shown} and {more:,} more" if more > 0 else shown
    if "model" in job.spec:
        yield "model", str(job.spec["model"])
    if job.error:
        code = f" ({job.error_code})" if job.error_code else ""
        yield "error", f"{job.error}{code}"


def sources_of(job: Job) -> list[str]:
    """Return what the job reads: paths, or a table."""
    paths = job.spec.get("paths")
    if isinstance(paths, list):
        return [str(path) for path in cast("list[object]", paths)]
    source = job.spec.get("source")
    return [str(source)] if source else []


def _print_attempts(attempts: Sequence[Attempt], now: datetime) -> None:
    """Print the attempts as a table, without the columns in which none has anything."""
    columns = {
        "ATTEMPT": [str(attempt.number) for attempt in attempts],
        "NODE": [attempt.owner.host for attempt in attempts],
        "PID": [str(attempt.owner.pid) for attempt in attempts],
        "ACTOR": [attempt.actor for attempt in attempts],
        "STARTED": [f"{attempt.started_at.astimezone():%m-%d %H:%M:%S}" for attempt in attempts],
        "TOOK": [_took(attempt, now) for attempt in attempts],
        "OUTCOME": [_outcome(attempt) for attempt in attempts],
        "CATEGORY": [attempt.category.value if attempt.category else "" for attempt in attempts],
        "ERROR": [(attempt.error or "").strip() for attempt in attempts],
    }
    shown = {header: cells for header, cells in columns.items() if any(cells)}
    rows = [[cell or NOTHING for cell in row] for row in zip(*shown.values(), strict=True)]
    print_table(tuple(shown), rows)


def _took(attempt: Attempt, now: datetime) -> str:
    seconds = attempt.duration_seconds
    if seconds is None:
        seconds = max(0.0, (now - attempt.started_at).total_seconds())
    return duration(seconds)


def _outcome(attempt: Attempt) -> str:
    if attempt.outcome is not None:
        return attempt.outcome
    return "its process is gone" if attempt.owner.is_gone() else "running"


def _print(line: str) -> None:
    write_line(sys.stdout, line)
