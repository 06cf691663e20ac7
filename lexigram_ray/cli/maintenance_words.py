"""Schedules and runs in words: when one is due, how one has ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.job_words import age, local_time
from lexigram_ray.cli.output import count, duration
from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.schedule_records import CANCELLED_CODE

if TYPE_CHECKING:
    from lexigram_ray.jobs.schedule_records import Run, Schedule

STYLES = {
    MaintenanceStatus.PENDING: "yellow",
    MaintenanceStatus.RUNNING: "cyan",
    MaintenanceStatus.COMPLETED: "green",
    MaintenanceStatus.FAILED: "red",
    MaintenanceStatus.SKIPPED: "dim",
}
FAULTY = "yellow"
NONE = "-"
ENDED_OTHERWISE = {CANCELLED_CODE: "cancelled", "timed_out": "timed out"}
"""Failures that are none of the task's own, by their codes."""

UNITS = (("d", "day", 86400), ("h", "hour", 3600), ("min", "minute", 60))
DAYS = ("Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays")
# Steps that divide an hour: others leave a shorter one at its end.
EVEN = "2|3|4|5|6|10|12|15|20|30"

_USUAL: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(rf"\*/({EVEN}) \* \* \* \*"), lambda found: f"every {found[1]} min"),
    (re.compile(r"(\d+) \* \* \* \*"), lambda found: f"hourly at :{int(found[1]):02}"),
    (re.compile(r"(\d+) (\d+) \* \* \*"), lambda found: f"daily {_at(found)}"),
    (
        re.compile(r"(\d+) (\d+) \* \* ([0-7])"),
        lambda found: f"{DAYS[int(found[3]) % 7]} {_at(found)}",
    ),
    (
        re.compile(r"(\d+) (\d+) (\d+) \* \*"),
        lambda found: f"monthly on day {int(found[3])} {_at(found)}",
    ),
)
_FOLLOWS_NO_ZONE = re.compile(r"\S+ \* \* \* \*")


def when(schedule: Schedule) -> str:
    """Return when a schedule is due: `every 5 min`, `daily at 03:23 UTC`, or its expression."""
    if schedule.interval_seconds is not None:
        return f"every {_interval(schedule.interval_seconds)}"
    cron = schedule.cron or ""
    words = cron_in_words(cron) or cron
    return words if _FOLLOWS_NO_ZONE.fullmatch(cron) else f"{words} {schedule.timezone}"


def cron_in_words(cron: str) -> str | None:
    """Return the usual expressions in words, without the zone; None for the others."""
    for pattern, in_words in _USUAL:
        found = pattern.fullmatch(cron)
        if found is not None:
            return in_words(found)
    return None


def due(moment: datetime | None, now: datetime) -> str:
    """Return when a schedule is due next, on this machine's clock, and how soon."""
    if moment is None:
        return "never"
    return f"{local_time(moment)} (in {soon((moment - now).total_seconds())})"


def soon(seconds: float) -> str:
    """Return a time to come in one unit: `40 s`, `12 min`, `5 h`, `3 d`."""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{round(whole / 60)} min"
    return f"{round(whole / 3600)} h" if whole < 2 * 86400 else f"{round(whole / 86400)} d"


def last(run: Run | None, now: datetime) -> str:
    """Return when a schedule ran last."""
    if run is None:
        return NONE
    return f"{age(run.finished_at or run.started_at or run.created_at, now)} ago"


def outcome(run: Run) -> str:
    """Return how a run has ended, or how far it is."""
    if run.status is MaintenanceStatus.COMPLETED and run.faults:
        return count(len(run.faults), "fault")
    return ENDED_OTHERWISE.get(run.error_code or "", run.status.value)


def style(run: Run) -> str:
    """Return the colour of a run's outcome."""
    if run.status is MaintenanceStatus.COMPLETED and run.faults:
        return FAULTY
    return STYLES[run.status]


def took(run: Run) -> str:
    """Return how long a run has taken."""
    return NONE if run.duration_seconds is None else duration(run.duration_seconds)


def named(faults: Sequence[object], shown: int = 3) -> str:
    """Return the names of faults, and how many more there are."""
    names = [str(each) for each in faults[:shown]]
    more = len(faults) - shown
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")


def _interval(seconds: float) -> str:
    for unit, alone, length in UNITS:
        if seconds >= length and seconds % length == 0:
            whole = int(seconds // length)
            return alone if whole == 1 else f"{whole} {unit}"
    return f"{seconds:g} s"


def _at(found: re.Match[str]) -> str:
    return f"at {int(found[2]):02}:{int(found[1]):02}"
