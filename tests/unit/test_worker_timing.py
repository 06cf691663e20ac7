"""When a task of a maintenance worker is due: a pure function of its schedule and the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.jobs.schedule_records import Schedule, Trigger
from lexigram_ray.workers.maintenance._timing import Timing, begin_timing, look, next_run

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def cron(text: str, zone: str = "UTC") -> Schedule:
    return Schedule(name="t", task="t", cron=text, interval_seconds=None, timezone=zone)


def every(seconds: float) -> Schedule:
    return Schedule(name="t", task="t", cron=None, interval_seconds=seconds)


def looked(timing: Timing, *times: datetime) -> list[datetime]:
    """Return the due times that looks at some times find."""
    found: list[datetime] = []
    for time in times:
        timing, due = look(timing, time)
        if due is not None:
            found.append(due.at)
    return found


def now_and_then(begin: datetime, end: datetime) -> list[datetime]:
    step = timedelta(minutes=10)
    return [begin + each * step for each in range((end - begin) // step + 1)]


def test_a_cron_task_is_due_at_each_of_its_times_and_not_at_once() -> None:
    timing = begin_timing(cron("0 2 * * *"), NOON)

    found = looked(timing, *now_and_then(NOON, NOON + timedelta(days=3)))

    assert found == [datetime(2026, 3, day, 2, tzinfo=UTC) for day in (11, 12, 13)]
    assert next_run(timing, NOON) == datetime(2026, 3, 11, 2, tzinfo=UTC)


def test_where_clocks_go_forward_a_fixed_time_that_is_left_out_is_made_up_for_once() -> None:
    # In Berlin, 02:30 of this day does not exist: the clock goes from 02:00 to 03:00.
    begin = datetime(2026, 3, 28, 12, tzinfo=UTC)
    timing = begin_timing(cron("30 2 * * *", "Europe/Berlin"), begin)

    found = looked(timing, *now_and_then(begin, begin + timedelta(days=2)))

    assert found == [
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
    ]


def test_where_clocks_go_back_a_fixed_time_that_comes_twice_is_one() -> None:
    begin = datetime(2026, 10, 24, 12, tzinfo=UTC)
    timing = begin_timing(cron("30 2 * * *", "Europe/Berlin"), begin)

    found = looked(timing, *now_and_then(begin, begin + timedelta(days=2)))

    assert found == [
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 26, 1, 30, tzinfo=UTC),
    ]


def test_times_that_have_passed_unseen_are_made_up_for_by_one_run() -> None:
    timing, due = look(begin_timing(cron("0 * * * *"), NOON), NOON + 5 * HOUR + HOUR / 2)

    assert due is not None
    assert (due.at, due.trigger) == (NOON + 5 * HOUR, Trigger.MISSED)
    assert looked(timing, NOON + 5 * HOUR + HOUR / 2, NOON + 6 * HOUR) == [NOON + 6 * HOUR]


def test_a_clock_that_was_ahead_and_is_put_back_repeats_no_time() -> None:
    timing = begin_timing(cron("0 2 * * *"), NOON)
    timing, wrong = look(timing, NOON + timedelta(hours=14, minutes=10))
    assert wrong is not None

    timing, none = look(timing, NOON)
    found = looked(timing, *now_and_then(NOON, NOON + timedelta(days=2)))

    assert none is None
    assert found == [datetime(2026, 3, 12, 2, tzinfo=UTC)]


def test_an_interval_begins_at_once_and_is_counted_from_there() -> None:
    begin = NOON + timedelta(seconds=17)
    timing = begin_timing(every(3600), begin)

    found = looked(timing, *(begin + timedelta(minutes=each) for each in range(150)))

    assert found == [begin, begin + HOUR, begin + 2 * HOUR]
    assert next_run(timing, NOON) == NOON


def test_late_looks_do_not_shift_an_interval() -> None:
    timing, _ = look(begin_timing(every(60), NOON), NOON)

    late = timedelta(seconds=7)
    timing, due = look(timing, NOON + timedelta(minutes=3) + late)

    assert due is not None
    assert due.at == NOON + timedelta(minutes=3)
    assert next_run(timing, due.at + late) == NOON + timedelta(minutes=4)


def test_an_interval_goes_on_when_the_clock_is_put_back() -> None:
    timing, _ = look(begin_timing(every(60), NOON), NOON)

    back = NOON - timedelta(days=1)
    timing, due = look(timing, back)

    assert due is None
    assert looked(timing, back + timedelta(seconds=60)) == [back + timedelta(seconds=60)]


@given(steps=st.lists(st.floats(0.1, 500.0), min_size=1, max_size=40), seconds=st.integers(1, 300))
def test_however_often_one_looks_each_due_time_is_found_once_and_in_order(
    steps: list[float], seconds: int
) -> None:
    times = [NOON]
    for step in steps:
        times.append(times[-1] + timedelta(seconds=step))
    for schedule in (every(seconds), cron("*/2 * * * *")):
        timing = begin_timing(schedule, NOON)
        found = looked(timing, *times)
        assert found == sorted(set(found))
        assert all(due <= times[-1] for due in found)
