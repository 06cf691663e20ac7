"""Schedules and their runs as tables, one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli import maintenance_words as words
from lexigram_ray.cli.job_ids import short_ids
from lexigram_ray.cli.job_words import age
from lexigram_ray.cli.output import print_table, shortened

if TYPE_CHECKING:
    from rich.text import Text

    from lexigram_ray.jobs.schedule_records import Run
    from lexigram_ray.maintenance.known_schedules import Listed

SHOWN_OF_A_REASON = 60
RUN_HEADERS = ("ID", "NAME", "DUE", "WHY", "OUTCOME", "TOOK", "REASON")


def print_schedules(listed: Sequence[Listed], now: datetime) -> None:
    """Print schedules on stdout, in their order."""
    headers = ("NAME", "RUNS", "LAST RUN", "OUTCOME", "NEXT RUN")
    print_table(headers, [_schedule_row(each, now) for each in listed])


def print_runs(runs: Sequence[Run], now: datetime) -> None:
    """Print runs on stdout, in their order."""
    ids = short_ids([run.id for run in runs])
    print_table(
        RUN_HEADERS, [_run_row(run, short, now) for run, short in zip(runs, ids, strict=True)]
    )


def _schedule_row(listed: Listed, now: datetime) -> tuple[str | Text, ...]:
    from rich.text import Text

    run = listed.last_run
    is_on = listed.schedule.enabled
    return (
        listed.schedule.name,
        words.when(listed.schedule),
        words.last(run, now),
        words.NONE if run is None else Text(words.outcome(run), style=words.style(run)),
        words.due(listed.next_due, now) if is_on else Text("disabled", style="dim"),
    )


def _run_row(run: Run, short: str, now: datetime) -> tuple[str | Text, ...]:
    from rich.text import Text

    return (
        short,
        run.schedule,
        f"in {words.soon((run.due_at - now).total_seconds())}"
        if run.due_at > now
        else f"{age(run.due_at, now)} ago",
        run.trigger.value,
        Text(words.outcome(run), style=words.style(run)),
        words.took(run),
        shortened(_reason(run), SHOWN_OF_A_REASON),
    )


def _reason(run: Run) -> str:
    if run.faults:
        return words.named([_name_of(fault) for fault in run.faults])
    return run.reason.strip().partition("\n")[0]


def _name_of(fault: Mapping[str, object]) -> str:
    return str(fault.get("name", ""))
