"""Handlers in processes of their own: what they answer, and that they can really be ended."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from lexigram_ray.workers.maintenance import MaintenanceWorker
from lexigram_ray.workers.types import MaintenanceResult, MaintenanceStatus, MaintenanceTaskType
from tests import maintenance_tasks as tasks
from tests.workers_doubles import until

pytestmark = pytest.mark.slow


def ran(worker: MaintenanceWorker, handler: Callable[[], Any], **given: Any) -> MaintenanceResult:
    health = MaintenanceTaskType.HEALTH_CHECK
    worker.register_task("t", health, handler, interval_seconds=60, isolated=True, **given)
    return asyncio.run(worker.run_task_now("t"))


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def worker(tmp_path: Path) -> MaintenanceWorker:
    return MaintenanceWorker(state=tmp_path / "state")


def test_its_answer_comes_from_another_process_and_what_it_prints_goes_to_the_log(
    worker: MaintenanceWorker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lexigram_ray")

    result = ran(worker, tasks.count_pages)

    assert (result.items_processed, result.items_deleted, result.error) == (3, 1, None)
    assert result.metadata["process"] != os.getpid()
    assert "t: printed by the handler" in caplog.messages


def test_an_async_handler_has_a_loop_there(worker: MaintenanceWorker) -> None:
    assert ran(worker, tasks.count_pages_later).items_processed == 4


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (tasks.refuse, "no answer from https://***@host/"),
        (tasks.leave, "the handler called exit (4)"),
        (tasks.crash, "was ended by SIGSEGV"),
        (tasks.answer_with_an_object, "cannot be written as JSON"),
    ],
)
def test_how_it_failed_is_said(
    worker: MaintenanceWorker, handler: Callable[[], Any], said: str
) -> None:
    result = ran(worker, handler)

    assert result.status is MaintenanceStatus.FAILED
    assert said in str(result.error)


def test_one_that_will_not_end_is_killed_with_what_it_has_started(
    worker: MaintenanceWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids_file = tmp_path / "pids"
    monkeypatch.setenv("PIDS_FILE", str(pids_file))

    began = time.monotonic()
    result = ran(worker, tasks.never_end, timeout=3.0)

    assert time.monotonic() - began < 15
    assert result.error == "timed out after 3 s, and was ended"
    assert worker.get_stats()["stuck_runs"] == 0
    pids = [int(pid) for pid in pids_file.read_text().split()]
    # A killed process takes a moment where the machine is busy.
    asyncio.run(until(lambda: not any(lives(pid) for pid in pids)))


def nested() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize("handler", [nested(), lambda: None, [].clear, tasks.WallClock(2026, 1, 1)])
def test_what_another_process_could_not_find_is_refused(
    worker: MaintenanceWorker, handler: Callable[[], Any]
) -> None:
    with pytest.raises(ValueError, match="cannot be called in a process of its own"):
        ran(worker, handler)
