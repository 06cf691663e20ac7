"""Tasks of a started `MaintenanceWorker`: at their times, never beside themselves, until a stop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.workers.maintenance import MaintenanceWorker, _scheduling
from lexigram_ray.workers.protocols import HealthStatus
from lexigram_ray.workers.types import MaintenanceStatus, MaintenanceTaskType
from tests.maintenance_tasks import PATIENCE_SECONDS, WallClock
from tests.workers_doubles import until

CACHE = MaintenanceTaskType.CACHE_CLEANUP
LOOK_SECONDS = 0.01


class Site:
    """A worker whose clock a test moves."""

    def __init__(self, state: Path) -> None:
        self.clock = WallClock(2026, 3, 10, 12)
        self.ran: list[str] = []
        self.worker = self.made(state)
        self.state = state

    def made(self, state: Path, **given: Any) -> MaintenanceWorker:
        every: Any = LOOK_SECONDS
        return MaintenanceWorker(state=state, check_interval=every, clock=self.clock, **given)

    def note(self) -> None:
        self.ran.append(self.clock.now.isoformat(" ", "minutes")[:16])

    async def come_to(self, **by: float) -> None:
        """Move the clock, and give the worker time to look."""
        self.clock.advance(**by)
        looked = 0
        while looked < 5 or self.worker.get_stats()["active_runs"]:
            await asyncio.sleep(LOOK_SECONDS)
            looked += 1


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "state")


def started(site: Site, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario while the worker is started."""

    async def run() -> None:
        await site.worker.start()
        try:
            await scenario()
        finally:
            await site.worker.stop()

    asyncio.run(run())


def test_fault_02_a_cron_task_runs_again_and_again(site: Site) -> None:
    site.worker.register_task("t", CACHE, site.note, schedule_cron="0 2 * * *")

    async def scenario() -> None:
        for _ in range(72):
            await site.come_to(hours=1)

    started(site, scenario)

    assert site.ran == ["2026-03-11 02:00", "2026-03-12 02:00", "2026-03-13 02:00"]
    triggers = {each["trigger"] for each in site.worker.get_recent_results()}
    assert triggers == {"schedule"}


def test_an_interval_task_runs_at_once_and_then_at_its_intervals(site: Site) -> None:
    site.worker.register_task("t", CACHE, site.note, interval_seconds=3600)

    async def scenario() -> None:
        await until(lambda: site.ran)
        for _ in range(9):
            await site.come_to(minutes=20)

    started(site, scenario)

    assert site.ran == [f"2026-03-10 {hour}:00" for hour in (12, 13, 14, 15)]


def test_what_passed_while_the_worker_was_stopped_is_made_up_for_once(site: Site) -> None:
    site.worker.register_task("t", CACHE, site.note, schedule_cron="0 * * * *")

    async def nothing() -> None:
        await site.come_to(minutes=1)

    started(site, nothing)
    site.clock.advance(hours=5)
    started(site, nothing)

    assert site.ran == ["2026-03-10 17:02"]
    assert [each["trigger"] for each in site.worker.get_recent_results()] == ["missed"]


def test_a_task_that_is_due_while_its_run_goes_on_is_skipped(site: Site) -> None:
    go_on = asyncio.Event()

    async def wait() -> None:
        site.note()
        await go_on.wait()

    site.worker.register_task("t", CACHE, wait, schedule_cron="* * * * *")
    site.worker.register_task("other", CACHE, lambda: None, schedule_cron="* * * * *")

    def counted() -> tuple[int, int]:
        task, other = site.worker.get_all_tasks()
        return task["skipped_count"], other["run_count"]

    async def scenario() -> None:
        for number in range(1, 5):
            site.clock.advance(minutes=1)
            await until(lambda wanted=number: counted() == (wanted - 1, wanted))
        go_on.set()
        await site.come_to(minutes=1)

    started(site, scenario)

    assert site.ran == ["2026-03-10 12:01", "2026-03-10 12:05"]
    task, other = site.worker.get_all_tasks()
    assert (task["run_count"], task["skipped_count"]) == (2, 3)
    # A run that takes long keeps no other task waiting.
    assert (other["run_count"], other["skipped_count"]) == (5, 0)
    # All that one run was in the way of is one line.
    statuses = [
        each["status"] for each in site.worker.get_recent_results() if each["task_name"] == "t"
    ]
    assert statuses == ["skipped", "completed", "completed"]


