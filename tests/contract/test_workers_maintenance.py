"""`MaintenanceWorker`: tasks of one's own, what they report, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from lexigram_ray.core.hooks import WorkerMaintenanceRunHook, subscribe
from lexigram_ray.workers.constants import MAX_HISTORY_SIZE
from lexigram_ray.workers.exceptions import MaintenanceError
from lexigram_ray.workers.maintenance import MaintenanceWorker, _handler_call
from lexigram_ray.workers.types import MaintenanceResult, MaintenanceStatus, MaintenanceTaskType
from tests.maintenance_tasks import WallClock
from tests.workers_doubles import until

CACHE = MaintenanceTaskType.CACHE_CLEANUP
NEVER = "0 0 29 2 *"
FAILED, COMPLETED, SKIPPED = (
    MaintenanceStatus.FAILED,
    MaintenanceStatus.COMPLETED,
    MaintenanceStatus.SKIPPED,
)


@pytest.fixture
def worker(tmp_path: Path) -> MaintenanceWorker:
    return MaintenanceWorker(state=tmp_path / "state")


def ran(worker: MaintenanceWorker, handler: Callable[[], Any], **given: Any) -> MaintenanceResult:
    """Register a handler that is never due, run it, and return the result."""
    worker.register_task("t", CACHE, handler, schedule_cron=NEVER, **given)
    return asyncio.run(worker.run_task_now("t"))


@contextmanager
def hooks() -> Generator[list[WorkerMaintenanceRunHook]]:
    seen: list[WorkerMaintenanceRunHook] = []
    unsubscribe = subscribe(WorkerMaintenanceRunHook, seen.append)
    try:
        yield seen
    finally:
        unsubscribe()


async def answer_later() -> dict[str, object]:
    await asyncio.sleep(0)
    return {"items_processed": 7, "metadata": {"a": 1}}


@pytest.mark.parametrize(
    ("handler", "processed", "deleted", "metadata"),
    [
        (lambda: {"items_processed": 2, "items_deleted": 1, "x": 5}, 2, 1, {"x": 5}),
        (answer_later, 7, 0, {"a": 1}),
        (lambda: answer_later(), 7, 0, {"a": 1}),  # noqa: PLW0108 - as the reference's page has it
        (AsyncMock(return_value={"items_deleted": 4}), 0, 4, {}),
        (MagicMock(), 0, 0, {}),
        (lambda: 5, 5, 0, {}),
        (lambda: None, 0, 0, {}),
        (lambda: {"items_processed": None, "metadata": None}, 0, 0, {}),
        (lambda: {"items_processed": "many"}, 0, 0, {"items_processed": "many"}),
    ],
)
def test_a_handlers_answer_gets_into_the_result(
    worker: MaintenanceWorker,
    handler: Callable[[], Any],
    processed: int,
    deleted: int,
    metadata: dict[str, object],
) -> None:
    result = ran(worker, handler)

    assert (result.status, result.error) == (COMPLETED, None)
    assert (result.items_processed, result.items_deleted) == (processed, deleted)
    assert result.metadata == metadata


def test_the_worker_is_imported_without_what_only_its_built_in_handlers_need() -> None:
    heavy = ("ray", "torch", "lance", "lancedb", "sqlalchemy", "pyarrow", "numpy")
    code = f"import sys, lexigram_ray.workers.maintenance; print(set({heavy!r}) & set(sys.modules))"

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "set()"


def test_a_sync_handler_runs_in_a_thread_and_an_async_one_in_the_loop(
    worker: MaintenanceWorker,
) -> None:
    threads: list[threading.Thread] = []

    async def handler() -> None:
        threads.append(threading.current_thread())

    ran(worker, handler)
    worker.unregister_task("t")
    ran(worker, lambda: threads.append(threading.current_thread()))

    assert threads[0] is threading.main_thread()
    assert threads[1] is not threading.main_thread()


def test_fault_12_a_run_that_was_asked_for_is_counted_and_remembered(
    worker: MaintenanceWorker,
) -> None:
    outcomes = iter([{"items_processed": 3}, RuntimeError("boom")])

    def handler() -> object:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    worker.register_task("t", CACHE, handler, schedule_cron=NEVER)
    with hooks() as seen:
        first = asyncio.run(worker.run_task_now("t"))
        second = asyncio.run(worker.run_task_now("t"))

    assert (first.status, second.status, second.error) == (COMPLETED, FAILED, "boom")
    stats = worker.get_stats()
    assert (stats["total_runs"], stats["successful_runs"], stats["failed_runs"]) == (2, 1, 1)
    assert stats["history_size"] == 2
    status = worker.get_task_status("t")
    assert status is not None
    assert (status["run_count"], status["last_status"], status["last_error"]) == (
        2,
        "failed",
        "boom",
    )
    assert status["last_run"] == second.started_at.isoformat()
    results = worker.get_recent_results()
    assert [each["status"] for each in results] == ["completed", "failed"]
    assert results[0].items() >= first.to_dict().items()
    assert [each["trigger"] for each in results] == ["manual", "manual"]
    assert [hook.run_id for hook in seen] == [each["run_id"] for each in results]
    assert [(hook.task_type, hook.task_name, hook.outcome) for hook in seen] == [
        ("cache_cleanup", "t", "completed"),
        ("cache_cleanup", "t", "failed"),
    ]
    assert len({hook.event_id for hook in seen}) == 2


def test_the_history_is_bounded_and_the_counts_are_not(worker: MaintenanceWorker) -> None:
    worker.register_task("t", CACHE, AsyncMock(), schedule_cron=NEVER)

    async def run_often() -> None:
        for _ in range(MAX_HISTORY_SIZE + 5):
            await worker.run_task_now("t")

    asyncio.run(run_often())

    stats = worker.get_stats()
    assert (stats["history_size"], stats["total_runs"]) == (MAX_HISTORY_SIZE, MAX_HISTORY_SIZE + 5)
    assert len(worker.get_recent_results(MAX_HISTORY_SIZE * 2)) == MAX_HISTORY_SIZE
    assert [len(worker.get_recent_results(limit)) for limit in (1, 0, -1)] == [1, 0, 0]


def test_an_error_is_told_without_secrets_and_with_the_way_out(worker: MaintenanceWorker) -> None:
    def fail() -> None:
        raise MaintenanceError("https://me:hunter2@host/ refuses", hint="ask its owner")

    result = ran(worker, fail)

    assert result.error is not None
    assert "hunter2" not in result.error
    assert result.error.endswith("refuses (ask its owner)")


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError()])
def test_an_error_that_says_little_is_told_with_its_type(
    worker: MaintenanceWorker, error: Exception
) -> None:
    def fail() -> None:
        raise error

    said = ran(worker, fail).error

    assert said is not None
    assert said.startswith(type(error).__name__)


async def leave_later() -> None:
    raise SystemExit(4)


async def cancel_oneself() -> None:
    raise asyncio.CancelledError


def leave() -> None:
    raise SystemExit(4)


def stop_iteration() -> None:
    raise StopIteration


@pytest.mark.parametrize("handler", [leave, leave_later, cancel_oneself, stop_iteration])
def test_no_handler_takes_the_worker_along(
    worker: MaintenanceWorker, handler: Callable[[], Any]
) -> None:
    result = ran(worker, handler)

    assert result.status is FAILED
    assert worker.get_stats()["failed_runs"] == 1


def test_a_late_async_handler_is_cancelled(worker: MaintenanceWorker) -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    began = time.monotonic()
    result = ran(worker, slow, timeout=0.1)

    assert time.monotonic() - began < 20
    assert result.status is FAILED
    assert "timed out after 0.1 s" in str(result.error)
    assert ended == ["cancelled"]
    assert worker.get_stats()["stuck_runs"] == 0


def test_a_late_thread_is_left_counted_and_not_run_beside(
    worker: MaintenanceWorker,
) -> None:
    go_on = threading.Event()

    async def scenario() -> None:
        worker.register_task("t", CACHE, lambda: go_on.wait(60), schedule_cron=NEVER, timeout=0.1)
        first = await worker.run_task_now("t")
        assert first.status is FAILED
        assert "a thread cannot be stopped" in str(first.error)
        assert "isolated=True" in str(first.error)
        assert worker.get_stats()["stuck_runs"] == 1

        second = await worker.run_task_now("t")
        assert second.status is SKIPPED
        assert "timed out, and has not ended even so" in str(second.error)

        go_on.set()
        await until(lambda: worker.get_stats()["stuck_runs"] == 0)
        assert (await worker.run_task_now("t")).status is COMPLETED

    asyncio.run(scenario())

    stats = worker.get_stats()
    assert (stats["total_runs"], stats["skipped_runs"]) == (2, 1)


def test_a_handler_that_will_not_be_cancelled_is_left_and_counted(
    worker: MaintenanceWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_handler_call, "CANCEL_SECONDS", 0.1)
    go_on = asyncio.Event()

    async def stubborn() -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    async def scenario() -> None:
        worker.register_task("t", CACHE, stubborn, schedule_cron=NEVER, timeout=0.1)
        first = await worker.run_task_now("t")
        assert first.status is FAILED
        assert "goes on all the same" in str(first.error)
        assert worker.get_stats()["stuck_runs"] == 1
        assert (await worker.run_task_now("t")).status is SKIPPED
        go_on.set()
        await until(lambda: worker.get_stats()["stuck_runs"] == 0)

    asyncio.run(scenario())


def test_of_two_runs_asked_for_at_once_one_is_skipped(worker: MaintenanceWorker) -> None:
    worker.register_task("t", CACHE, lambda: asyncio.sleep(0.1), schedule_cron=NEVER)

    async def run_twice() -> list[MaintenanceResult]:
        return await asyncio.gather(worker.run_task_now("t"), worker.run_task_now("t"))

    assert [each.status for each in asyncio.run(run_twice())] == [COMPLETED, SKIPPED]


def test_a_run_whose_caller_gives_up_is_ended_and_recorded(worker: MaintenanceWorker) -> None:
    worker.register_task("t", CACHE, lambda: asyncio.sleep(60), schedule_cron=NEVER)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.run_task_now("t"), 0.1)

    asyncio.run(give_up())

    assert [each["status"] for each in worker.get_recent_results()] == ["failed"]
    assert worker.get_stats()["active_runs"] == 0


def test_a_failing_or_slow_subscriber_harms_nothing(
    worker: MaintenanceWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexigram_ray.workers.maintenance._runner.HOOK_SECONDS", 0.1)
    go_on = threading.Event()

    def fail(_hook: WorkerMaintenanceRunHook) -> None:
        raise RuntimeError("no")

    ends: list[Callable[[], None]] = [
        subscribe(WorkerMaintenanceRunHook, fail),
        subscribe(WorkerMaintenanceRunHook, lambda _: go_on.wait(60)),
    ]
    try:
        result = ran(worker, lambda: 1)
    finally:
        go_on.set()
        for end in ends:
            end()

    assert result.status is COMPLETED


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Must provide either schedule_cron or interval_seconds"),
        ({"schedule_cron": "* * * * *", "interval_seconds": 5}, "has both"),
        ({"schedule_cron": "nonsense"}, "has 1 fields, not 5"),
        ({"schedule_cron": "99 * * * *"}, "minute cannot be '99'"),
        ({"schedule_cron": "0 0 30 2 *"}, "never comes"),
        ({"schedule_cron": "* * * * *", "timezone": "Europe/Berln"}, "no time zone"),
        ({"interval_seconds": 0}, "interval_seconds must be seconds, more than 0"),
        ({"interval_seconds": -5}, "interval_seconds must be seconds, more than 0"),
        ({"interval_seconds": "often"}, "interval_seconds must be seconds"),
        ({"interval_seconds": 5, "timeout": 0}, "timeout must be seconds, more than 0"),
        ({"interval_seconds": 5, "timeout": float("inf")}, "timeout must be seconds"),
        ({"interval_seconds": 5, "handler": None}, "cannot be called"),
        ({"interval_seconds": 5, "task_type": "cache"}, "no task type 'cache'"),
        ({"interval_seconds": 5, "name": ""}, "must be a text"),
        ({"interval_seconds": 5, "name": "taken"}, "'taken' is registered already"),
        ({"interval_seconds": 5, "isolated": True}, "cannot be called in a process of its own"),
    ],
)
def test_what_is_wrong_with_a_task_is_said_at_once(
    worker: MaintenanceWorker, given: dict[str, Any], said: str
) -> None:
    worker.register_task("taken", CACHE, lambda: 1, interval_seconds=60)
    task: dict[str, Any] = {"name": "t", "task_type": CACHE, "handler": lambda: 1} | given

    with pytest.raises(MaintenanceError) as raised:
        worker.register_task(**task)

    assert isinstance(raised.value, ValueError)
    assert raised.value.code == "LEX_ERR_AIWORK_003"
    assert said in str(raised.value)
    assert [each["name"] for each in worker.get_all_tasks()] == ["taken"]


@pytest.mark.parametrize("act", ["unregister_task", "enable_task", "disable_task", "run_task_now"])
def test_an_unknown_task_is_named(worker: MaintenanceWorker, act: str) -> None:
    worker.register_task("clean_cache", CACHE, lambda: 1, interval_seconds=60)

    async def do() -> None:
        answer = getattr(worker, act)("clean_cash")
        if isinstance(answer, Coroutine):
            await answer

    with pytest.raises(ValueError, match="Task not found: clean_cash") as raised:
        asyncio.run(do())

    assert isinstance(raised.value, MaintenanceError)
    assert raised.value.hint == "did you mean 'clean_cache'?"
    assert worker.get_task_status("clean_cash") is None


@pytest.mark.parametrize("given", [{"check_interval": 0}, {"drain_seconds": -1}])
def test_wrong_seconds_of_a_worker_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be seconds"):
        MaintenanceWorker(state=tmp_path, **given)


def test_a_tasks_type_may_be_given_by_its_value(worker: MaintenanceWorker) -> None:
    worker.register_task("t", "cache_cleanup", lambda: 1, interval_seconds=60)  # pyright: ignore[reportArgumentType]

    assert worker.get_all_tasks()[0]["task_type"] == "cache_cleanup"


def test_what_is_told_of_a_task_has_the_references_keys_and_the_next_run(tmp_path: Path) -> None:
    clock = WallClock(2026, 3, 10, 12)
    worker = MaintenanceWorker(state=tmp_path, clock=clock)
    worker.register_task(
        "t", CACHE, lambda: 1, schedule_cron="0 2 * * *", timezone="America/New_York", timeout=9
    )
    worker.register_task("off", CACHE, lambda: 1, interval_seconds=60, enabled=False)

    [task, off] = worker.get_all_tasks()

    assert task == worker.get_task_status("t")
    assert (
        task
        | {
            "name": "t",
            "task_type": "cache_cleanup",
            "schedule_cron": "0 2 * * *",
            "interval_seconds": None,
            "enabled": True,
            "last_run": None,
            "last_status": "pending",
            "last_error": None,
            "run_count": 0,
            "timeout": 9,
            "timezone": "America/New_York",
            "next_run": "2026-03-11T06:00:00+00:00",
        }
        == task
    )
    assert (off["enabled"], off["next_run"]) == (False, None)
    assert worker.get_stats()["next_run"] == "2026-03-11T06:00:00+00:00"


def test_a_run_whose_event_loop_was_closed_is_a_failed_one_and_keeps_no_other_waiting(
    worker: MaintenanceWorker,
) -> None:
    begun: list[int] = []

    async def handler() -> None:
        begun.append(1)
        await asyncio.sleep(60 if len(begun) == 1 else 0)

    worker.register_task("t", CACHE, handler, interval_seconds=60)

    async def start() -> None:
        await worker.start()
        await until(lambda: begun)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    loop.close()
    assert not worker.running
    assert worker.get_stats()["active_runs"] == 0
    assert asyncio.run(worker.run_task_now("t")).status is COMPLETED
    assert worker.get_stats()["failed_runs"] == 1
    assert "event loop" in worker.get_recent_results()[0]["error"]
