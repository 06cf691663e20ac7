"""Dead-letter items, maintenance tasks and results: what they decide and what they print."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.workers.constants import MAX_BACKOFF_SECONDS
from lexigram_ray.workers.types import (
    DLQItem,
    DLQStats,
    FailureCategory,
    MaintenanceResult,
    MaintenanceStatus,
    MaintenanceTask,
    MaintenanceTaskType,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Job:
    id = "a1"
    name = "batch_embed"
    args = ()
    kwargs: dict[str, Any] = {"x": 1}  # noqa: RUF012
    priority = 0
    status = "failed"
    max_retries = 3
    timeout = None
    correlation_id = None
    causation_id = None


def item(**changes: Any) -> DLQItem:
    given = {
        "job_id": "a1",
        "original_job": Job(),
        "failure_count": 1,
        "first_failure": NOON,
        "last_failure": NOON,
        "last_error": "timed out",
        "failure_category": FailureCategory.TRANSIENT,
    }
    return DLQItem(**{**given, **changes})


def task(**changes: Any) -> MaintenanceTask:
    given = {"name": "tidy", "task_type": MaintenanceTaskType.CACHE_CLEANUP, "handler": print}
    return MaintenanceTask(**{**given, **changes})


def test_the_wait_doubles_with_each_retry_up_to_an_hour() -> None:
    waits = [item(retry_count=count).calculate_backoff() for count in range(8)]

    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert item(retry_count=2).calculate_backoff(base_delay=7) == 28


@given(retries=st.integers(0, 10**6), base=st.integers(1, 10**4))
def test_no_wait_is_longer_than_the_cap(retries: int, base: int) -> None:
    wait = item(retry_count=retries).calculate_backoff(base)

    assert isinstance(wait, int)
    assert min(base, MAX_BACKOFF_SECONDS) <= wait <= MAX_BACKOFF_SECONDS


@pytest.mark.parametrize("category", ["transient", "throttled"])
def test_what_may_pass_is_retried_until_its_retries_are_used_up(category: str) -> None:
    retried = [
        item(failure_category=FailureCategory(category), retry_count=count).can_retry()
        for count in range(7)
    ]

    assert retried == [True] * 5 + [False] * 2


@pytest.mark.parametrize("category", ["permanent", "invalid_input"])
def test_what_cannot_pass_is_never_retried(category: str) -> None:
    assert not item(failure_category=FailureCategory(category)).can_retry()


def test_an_error_of_unknown_cause_is_retried_three_times_at_most() -> None:
    unknown = FailureCategory.UNKNOWN
    retried = [
        item(failure_category=unknown, retry_count=count, max_retries=9).can_retry()
        for count in range(4)
    ]

    assert retried == [True, True, True, False]


def test_an_item_is_not_retried_before_its_time() -> None:
    now = datetime.now(UTC)

    assert not item(next_retry=now + timedelta(minutes=1)).can_retry()
    assert item(next_retry=now - timedelta(seconds=1)).can_retry()
    assert item(next_retry=(now - timedelta(seconds=1)).replace(tzinfo=None)).can_retry()


def test_an_item_is_ready_for_json() -> None:
    assert item(next_retry=NOON, metadata={"k": 1}).to_dict() == {
        "job_id": "a1",
        "failure_count": 1,
        "first_failure": "2026-03-02T12:00:00+00:00",
        "last_failure": "2026-03-02T12:00:00+00:00",
        "last_error": "timed out",
        "failure_category": "transient",
        "retry_count": 0,
        "max_retries": 5,
        "next_retry": "2026-03-02T12:00:00+00:00",
        "can_retry": item(next_retry=NOON).can_retry(),
        "metadata": {"k": 1},
    }


def test_statistics_are_ready_for_json() -> None:
    stats = DLQStats(total_items=2, by_category={"transient": 2}, retried_count=1)

    assert stats.to_dict() == {
        "total_items": 2,
        "by_category": {"transient": 2},
        "retried_count": 1,
        "archived_count": 0,
        "deleted_count": 0,
        "permanent_failures": 0,
    }


def test_fault_02_a_cron_task_is_due_again_and_again() -> None:
    nightly = task(schedule_cron="0 2 * * *")
    moment, runs = NOON, []
    while moment < NOON + timedelta(days=3):
        if nightly.should_run(now=moment):
            runs.append(moment)
            nightly.last_run = moment
        moment += timedelta(minutes=30)

    at_two = [datetime(2026, 3, day, 2, 0, tzinfo=UTC) for day in (3, 4, 5)]
    assert runs == [NOON, *at_two]


def test_a_cron_task_is_not_due_before_its_time() -> None:
    nightly = task(schedule_cron="0 2 * * *", last_run=NOON)

    assert not nightly.should_run(now=NOON + timedelta(hours=13, minutes=59))
    assert nightly.should_run(now=NOON + timedelta(hours=14))
    assert nightly.next_due() == datetime(2026, 3, 3, 2, 0, tzinfo=UTC)


def test_a_cron_task_follows_the_clock_of_its_zone() -> None:
    nightly = task(schedule_cron="0 2 * * *", last_run=NOON, timezone="America/New_York")

    assert nightly.next_due() == datetime(2026, 3, 3, 7, 0, tzinfo=UTC)


def test_a_task_at_an_interval_is_due_when_it_has_passed_since_the_last_run() -> None:
    often = task(interval_seconds=10, last_run=NOON)

    assert not often.should_run(now=NOON + timedelta(seconds=9))
    assert often.should_run(now=NOON + timedelta(seconds=10))


@pytest.mark.parametrize("schedule", [{}, {"interval_seconds": 9}, {"schedule_cron": "0 2 * * *"}])
def test_a_task_that_never_ran_is_due_unless_it_is_disabled(schedule: dict[str, Any]) -> None:
    assert task(**schedule).should_run()
    assert not task(**schedule, enabled=False).should_run()


def test_a_task_without_a_schedule_runs_once() -> None:
    assert not task(last_run=NOON).should_run()


def test_a_cron_expression_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfigError):
        task(schedule_cron="every day", last_run=NOON).should_run()


def test_a_task_is_ready_for_json() -> None:
    assert task(interval_seconds=5, last_run=NOON, run_count=2).to_dict() == {
        "name": "tidy",
        "task_type": "cache_cleanup",
        "schedule_cron": None,
        "interval_seconds": 5,
        "enabled": True,
        "last_run": "2026-03-02T12:00:00+00:00",
        "last_status": "pending",
        "last_error": None,
        "run_count": 2,
    }


def test_a_result_of_success_counts_and_measures() -> None:
    started = datetime.now(UTC) - timedelta(seconds=5)
    result = MaintenanceResult.success(
        "tidy", MaintenanceTaskType.CACHE_CLEANUP, started, items_processed=3, items_deleted=1
    )

    assert result.status is MaintenanceStatus.COMPLETED
    assert 5 <= result.duration_seconds < 60
    assert result.completed_at - result.started_at == timedelta(seconds=result.duration_seconds)
    assert result.to_dict() == {
        "task_name": "tidy",
        "task_type": "cache_cleanup",
        "status": "completed",
        "started_at": started.isoformat(),
        "completed_at": result.completed_at.isoformat(),
        "duration_seconds": result.duration_seconds,
        "items_processed": 3,
        "items_deleted": 1,
        "error": None,
        "metadata": {},
    }


def test_a_result_of_failure_says_why() -> None:
    started = datetime.now(UTC)
    result = MaintenanceResult.failure(
        "tidy", MaintenanceTaskType.CACHE_CLEANUP, started, "no space left"
    )

    assert (result.status, result.error) == (MaintenanceStatus.FAILED, "no space left")
    assert result.items_processed == 0


def test_a_clock_that_was_set_back_makes_no_run_last_less_than_nothing() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)

    result = MaintenanceResult.success("tidy", MaintenanceTaskType.CACHE_CLEANUP, later)

    assert result.duration_seconds == 0.0
