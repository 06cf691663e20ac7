"""When schedules are due: two years of three zones, beside croniter and cronsim.

Where the two agree, we agree with both. Each due time on which they differ stands in
`cron_differences.json`, with the rule by which it is due here or not; `python -m
tests.unit.test_fire_times` writes that file anew, to be read before it is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.jobs.schedule_records import Schedule
from lexigram_ray.maintenance.cron_expressions import cron_of
from lexigram_ray.maintenance.fire_times import due_times, next_due
from lexigram_ray.maintenance.zones import zone_of

DIFFERENCES = Path(__file__).with_name("cron_differences.json")
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
ANY = 10**9

# Lord Howe moves its clock by half an hour, at 2:00; Berlin at 1:00 UTC; New York at 2:00.
SELDOM = (
    "30 2 * * *",
    "0 2 * * *",
    "59 1 * * sat,sun",
    "0 3 * * *",
    "30 1 * * *",
    "15 2 * * 0",
    "0,15,30 2 * * 0",
    "0 2,3 * * 0,1",
    "30 1,2,3 * * 0",
    "45 1-3 * * 0",
    "5,10,50 1,2 * * sun",
    "30 2 29 3 *",
    "30 2 * 3,10 0",
    "0 0 * * *",
    "59 23 * * 0,6",
    "23 3 * * *",
    "43 3 * * 6,7",
    "3 4 * * 0",
    "0 12 * * 1-5",
    "0 0 1 * *",
    "0 0 31 * *",
    "0 0 29 2 *",
    "30 6 1 1 *",
    "15 10 * * mon,wed,fri",
    "0 9 1,15 * 1",
    "0 0 13 * 5",
    "0 22 l * *",
    "0 8 * * 1#1",
    "0 7 * jan-mar *",
    "20 5 */7 * *",
    "0 4 */2 * 1",
    "0 4 1 * */2",
)
"""Compared over the two years."""

OFTEN = (
    "* * * * *",
    "*/15 * * * *",
    "17 * * * *",
    "30 * * * *",
    "*/10 2 * * *",
    "* 1-3 * * *",
    "0 */2 * * *",
    "30 */3 * * *",
)
"""Compared around each move of a clock, and at the turn of the year."""


def schedule(cron: str | None, zone: str = "UTC", seconds: float | None = None) -> Schedule:
    return Schedule(name="s", task="t", cron=cron, interval_seconds=seconds, timezone=zone)


def compared_times(zone: str, cron: str) -> list[tuple[datetime, datetime]]:
    if cron in SELDOM:
        return [(BEGIN, END)]
    half = timedelta(hours=7)
    return [(move - half, move + half) for move in (*moves(zone), datetime(2027, 1, 1, tzinfo=UTC))]


@cache
def moves(zone: str) -> tuple[datetime, ...]:
    """The hours in which the clock of a zone is moved."""
    hours = [BEGIN + timedelta(hours=count) for count in range(int((END - BEGIN).days) * 24)]
    offsets = [hour.astimezone(ZoneInfo(zone)).utcoffset() for hour in hours]
    return tuple(
        hour for hour, old, new in zip(hours[1:], offsets, offsets[1:], strict=False) if old != new
    )


def of_croniter(cron: str, zone: str, after: datetime, until: datetime) -> set[datetime]:
    # Day of month and day of week as every cron reads them; see `cron_expressions`.
    times = croniter(
        cron, after.astimezone(ZoneInfo(zone)), ret_type=datetime, implement_cron_bug=True
    )
    return set(up_to(until, iter(times.get_next, None)))


def of_cronsim(cron: str, zone: str, after: datetime, until: datetime) -> set[datetime]:
    return set(up_to(until, CronSim(cron, after.astimezone(ZoneInfo(zone)))))


def up_to(until: datetime, times: Iterator[datetime]) -> Iterator[datetime]:
    return takewhile(lambda time: time <= until, (time.astimezone(UTC) for time in times))


def found_differences(zone: str, cron: str) -> list[dict[str, object]]:
    """Compare, and return the due times on which the libraries differ, with what is due here."""
    found: list[dict[str, object]] = []
    for after, until in compared_times(zone, cron):
        first, second = of_croniter(cron, zone, after, until), of_cronsim(cron, zone, after, until)
        in_order = due_times(schedule(cron, zone), after, until, ANY)
        ours = set(in_order)
        assert in_order == sorted(ours)
        assert first & second <= ours, sorted((first & second) - ours)
        assert ours <= first | second, sorted(ours - (first | second))
        found += [
            {
                "cron": cron,
                "zone": zone,
                "at": time.isoformat(),
                "face": time.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z"),
                "croniter": time in first,
                "cronsim": time in second,
                "ours": time in ours,
                "rule": rule_of(cron, zone, time),
            }
            for time in sorted(first ^ second)
        ]
    return found


def rule_of(cron: str, zone: str, time: datetime) -> str:
    """Say by which of the documented rules a time is due, or not."""
    face = time.astimezone(ZoneInfo(zone))
    if cron_of(cron).is_fixed:
        return "of a repeated time only the first counts" if face.fold else "unexpected"
    minute = face.strftime("%M %H %d %m %w").split()
    shows = croniter.match(cron, face.replace(tzinfo=None), second_at_beginning=False)
    assert len(minute) == 5
    return (
        "the face shows a matching time"
        if shows
        else "what is left out of an hour that the face follows is not made up for"
    )


@pytest.mark.parametrize("zone", ZONES)
def test_two_years_agree_with_croniter_and_cronsim_and_where_these_differ_with_our_rule(
    zone: str,
) -> None:
    listed = json.loads(DIFFERENCES.read_text())

    found = [each for cron in (*SELDOM, *OFTEN) for each in found_differences(zone, cron)]

    assert found == [each for each in listed if each["zone"] == zone]
    assert all(each["ours"] == (each["rule"] == "the face shows a matching time") for each in found)


def test_a_time_that_is_left_out_comes_once_when_the_clock_has_been_moved() -> None:
    # 2026-03-29, 2:00 to 3:00 is left out in Berlin.
    day = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 21, tzinfo=UTC)
    moved = datetime(2026, 3, 29, 1, tzinfo=UTC)

    for cron in ("30 2 * * *", "0,15,30 2 * * *", "0 2,3 * * *"):
        assert due_times(schedule(cron, "Europe/Berlin"), *day, ANY) == [moved]
    assert due_times(schedule("*/5 2 * * *", "Europe/Berlin"), *day, ANY) == []


@pytest.mark.parametrize("seconds", [7, 600, 1800, 3599, 3600])
def test_a_repeated_time_comes_once_however_often_one_looks(seconds: int) -> None:
    # 2026-10-25, 2:00 to 3:00 comes twice in Berlin.
    begin, end = datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC)
    step, found = timedelta(seconds=seconds), []
    for count in range(min(int((end - begin) / step), 9000)):
        after = begin + count * step
        found += due_times(schedule("30 2 * * *", "Europe/Berlin"), after, after + step, ANY)

    assert found == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


def test_a_clock_that_is_moved_within_the_second_of_a_look_is_seen() -> None:
    moved = datetime(2026, 3, 29, 1, tzinfo=UTC)
    part = timedelta(milliseconds=250)

    due = due_times(schedule("30 2 * * *", "Europe/Berlin"), moved - part, moved + part, ANY)

    assert due == [moved]


def test_only_the_last_are_returned_where_many_are_due() -> None:
    last = due_times(schedule("* * * * *"), BEGIN, END, 3)

    assert last == [END - timedelta(minutes=2), END - timedelta(minutes=1), END]
    assert due_times(schedule(None, seconds=60.0), BEGIN, END, 3) == last


def test_a_leap_day_is_found_eight_years_ahead() -> None:
    after_the_last = datetime(2096, 3, 1, tzinfo=UTC)

    assert next_due(schedule("0 0 29 2 *"), after_the_last) == datetime(2104, 2, 29, tzinfo=UTC)


moments = st.integers(0, 3 * 365 * 86_400_000).map(
    lambda past: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(milliseconds=past)
)
kinds = st.one_of(
    st.builds(schedule, st.sampled_from(SELDOM + OFTEN), st.sampled_from(ZONES)),
    st.floats(1, 90_000).map(lambda seconds: schedule(None, seconds=seconds)),
)


@given(kinds, moments, st.lists(st.floats(0.001, 200_000), max_size=6))
def test_however_a_time_is_cut_into_looks_the_due_times_are_the_same(
    kind: Schedule, begin: datetime, cuts: list[float]
) -> None:
    ends = [begin]
    for cut in cuts:
        ends.append(ends[-1] + timedelta(seconds=cut))

    in_parts = [
        time for after, until in pairwise(ends) for time in due_times(kind, after, until, 50)
    ]

    assert in_parts[-50:] == due_times(kind, begin, ends[-1], 50)


@given(kinds, moments)
def test_the_next_due_time_is_the_first_after(kind: Schedule, begin: datetime) -> None:
    following = next_due(kind, begin)

    assert following is not None
    assert begin < following
    assert due_times(kind, begin, following, 2) == [following]


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("61 * * * *", "minute cannot be '61'"),
        ("0 24 * * *", "hour cannot be '24'"),
        ("0 0 32 * *", "day of month cannot be '32'"),
        ("0 0 1 foo *", "month cannot be 'foo'"),
        ("0 0 * * 9", "day of week cannot be '9'"),
        ("* * * *", "has 4 fields, not 5"),
        ("0 * * * * *", "has 6 fields, not 5"),
        ("", "has 0 fields, not 5"),
        ("h h * * *", "minute cannot be 'h'"),
        ("0 r(1-3) * * *", r"hour cannot be 'r\(1-3\)'"),
        ("0 0 30 2 *", "never comes"),
    ],
)
def test_a_wrong_expression_names_its_field(cron: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        cron_of(cron)

    assert raised.value.hint


def test_short_forms_are_expressions() -> None:
    assert cron_of("@daily").text == "0 0 * * *"
    assert cron_of(" @Hourly ").text == "0 * * * *"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Europe/Berlni", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        ("utc ", "UTC"),
        ("../etc/passwd", "such as Europe/Berlin"),
        ("", "such as Europe/Berlin"),
    ],
)
def test_a_wrong_zone_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match="no time zone") as raised:
        zone_of(name)

    assert near in (raised.value.hint or "")


def _write() -> None:
    found = [
        each
        for zone in ZONES
        for cron in (*SELDOM, *OFTEN)
        for each in found_differences(zone, cron)
    ]
    lines = ",\n".join(json.dumps(each) for each in found)
    DIFFERENCES.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    _write()
