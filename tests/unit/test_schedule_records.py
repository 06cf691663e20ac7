"""Schedules and runs as data: what is refused, and what is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf, nan

import pytest

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.schedule_records import Run, Schedule, Trigger, check_schedules

AT = datetime(2027, 1, 15, 8, tzinfo=UTC)
SCHEDULE = Schedule(name="nightly", task="cache_cleanup", cron="23 3 * * *", interval_seconds=None)
RUN = Run(
    id="r1",
    schedule="nightly",
    task="cache_cleanup",
    due_at=AT,
    trigger=Trigger.SCHEDULE,
    created_at=AT,
    job_id="j1",
    status=MaintenanceStatus.COMPLETED,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "has no name"),
        ({"cron": None}, "either `cron` or `interval_seconds`"),
        ({"interval_seconds": 5}, "either `cron` or `interval_seconds`"),
        ({"cron": None, "interval_seconds": 0}, "interval_seconds of schedule nightly is 0"),
        ({"cron": None, "interval_seconds": nan}, "interval_seconds of schedule nightly is nan"),
        ({"timeout_seconds": -1}, "timeout_seconds of schedule nightly is -1"),
        ({"timeout_seconds": inf}, "timeout_seconds of schedule nightly is inf"),
        ({"jitter_seconds": -1}, "jitter_seconds of schedule nightly is -1"),
    ],
)
def test_a_definition_that_says_nothing_sensible_is_refused(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        check_schedules([replace(SCHEDULE, **changes)])


def test_two_schedules_of_one_name_are_refused() -> None:
    check_schedules([SCHEDULE, replace(SCHEDULE, name="other")])

    with pytest.raises(UsageError, match="two schedules are called nightly"):
        check_schedules([SCHEDULE, SCHEDULE])


def test_what_is_shown_of_a_schedule_is_json() -> None:
    shown = replace(SCHEDULE, considered_until=AT, options={"keep": 3}).to_dict()

    assert json.loads(json.dumps(shown)) == shown
    assert (shown["considered_until"], shown["options"]) == (AT.isoformat(), {"keep": 3})
    assert (shown["missed"], shown["overlap"], shown["created_at"]) == ("latest", "skip", None)


def test_what_is_shown_of_a_run_is_json_with_its_duration_and_faults() -> None:
    fault = {"name": "disk", "detail": "it is full", "fix": "free some"}
    run = replace(
        RUN,
        started_at=AT,
        finished_at=AT + timedelta(seconds=2.5),
        result={"figures": {"bytes_free": 1}, "faults": [fault], "lines": []},
    )

    shown = run.to_dict()

    assert json.loads(json.dumps(shown)) == shown
    assert (shown["name"], shown["status"]) == ("nightly", "completed")
    assert (shown["duration_seconds"], shown["faults"]) == (2.5, [fault])
    assert run.figures == {"bytes_free": 1}


def test_a_run_without_a_result_has_no_faults_and_no_figures() -> None:
    assert RUN.faults == []
    assert RUN.figures == {}
    assert RUN.duration_seconds is None
