"""One run in full: what it did, what it found to be wrong, and what to do about that."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, cast

from lexigram_ray.cli import maintenance_words as words
from lexigram_ray.cli.job_words import at
from lexigram_ray.cli.output import paint, printable, say, write_line
from lexigram_ray.core.types import MaintenanceStatus

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.jobs.schedule_records import Run

LABEL_WIDTH = 8
TRIGGERS = {
    "schedule": "its time had come",
    "missed": "made up for: nobody looked when its time came",
    "manual": "asked for",
}


def print_page(run: Run, now: datetime) -> None:
    """Print a run on stdout: how it is, and what it says."""
    _print_headline(run)
    for label, text in _labels(run, now):
        write_line(sys.stdout, f"  {label:<{LABEL_WIDTH}} {printable(text)}")
    lines = list(_lines_of(run))
    if lines:
        write_line(sys.stdout, "")
    for line in lines:
        write_line(sys.stdout, printable(line))


def print_result(run: Run) -> None:
    """Print on stdout how a run has ended, and what it says."""
    _print_headline(run)
    for line in _lines_of(run):
        write_line(sys.stdout, f"  {printable(line)}")


def say_faults(run: Run, invocation: Invocation) -> None:
    """Say on stderr what a run has found to be wrong, each with its way out.

    Commands in these name the state that this command was told of: the run that found the fault
    may be another process's, which was told in another way.
    """
    for fault in run.faults:
        name, detail, fix = (str(fault.get(key) or "") for key in ("name", "detail", "fix"))
        say(printable(f"{name}: {detail}"), label="fault", style="red")
        if fix:
            say(printable(invocation.placed(fix)), label="try", style="cyan")


def say_failure(run: Run, invocation: Invocation) -> None:
    """Say on stderr why a run has failed or was skipped, and where there is more."""
    if run.reason:
        is_failure = run.status is MaintenanceStatus.FAILED
        label, style = ("error", "red") if is_failure else ("note", "bold")
        say(printable(run.reason), label=label, style=style)
    if run.job_id is not None and run.status is MaintenanceStatus.FAILED:
        line = invocation.suggest("jobs", "show", run.job_id)
        say(line, label="more with", style="cyan")


def _print_headline(run: Run) -> None:
    outcome = words.outcome(run)
    if run.faults and run.status is MaintenanceStatus.COMPLETED:
        outcome = f"{run.status.value} with {outcome}"
    outcome = paint(outcome, words.style(run), sys.stdout)
    taken = "" if run.duration_seconds is None else f" ({words.took(run)})"
    write_line(sys.stdout, f"{outcome}: {printable(run.schedule)}{taken}")


def _labels(run: Run, now: datetime) -> Iterator[tuple[str, str]]:
    yield "run", run.id
    if run.task != run.schedule:
        yield "task", run.task
    yield "due", at(run.due_at, now)
    yield "why", TRIGGERS.get(run.trigger.value, run.trigger.value)
    if run.started_at is not None:
        yield "began", at(run.started_at, now)
    if run.finished_at is not None:
        yield "ended", at(run.finished_at, now)
    if run.job_id is not None:
        yield "job", run.job_id


def _lines_of(run: Run) -> Iterator[str]:
    """Yield what a run says; where it says nothing, its figures."""
    lines = run.result.get("lines")
    if isinstance(lines, list) and lines:
        yield from (str(line) for line in cast("list[object]", lines))
    else:
        yield from _flat(run.figures)


def _flat(figures: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(cast("dict[str, object]", value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}: {value}"
