"""Which due times of a schedule run, and when: a pure function of the schedule and the time.

A due time is decided on once, however many look. Those up to `considered_until` are decided. Where
that lies more than `TOLERANCE` ahead, some clock was wrong and has been put back: the schedule is
considered from now on again, so that nothing waits until the clock is there once more. What did run
ahead of its time has its run in the store, which never makes a second one of a due time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lexigram_ray.core.ids import hash_text
from lexigram_ray.jobs.schedule_records import Missed, Overlap, PlannedRun, Schedule, Trigger
from lexigram_ray.maintenance.fire_times import due_times, next_due

MOST_MADE_UP = 100
"""Missed runs of one schedule that are made up for at most: the latest."""

GRACE = timedelta(seconds=60)
"""A run that starts by so much too late was not missed; with frequent ones, half their distance."""

TOLERANCE = timedelta(seconds=60)
"""By so much the clocks of two machines may differ."""

Chance = Callable[[str, datetime], float]
"""From a schedule's name and a due time to a number in [0, 1), the same for whoever asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was decided on a schedule.

    Attributes:
        runs: Of the due times, first to last.
        considered_until: All due times up to here are decided with this; None where nothing is to
            be written.
    """

    runs: tuple[PlannedRun, ...] = ()
    considered_until: datetime | None = None


def chance_of(schedule: str, due_at: datetime) -> float:
    """Return a number in [0, 1) that looks random, and is the same for whoever asks."""
    return int(hash_text(f"{schedule}@{due_at.isoformat()}")[:13], 16) / 16**13


def plan_runs(
    schedule: Schedule,
    now: datetime,
    unfinished: Callable[[], Sequence[str]],
    chance: Chance = chance_of,
) -> Plan:
    """Decide on the due times of a schedule that have come since it was last considered.

    Args:
        schedule: As the store has it.
        now: The time, UTC.
        unfinished: Returns the ids of its jobs that have not ended; asked only where one is due.
        chance: How much of the jitter a run gets.

    Raises:
        ConfigError: The schedule's cron expression or zone is wrong.
    """
    since = schedule.considered_until
    if not schedule.enabled or since is None:
        return Plan()
    if since > now + TOLERANCE:
        # The last minute once more: what was due just now may have been passed over as missed.
        return Plan(considered_until=now - TOLERANCE)
    due = due_times(schedule, since, now, MOST_MADE_UP + 1)
    if not due:
        return Plan()
    chosen = _chosen(schedule, due, now)
    runs = _overlapped(schedule.overlap, chosen, unfinished) if chosen else ()
    return Plan(
        runs=tuple(_jittered(run, schedule, now, chance) for run in runs), considered_until=due[-1]
    )


def _chosen(schedule: Schedule, due: Sequence[datetime], now: datetime) -> list[PlannedRun]:
    """Return the runs that there are to be, if nothing is in their way."""
    # Of all others the next one's time has come already, or nearly.
    is_on_time = now - due[-1] <= _grace(schedule, due[-1])
    on_time = [_run(due[-1], Trigger.SCHEDULE)] if is_on_time else []
    missed = [_run(time, Trigger.MISSED) for time in (due[:-1] if is_on_time else due)]
    if schedule.missed is Missed.ALL:
        return [*missed[-MOST_MADE_UP:], *on_time]
    if schedule.missed is Missed.LATEST and not on_time:
        return missed[-1:]
    return on_time


def _overlapped(
    overlap: Overlap, runs: Sequence[PlannedRun], unfinished: Callable[[], Sequence[str]]
) -> Sequence[PlannedRun]:
    """Say of runs what becomes of them beside those that have not ended.

    Runs that are made up for together wait for each other, unless the last replaces the others.
    """
    if overlap is Overlap.QUEUE:
        return runs
    before = tuple(unfinished())
    if overlap is Overlap.REPLACE:
        last = runs[-1]
        took = f"the run that was due at {last.due_at:%Y-%m-%d %H:%M:%S} UTC took its place"
        return [
            *(replace(run, skip_reason=took) for run in runs[:-1]),
            replace(last, replaces=before),
        ]
    if not before:
        return runs
    reason = f"the run before it has not ended (job {before[0]})"
    return [replace(run, skip_reason=reason) for run in runs]


def _grace(schedule: Schedule, due_at: datetime) -> timedelta:
    following = next_due(schedule, due_at)
    return GRACE if following is None else min(GRACE, (following - due_at) / 2)


def _jittered(run: PlannedRun, schedule: Schedule, now: datetime, chance: Chance) -> PlannedRun:
    wait = timedelta(seconds=schedule.jitter_seconds * chance(schedule.name, run.due_at))
    begin = now if run.trigger is Trigger.MISSED else run.due_at
    return replace(run, start_at=begin + wait)


def _run(due_at: datetime, trigger: Trigger) -> PlannedRun:
    return PlannedRun(due_at=due_at, trigger=trigger, start_at=due_at)
