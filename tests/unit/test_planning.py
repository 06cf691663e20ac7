"""Which due times run: by example, and over clocks that jump, restarts and two schedulers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.jobs.schedule_records import Missed, Overlap, PlannedRun, Schedule, Trigger
from lexigram_ray.maintenance.fire_times import due_times
from lexigram_ray.maintenance.planning import (
    MOST_MADE_UP,
    TOLERANCE,
    Plan,
    chance_of,
    plan_runs,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def hourly(**changes: object) -> Schedule:
    made = Schedule(
        name="hourly",
        task="t",
        cron="0 * * * *",
        interval_seconds=None,
        considered_until=NOON - HOUR,
    )
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


def plan(schedule: Schedule, now: datetime, unfinished: tuple[str, ...] = ()) -> Plan:
    return plan_runs(schedule, now, lambda: unfinished)


def times(made: Plan) -> list[datetime]:
    return [run.due_at for run in made.runs]


def test_a_due_time_runs_once_it_has_come() -> None:
    early = plan(hourly(), NOON - timedelta(seconds=1))
    due = plan(hourly(), NOON + timedelta(seconds=1))

    assert early == Plan()
    assert due.considered_until == NOON
    assert due.runs == (PlannedRun(due_at=NOON, trigger=Trigger.SCHEDULE, start_at=NOON),)


def test_a_schedule_that_is_disabled_or_undefined_plans_nothing() -> None:
    assert plan(hourly(enabled=False), NOON) == Plan()
    assert plan(hourly(considered_until=None), NOON) == Plan()


@pytest.mark.parametrize(
    ("missed", "planned"),
    [
        (Missed.NONE, []),
        (Missed.LATEST, [NOON]),
        (Missed.ALL, [NOON - 2 * HOUR, NOON - HOUR, NOON]),
    ],
)
def test_times_that_passed_while_nobody_looked_are_made_up_for_as_asked(
    missed: Missed, planned: list[datetime]
) -> None:
    now = NOON + 30 * MINUTE
    made = plan(hourly(missed=missed, considered_until=NOON - 3 * HOUR), now)

    assert times(made) == planned
    assert {(run.trigger, run.start_at) for run in made.runs} <= {(Trigger.MISSED, now)}
    assert made.considered_until == NOON


def test_after_missed_times_one_that_is_on_time_is_the_latest() -> None:
    made = plan(hourly(considered_until=NOON - 3 * HOUR), NOON)

    assert [(run.due_at, run.trigger) for run in made.runs] == [(NOON, Trigger.SCHEDULE)]


def test_only_the_last_of_very_many_missed_times_are_made_up_for() -> None:
    made = plan(
        hourly(missed=Missed.ALL, considered_until=NOON - timedelta(days=400)), NOON + 30 * MINUTE
    )

    assert len(made.runs) == MOST_MADE_UP
    assert times(made)[-1] == NOON


def test_a_frequent_schedule_is_late_after_half_its_interval() -> None:
    often = hourly(cron=None, interval_seconds=10.0, considered_until=NOON - MINUTE)

    soon, late = (plan(often, NOON + timedelta(seconds=seconds)).runs[-1] for seconds in (5, 6))

    assert (soon.trigger, late.trigger) == (Trigger.SCHEDULE, Trigger.MISSED)


def test_a_run_whose_forerunner_has_not_ended_is_skipped_queued_or_replaces_it() -> None:
    (skipped,) = plan(hourly(overlap=Overlap.SKIP), NOON, ("job-1",)).runs
    (queued,) = plan(hourly(overlap=Overlap.QUEUE), NOON, ("job-1",)).runs
    (replacing,) = plan(hourly(overlap=Overlap.REPLACE), NOON, ("job-1", "job-2")).runs

    assert "job-1" in (skipped.skip_reason or "")
    assert (queued.skip_reason, queued.replaces) == (None, ())
    assert (replacing.skip_reason, replacing.replaces) == (None, ("job-1", "job-2"))


def test_of_runs_made_up_for_together_the_last_replaces_the_others_where_it_is_to() -> None:
    since = NOON - 3 * HOUR
    every = hourly(missed=Missed.ALL, considered_until=since)

    together = plan(every, NOON).runs
    *earlier, last = plan(replace(every, overlap=Overlap.REPLACE), NOON).runs

    assert [run.skip_reason for run in together] == [None, None, None]
    assert all("took its place" in (run.skip_reason or "") for run in earlier)
    assert last.skip_reason is None


def test_jitter_delays_the_start_by_the_same_for_whoever_asks() -> None:
    schedule = hourly(jitter_seconds=600.0)

    first, second = plan(schedule, NOON), plan(schedule, NOON + timedelta(seconds=20))

    assert first == second
    assert NOON <= first.runs[0].start_at <= NOON + 10 * MINUTE
    assert first.runs[0].due_at == NOON


def test_chances_are_spread_evenly() -> None:
    tenths = Counter(int(chance_of("s", NOON + count * MINUTE) * 10) for count in range(2000))

    assert sorted(tenths) == list(range(10))
    assert all(140 <= count <= 260 for count in tenths.values())


def test_what_was_decided_while_a_clock_was_ahead_is_not_decided_again_when_it_is_back() -> None:
    store = FakeStore(hourly())
    store.look(NOON + HOUR)
    ahead = list(store.ran)
    for seconds in range(0, 7300, 20):
        store.look(NOON + timedelta(seconds=seconds))

    assert ahead == [NOON + HOUR]
    # Nothing is lost: what the wrong clock took for missed runs at its own time.
    assert sorted(store.ran) == [NOON, NOON + HOUR, NOON + 2 * HOUR]


def test_a_clock_that_was_years_ahead_stops_nothing_once_it_is_back() -> None:
    store = FakeStore(hourly())
    store.look(NOON + timedelta(days=4000))
    store.look(NOON - MINUTE)
    store.look(NOON)

    assert store.ran[-1] == NOON


@dataclass
class FakeStore:
    """What the store does with decisions: compare and set, and one run of a due time.

    Attributes:
        ran: Due times that got a job, in the order in which they did.
    """

    schedule: Schedule
    ran: list[datetime] = field(default_factory=list[datetime])
    decided: set[datetime] = field(default_factory=set[datetime])

    def look(self, now: datetime) -> None:
        self.record(self.schedule, plan(self.schedule, now))

    def record(self, seen: Schedule, made: Plan) -> None:
        if made.considered_until is None or self.schedule != seen:
            return
        new = [run for run in made.runs if run.due_at not in self.decided]
        self.decided |= set(times(made))
        self.ran += [run.due_at for run in new if run.skip_reason is None]
        self.schedule = replace(self.schedule, considered_until=made.considered_until)


schedules = st.builds(
    lambda when, missed: hourly(
        cron=when if isinstance(when, str) else None,
        interval_seconds=when if isinstance(when, float) else None,
        timezone="Europe/Berlin",
        missed=missed,
        considered_until=NOON,
    ),
    st.sampled_from(["0 * * * *", "*/7 * * * *", "30 2 * * *", 45.0, 1000.0]),
    st.sampled_from(Missed),
)


@given(schedules, st.lists(st.integers(1, 4000), min_size=1, max_size=30))
def test_a_clock_that_goes_on_runs_each_due_time_at_most_once_and_all_of_them_if_asked(
    schedule: Schedule, pauses: list[int]
) -> None:
    """Long pauses are restarts: nobody looks meanwhile."""
    store, now = FakeStore(schedule), NOON
    for pause in pauses:
        now += timedelta(seconds=pause)
        store.look(now)

    due = due_times(schedule, NOON, now, 10**6)
    assert store.ran == sorted(set(store.ran))
    assert set(store.ran) <= set(due)
    if schedule.missed is Missed.ALL:
        assert store.ran == due
    if schedule.missed is Missed.LATEST and due:
        # No look leaves the last time that has come without its run.
        assert store.ran[-1] == due[-1]


@given(schedules, st.lists(st.integers(-8000, 8000), min_size=1, max_size=30))
def test_however_a_clock_jumps_no_due_time_runs_twice(schedule: Schedule, jumps: list[int]) -> None:
    store, now = FakeStore(schedule), NOON
    for jump in jumps:
        now += timedelta(seconds=jump)
        store.look(now)
        considered = store.schedule.considered_until
        assert considered is not None
        # However far ahead it was: at most so much is left to wait.
        assert considered <= now + TOLERANCE

    assert max(Counter(store.ran).values(), default=0) <= 1


@given(schedules, st.lists(st.tuples(st.booleans(), st.integers(0, 900)), max_size=40))
def test_two_schedulers_with_clocks_apart_run_each_due_time_once(
    schedule: Schedule, looks: list[tuple[bool, int]]
) -> None:
    """Each decides on what it saw at its look before: another may have been faster meanwhile."""
    store, now = FakeStore(schedule), NOON
    seen = {True: schedule, False: schedule}
    for first, pause in looks:
        now += timedelta(seconds=pause)
        own = now + timedelta(seconds=40 if first else 0)
        store.record(seen[first], plan(seen[first], own))
        seen[first] = store.schedule

    assert max(Counter(store.ran).values(), default=0) <= 1
    if schedule.missed is Missed.ALL:
        due = due_times(schedule, NOON, store.schedule.considered_until or NOON, 10**6)
        assert store.ran == due