def test_a_disabled_task_does_not_run_by_itself_and_nothing_is_made_up_for(site: Site) -> None:
    site.worker.register_task("t", CACHE, site.note, schedule_cron="0 * * * *")

    async def scenario() -> None:
        site.worker.disable_task("t")
        await site.come_to(hours=3)
        result = await site.worker.run_task_now("t")
        assert result.status is MaintenanceStatus.COMPLETED
        site.worker.enable_task("t")
        await site.come_to(minutes=30)
        assert len(site.ran) == 1
        await site.come_to(minutes=30)

    started(site, scenario)

    assert site.ran == ["2026-03-10 15:00", "2026-03-10 16:00"]


def test_an_unregistered_task_runs_no_more_and_its_name_is_free(site: Site) -> None:
    site.worker.register_task("t", CACHE, site.note, interval_seconds=60)

    async def scenario() -> None:
        await until(lambda: site.ran)
        site.worker.unregister_task("t")
        await site.come_to(minutes=5)
        assert len(site.ran) == 1
        site.worker.register_task("t", CACHE, site.note, interval_seconds=60)
        await until(lambda: len(site.ran) == 2)

    started(site, scenario)


def test_a_task_is_run_when_it_is_due_however_rarely_the_worker_looks(tmp_path: Path) -> None:
    worker = MaintenanceWorker(state=tmp_path, check_interval=3600)
    ran: list[float] = []

    async def scenario() -> None:
        await worker.start()
        # Registered from another thread, while the worker sleeps for an hour.
        often: Any = 0.2
        await asyncio.to_thread(
            worker.register_task, "t", CACHE, lambda: ran.append(time.monotonic()), None, often
        )
        await until(lambda: len(ran) >= 4)
        await worker.stop()

    asyncio.run(scenario())

    assert 0.4 < ran[3] - ran[0] < PATIENCE_SECONDS


def test_a_failed_task_runs_again(site: Site) -> None:
    def fail() -> None:
        site.note()
        raise RuntimeError("boom")

    site.worker.register_task("t", CACHE, fail, schedule_cron="* * * * *")

    async def scenario() -> None:
        await site.come_to(minutes=1)
        await site.come_to(minutes=1)

    started(site, scenario)

    assert len(site.ran) == 2
    assert site.worker.get_stats()["failed_runs"] == 2


def test_stop_waits_for_what_runs_and_begins_nothing_more(site: Site) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> dict[str, int]:
        begun.set()
        go_on.wait(60)
        return {"items_processed": 1}

    site.worker.register_task("t", CACHE, wait, interval_seconds=60)
    site.worker.register_task("later", CACHE, site.note, schedule_cron="* * * * *")

    async def scenario() -> None:
        await site.worker.start()
        await until(begun.is_set)
        stopping = asyncio.create_task(site.worker.stop())
        await asyncio.sleep(5 * LOOK_SECONDS)
        assert not stopping.done()
        assert not site.worker.running
        site.clock.advance(minutes=5)
        await asyncio.sleep(5 * LOOK_SECONDS)
        go_on.set()
        await stopping

    asyncio.run(scenario())

    assert [each["status"] for each in site.worker.get_recent_results()] == ["completed"]
    assert site.ran == []


