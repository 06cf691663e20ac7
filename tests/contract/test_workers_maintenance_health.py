"""The health check of `MaintenanceWorker` says how things are, and soon."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.jobs.store import Store
from lexigram_ray.workers.maintenance import MaintenanceWorker
from lexigram_ray.workers.protocols import HealthCheckResult, HealthStatus
from lexigram_ray.workers.types import MaintenanceTaskType

CACHE = MaintenanceTaskType.CACHE_CLEANUP
NEVER = "0 0 29 2 *"


def refuse() -> None:
    raise RuntimeError("boom")


def health_of(
    worker: MaintenanceWorker, *handlers: Callable[[], Any], timeout: float = 5.0
) -> HealthCheckResult:
    """Return the health of a worker that is started and has run these handlers."""

    async def scenario() -> HealthCheckResult:
        await worker.start()
        for number, handler in enumerate(handlers):
            name = f"task {number}"
            worker.register_task(name, CACHE, handler, schedule_cron=NEVER, timeout=0.2)
            await worker.run_task_now(name)
        health = await worker.health_check(timeout)
        await worker.stop()
        return health

    return asyncio.run(scenario())


def test_fault_12_a_health_check_says_whether_the_worker_runs_and_its_tasks_are_well(
    tmp_path: Path,
) -> None:
    worker = MaintenanceWorker(state=tmp_path / "state")

    before = asyncio.run(worker.health_check())
    running = health_of(worker, lambda: 1)
    failing = health_of(MaintenanceWorker(state=tmp_path / "state"), lambda: 1, refuse)
    after = asyncio.run(worker.health_check())

    assert before.component == "worker.maintenance.maintenance"
    assert [each.status for each in (before, running, failing, after)] == [
        HealthStatus.UNHEALTHY,
        HealthStatus.HEALTHY,
        HealthStatus.DEGRADED,
        HealthStatus.UNHEALTHY,
    ]
    assert running.error is None
    assert failing.error == "task task 1: its last run failed: boom"
    assert failing.details is not None
    assert failing.details["unwell_tasks"] == {"task 1": "its last run failed: boom"}
    assert failing.details["failed_runs"] == 1
    assert failing.checked_at is not None


def test_a_task_that_is_well_again_is_forgiven(tmp_path: Path) -> None:
    outcomes = iter([RuntimeError("boom"), None])

    def handler() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    worker = MaintenanceWorker(state=tmp_path / "state")

    async def scenario() -> list[HealthStatus]:
        await worker.start()
        worker.register_task("t", CACHE, handler, schedule_cron=NEVER)
        seen: list[HealthStatus] = []
        for _ in range(2):
            await worker.run_task_now("t")
            seen.append((await worker.health_check()).status)
        await worker.stop()
        return seen

    assert asyncio.run(scenario()) == [HealthStatus.DEGRADED, HealthStatus.HEALTHY]


def test_a_run_that_goes_on_although_its_time_is_over_is_told(tmp_path: Path) -> None:
    go_on = threading.Event()
    try:
        health = health_of(MaintenanceWorker(state=tmp_path), lambda: go_on.wait(60))
    finally:
        go_on.set()

    assert health.status is HealthStatus.DEGRADED
    assert "timed out and goes on" in str(health.error)


def test_faults_that_a_task_has_found_are_told(tmp_path: Path) -> None:
    fault = {"name": "disk", "detail": "nearly full", "fix": ""}

    health = health_of(MaintenanceWorker(state=tmp_path), lambda: {"metadata": {"faults": [fault]}})

    assert health.status is HealthStatus.DEGRADED
    assert "disk: nearly full" in str(health.error)


def test_a_job_store_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    config = load_config(state_dir=tmp_path)
    with Store.open(config.paths.store_url):
        pass
    assert health_of(MaintenanceWorker(config=config)).status is HealthStatus.HEALTHY

    (tmp_path / "jobs.db").write_bytes(b"no database" * 1000)
    health = health_of(MaintenanceWorker(config=config))

    assert health.status is HealthStatus.DEGRADED
    assert str(health.error).startswith("the job store: ")


class SlowStore:
    """A vector store whose health nobody learns; plain, so that it blocks its thread."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = threading.Event()

    def health_check(self) -> None:
        self.asked += 1
        self.go_on.wait(60)


def test_a_check_takes_no_longer_than_its_timeout_and_asks_once(tmp_path: Path) -> None:
    store: Any = SlowStore()
    worker = MaintenanceWorker(store, state=tmp_path)

    async def scenario() -> list[HealthCheckResult]:
        await worker.start()
        seen = [await worker.health_check(timeout=0.2) for _ in range(3)]
        await worker.stop()
        return seen

    began = time.monotonic()
    try:
        checks = asyncio.run(scenario())
    finally:
        store.go_on.set()

    assert time.monotonic() - began < 20
    assert {each.error for each in checks} == {"the vector store does not answer within 0.2 s"}
    assert {each.status for each in checks} == {HealthStatus.DEGRADED}
    assert all(150 < each.duration_ms < 5000 for each in checks)
    assert store.asked == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (HealthCheckResult(component="v"), HealthStatus.HEALTHY),
        (HealthCheckResult(component="v", status=HealthStatus.UNHEALTHY), HealthStatus.DEGRADED),
        (False, HealthStatus.DEGRADED),
        (MagicMock(), HealthStatus.HEALTHY),
    ],
)
def test_a_vector_stores_own_health_is_asked(
    tmp_path: Path, answer: object, status: HealthStatus
) -> None:
    store = MagicMock()
    store.health_check = AsyncMock(return_value=answer)

    assert health_of(MaintenanceWorker(store, state=tmp_path)).status is status


def test_a_vector_store_that_raises_is_told_without_secrets(tmp_path: Path) -> None:
    store = MagicMock()
    store.health_check = AsyncMock(side_effect=RuntimeError("https://me:hunter2@host/ is down"))

    health = health_of(MaintenanceWorker(store, state=tmp_path))

    assert health.status is HealthStatus.DEGRADED
    assert "is down" in str(health.error)
    assert "hunter2" not in str(health.error)
