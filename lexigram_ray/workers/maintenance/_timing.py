"""When a task of a worker is due: a pure function of its schedule, what was decided, and the time.

Cron times are those of maintenance schedules (`lexigram_ray.maintenance.fire_times`), moved clocks
included. An interval begins at once, with a task's first look, and counts from there: it is not
tied to the clock's face, so that two workers that begin at different times do not run together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lexigram_ray.jobs.schedule_records import Schedule, Trigger
from lexigram_ray.maintenance.fire_times import next_due
from lexigram_ray.maintenance.planning import GRACE, TOLERANCE, plan_runs

REMEMBERED = 16
"""So many of the last times that ran are remembered: a clock that is put back repeats none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What was decided on a schedule.

    Attributes:
        considered_until: All due times up to here are decided; None for an interval that has not
            begun.
        ran: The last due times that ran or were skipped.
    """

    schedule: Schedule
    considered_until: datetime | None
    ran: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A time at which a task is to run."""

    at: datetime
    trigger: Trigger


def begin_timing(schedule: Schedule, now: datetime) -> Timing:
    """Return the timing of a task that is registered or enabled now."""
    is_interval = schedule.interval_seconds is not None
    return Timing(schedule=schedule, considered_until=None if is_interval else now)


def look(timing: Timing, now: datetime) -> tuple[Timing, Due | None]:
    """Decide on what has become due; several times that have passed are one run.

    Returns:
        The timing from now on, and the run that there is to be.
    """
    if timing.schedule.interval_seconds is not None:
        return _look_at_interval(timing, timing.schedule.interval_seconds, now)
    plan = plan_runs(_considered(timing), now, _nothing)
    if plan.considered_until is None:
        return timing, None
    decided = replace(timing, considered_until=plan.considered_until)
    runs = [run for run in plan.runs if run.due_at not in timing.ran]
    if not runs:
        return decided, None
    due = Due(at=runs[-1].due_at, trigger=runs[-1].trigger)
    return replace(decided, ran=(*timing.ran, due.at)[-REMEMBERED:]), due


def next_run(timing: Timing, now: datetime) -> datetime | None:
    """Return when a task is due next, in UTC; a time that has passed is made up for now."""
    since, interval = timing.considered_until, timing.schedule.interval_seconds
    if since is None:
        return now
    since = min(since, now) if since > now + TOLERANCE else since
    if interval is None:
        return next_due(timing.schedule, since)
    return since + timedelta(seconds=interval)


def _look_at_interval(timing: Timing, seconds: float, now: datetime) -> tuple[Timing, Due | None]:
    since, step = timing.considered_until, timedelta(seconds=seconds)
    if since is None:
        return replace(timing, considered_until=now), Due(at=now, trigger=Trigger.SCHEDULE)
    if since > now + TOLERANCE:
        # The clock was put back: one interval from now on.
        return replace(timing, considered_until=now), None
    passed = (now - since) // step
    if passed < 1:
        return timing, None
    at = since + passed * step
    is_late = now - (since + step) > max(GRACE, step)
    trigger = Trigger.MISSED if is_late else Trigger.SCHEDULE
    return replace(timing, considered_until=at), Due(at=at, trigger=trigger)


def _considered(timing: Timing) -> Schedule:
    return replace(timing.schedule, considered_until=timing.considered_until)


def _nothing() -> Sequence[str]:
    return ()