def test_stop_ends_what_takes_too_long(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = site.made(site.state, drain_seconds=0.1)
    worker.register_task("t", CACHE, lambda: asyncio.sleep(60), interval_seconds=60)
    go_on = threading.Event()
    worker.register_task("thread", CACHE, lambda: go_on.wait(60), interval_seconds=60)

    async def scenario() -> float:
        await worker.start()
        await until(lambda: worker.get_stats()["active_runs"] == 2)
        began = time.monotonic()
        await worker.stop()
        return time.monotonic() - began

    try:
        assert asyncio.run(scenario()) < 20
        assert {each["error"] for each in worker.get_recent_results()} == {
            "stopped before it had ended"
        }
        assert worker.get_stats()["stuck_runs"] == 1
    finally:
        go_on.set()


def test_a_handler_may_stop_the_worker_that_runs_it(site: Site) -> None:
    site.worker.register_task("t", CACHE, site.worker.stop, interval_seconds=60)

    async def scenario() -> None:
        await site.worker.start()
        await until(lambda: site.worker.get_stats()["total_runs"])

    began = time.monotonic()
    asyncio.run(scenario())

    assert time.monotonic() - began < 20
    assert not site.worker.running
    assert site.worker.get_recent_results()[0]["status"] == "completed"


def test_a_handler_may_run_another_task_that_stops_the_worker(site: Site) -> None:
    site.worker.register_task("inner", CACHE, site.worker.stop, schedule_cron="0 0 1 1 *")
    site.worker.register_task(
        "outer", CACHE, lambda: site.worker.run_task_now("inner"), interval_seconds=60
    )

    async def scenario() -> None:
        await site.worker.start()
        await until(lambda: site.worker.get_stats()["total_runs"] == 2)

    began = time.monotonic()
    asyncio.run(scenario())

    assert time.monotonic() - began < 20
    assert {each["status"] for each in site.worker.get_recent_results()} == {"completed"}


def test_start_and_stop_may_be_called_twice_and_again(site: Site) -> None:
    async def scenario() -> None:
        await site.worker.stop()
        await site.worker.start()
        await site.worker.start()
        assert site.worker.running
        await site.worker.stop()
        await site.worker.stop()
        assert not site.worker.running
        await site.worker.start()
        assert site.worker.running
        await site.worker.stop()

    asyncio.run(scenario())


def test_it_can_be_stopped_from_another_threads_event_loop(site: Site) -> None:
    site.worker.register_task("t", CACHE, site.note, schedule_cron="* * * * *")
    started_here, end = threading.Event(), threading.Event()

    async def scenario() -> None:
        await site.worker.start()
        started_here.set()
        await asyncio.to_thread(end.wait, 60)

    thread = threading.Thread(target=lambda: asyncio.run(scenario()))
    thread.start()
    try:
        assert started_here.wait(20)
        asyncio.run(site.worker.stop())
        assert not site.worker.running
        site.clock.advance(minutes=5)
        time.sleep(10 * LOOK_SECONDS)
    finally:
        end.set()
        thread.join()

    assert site.ran == []


def test_a_bad_look_is_not_the_last_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    look = _scheduling.SchedulerLoop._look
    looks: list[int] = []

    def fail_at_first(loop: _scheduling.SchedulerLoop) -> float:
        looks.append(1)
        if len(looks) == 1:
            raise RuntimeError("no")
        return look(loop)

    monkeypatch.setattr(_scheduling.SchedulerLoop, "_look", fail_at_first)
    site.worker.register_task("t", CACHE, site.note, interval_seconds=60)

    async def scenario() -> None:
        await until(lambda: site.ran)

    started(site, scenario)

    assert site.ran
    assert len(looks) > 1


def test_a_worker_whose_event_loop_has_ended_does_not_run_and_can_be_started_again(
    site: Site,
) -> None:
    asyncio.run(site.worker.start())

    assert not site.worker.running
    health = asyncio.run(site.worker.health_check())
    assert health.status is HealthStatus.UNHEALTHY
    assert "without stop()" in str(health.error)

    site.worker.register_task("t", CACHE, site.note, interval_seconds=60)

    async def scenario() -> None:
        await until(lambda: site.ran)

    started(site, scenario)
