"""What all jobs have done, as a page: counts, times, causes of failure, and plots over time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime

from lexigram_ray.cli.output import console, is_terminal, paint, print_table, printable, write_line
from lexigram_ray.cli.stats_plots import Axis, plots
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.metrics_records import Resolution, Value
from lexigram_ray.jobs.work_summary import QUANTILES, SECONDS, WorkSummary

OUTCOMES = ("done", "unchanged", "skipped", "failed", "removed")
SHOWN_FAILURES = 10
PIPE_COLUMNS = 72
_NAMES = {"document": "document", "job": "job", "job_wait": "job's wait"}
_NAME_WIDTH = 12
_BAD = frozenset({"failed", "lost", "error"})


def print_page(summary: WorkSummary) -> None:
    """Print a summary that is not empty on stdout."""
    lines = [f"{moment(summary)}, by {summary.resolution.value}", "", *_counts(summary)]
    for line in lines:
        write_line(sys.stdout, line)
    _print_seconds(summary.seconds)
    _print_failures(summary)
    _print_plots(summary)


def moment(summary: WorkSummary) -> str:
    """Return from when to when it is, and of what."""
    of = "" if summary.collection is None else f"collection {printable(summary.collection)}, "
    return f"{of}{_time(summary, summary.since)} to {_time(summary, summary.until)}"


def _time(summary: WorkSummary, at: datetime) -> str:
    if summary.resolution is Resolution.DAY:
        return at.strftime("%Y-%m-%d %H:%M UTC")
    return at.astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _counts(summary: WorkSummary) -> list[str]:
    done = summary.documents.get("done", 0)
    lines = [
        _line("documents", _told(summary.documents, OUTCOMES)),
        _line("", _pace(summary, done, [each.documents for each in summary.intervals])),
        _line("chunks", f"{summary.chunks:,} written"),
        _line("", _pace(summary, summary.chunks, [each.chunks for each in summary.intervals])),
        _line("embeddings", _embeddings(summary)),
        _line("jobs", _told(summary.jobs, [status.value for status in JobStatus])),
        _line("attempts", _told(summary.attempts, sorted(summary.attempts))),
        _line("maintenance", _maintenance(summary)),
    ]
    return [line for line in lines if line]


def _line(name: str, told: str) -> str:
    return f"{name:{_NAME_WIDTH}}{told}" if told else ""


def _told(counts: Mapping[str, int], order: tuple[str, ...] | list[str]) -> str:
    parts: list[str] = []
    for name in order:
        if number := counts.get(name, 0):
            part = f"{number:,} {name}"
            parts.append(paint(part, "red", sys.stdout) if name in _BAD else part)
    return ", ".join(parts)


def _pace(summary: WorkSummary, number: int, counted: list[int]) -> str:
    if not number:
        return ""
    mean = summary.per_hour(number)
    return (
        f"{mean:,.{0 if mean >= 10 else 1}f} an hour; "
        f"at most {max(counted):,} in one {summary.resolution.value}"
    )


def _embeddings(summary: WorkSummary) -> str:
    rate = summary.cache_hit_rate
    if rate is None:
        return ""
    return f"{summary.computed:,} computed, {summary.cached:,} found in the cache ({rate:.1%})"


def _maintenance(summary: WorkSummary) -> str:
    by_status: dict[str, int] = {}
    for (_, status), number in summary.maintenance.items():
        by_status[status] = by_status.get(status, 0) + number
    return _told(by_status, sorted(by_status))


def _print_seconds(seconds: Mapping[str, Value]) -> None:
    rows = [_seconds_row(name, seconds[name]) for name in SECONDS if seconds[name].count]
    if rows:
        write_line(sys.stdout, "")
        print_table(("SECONDS", "COUNT", "MEAN", *map(str.upper, QUANTILES), "LONGEST"), rows)


def _seconds_row(name: str, value: Value) -> tuple[str, ...]:
    quantiles = [value.quantile(fraction) for fraction in QUANTILES.values()]
    measured = (value.mean, *quantiles, value.high)
    return (_NAMES[name], f"{value.count:,}", *(_number(seconds) for seconds in measured))


def _number(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:,.{0 if seconds >= 100 else 2 if seconds >= 0.1 else 4}f}"


def _print_failures(summary: WorkSummary) -> None:
    rows = [
        ("document", category, code or "-", f"{number:,}")
        for (category, code), number in summary.failures.items()
    ]
    rows += [("job", "-", code, f"{number:,}") for code, number in summary.job_failures.items()]
    if not rows:
        return
    write_line(sys.stdout, "")
    print_table(("FAILED", "CATEGORY", "CODE", "COUNT"), rows[:SHOWN_FAILURES])
    if len(rows) > SHOWN_FAILURES:
        write_line(sys.stdout, f"and {len(rows) - SHOWN_FAILURES:,} more causes: see --json")


def _print_plots(summary: WorkSummary) -> None:
    terminal = is_terminal(sys.stdout)
    axis = Axis.of(summary, console(sys.stdout).width if terminal else PIPE_COLUMNS)
    blocks = terminal and "utf" in (sys.stdout.encoding or "").lower()
    drawn = plots(summary, axis, blocks=blocks)
    for each in drawn:
        write_line(sys.stdout, "")
        write_line(sys.stdout, paint(each.title, "bold", sys.stdout))
        for line in each.lines:
            write_line(sys.stdout, paint(line, each.style, sys.stdout))
    if drawn:
        write_line(sys.stdout, axis.words())
