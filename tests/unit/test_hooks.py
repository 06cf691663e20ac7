"""Who is told of a hook, where, and that a failing subscriber harms nothing."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lexigram_ray.core.hooks import (
    WorkerHook,
    WorkerJobCompletedHook,
    WorkerJobStartedHook,
    WorkerMaintenanceRunHook,
    fire,
    subscribe,
)

Subscribe = Callable[[type[Any], Callable[[Any], Any]], Callable[[], None]]
STARTED = WorkerJobStartedHook(job_type="batch_embed", job_id="a1")


@pytest.fixture
def subscribed() -> Iterator[Subscribe]:
    ends: list[Callable[[], None]] = []

    def and_end(hook_type: type[Any], callback: Callable[[Any], Any]) -> Callable[[], None]:
        ends.append(subscribe(hook_type, callback))
        return ends[-1]

    yield and_end
    for end in ends:
        end()


def test_a_subscriber_is_told_what_it_has_subscribed_to(subscribed: Subscribe) -> None:
    told: list[WorkerHook] = []
    subscribed(WorkerJobStartedHook, told.append)

    fire(STARTED)
    fire(WorkerJobCompletedHook(job_type="batch_embed", job_id="a1", outcome="completed"))

    assert told == [STARTED]


def test_whoever_subscribes_to_the_base_is_told_all(subscribed: Subscribe) -> None:
    told: list[WorkerHook] = []
    subscribed(WorkerHook, told.append)
    run = WorkerMaintenanceRunHook(task_type="cache_cleanup", task_name="tidy", run_id="r1")

    fire(STARTED)
    fire(run)

    assert told == [STARTED, run]


def test_an_ended_subscription_is_told_nothing(subscribed: Subscribe) -> None:
    told: list[WorkerHook] = []
    end = subscribed(WorkerHook, told.append)

    end()
    end()
    fire(STARTED)

    assert told == []


def test_the_same_event_has_the_same_id_and_others_have_others() -> None:
    completed = WorkerJobCompletedHook(job_type="batch_embed", job_id="a1", outcome="failed")
    run = WorkerMaintenanceRunHook(task_type="cache_cleanup", run_id="r1", outcome="completed")

    assert STARTED.event_id == "a1:started"
    assert completed.event_id == "a1:failed"
    assert run.event_id == "r1:completed"
    assert WorkerJobStartedHook(job_type="x").event_id == ""
    assert WorkerJobStartedHook(job_type="x", job_id="a1", event_id="own").event_id == "own"


def test_a_failing_subscriber_is_named_in_the_log_once_and_harms_nothing(
    subscribed: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[WorkerHook] = []

    def breaks(hook: WorkerHook) -> None:
        raise ValueError("no such pager")

    subscribed(WorkerHook, breaks)
    subscribed(WorkerHook, told.append)
    with caplog.at_level(logging.INFO):
        fire(STARTED)
        fire(STARTED)

    assert told == [STARTED, STARTED]
    (record,) = caplog.records
    assert "breaks" in record.message
    assert "no such pager" in record.message
    assert record.exc_info


def test_an_async_subscriber_is_run_to_its_end_where_there_is_no_event_loop(
    subscribed: Subscribe,
) -> None:
    told: list[WorkerHook] = []

    async def listens(hook: WorkerHook) -> None:
        await asyncio.sleep(0)
        told.append(hook)

    subscribed(WorkerHook, listens)
    fire(STARTED)

    assert told == [STARTED]


def test_an_async_subscriber_runs_in_the_loop_of_whoever_fires_it(subscribed: Subscribe) -> None:
    async def scenario() -> asyncio.AbstractEventLoop:
        told: asyncio.Queue[asyncio.AbstractEventLoop] = asyncio.Queue()

        async def listens(hook: WorkerHook) -> None:
            await told.put(asyncio.get_running_loop())

        subscribed(WorkerHook, listens)
        fire(STARTED)
        assert await asyncio.wait_for(told.get(), 5) is asyncio.get_running_loop()
        return asyncio.get_running_loop()

    asyncio.run(scenario())


def test_a_thread_waits_for_a_subscriber_in_the_loop_in_which_it_subscribed(
    subscribed: Subscribe,
) -> None:
    async def scenario() -> None:
        loop, told = asyncio.get_running_loop(), []

        async def listens(hook: WorkerHook) -> None:
            await asyncio.sleep(0.05)
            told.append(asyncio.get_running_loop())

        subscribed(WorkerHook, listens)
        await asyncio.to_thread(fire, STARTED)

        assert told == [loop]

    asyncio.run(scenario())


def test_a_subscriber_whose_loop_has_ended_is_still_told(subscribed: Subscribe) -> None:
    told: list[WorkerHook] = []

    async def listens(hook: WorkerHook) -> None:
        told.append(hook)

    async def scenario() -> None:
        subscribed(WorkerHook, listens)

    asyncio.run(scenario())
    fire(STARTED)

    assert told == [STARTED]


def test_a_failing_async_subscriber_is_logged(
    subscribed: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(hook: WorkerHook) -> None:
        raise ValueError("no such pager")

    subscribed(WorkerHook, breaks)
    fire(STARTED)

    assert "no such pager" in caplog.text


def test_threads_fire_and_subscribe_at_once(subscribed: Subscribe) -> None:
    told: list[WorkerHook] = []
    subscribed(WorkerHook, told.append)

    def both() -> None:
        for _ in range(200):
            subscribe(WorkerHook, lambda _: None)()
            fire(STARTED)

    threads = [threading.Thread(target=both) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(told) == 800


def test_a_subscriber_that_exits_ends_nothing_but_itself(subscribed: Subscribe) -> None:
    told: list[WorkerHook] = []

    def leaves(_: WorkerHook) -> None:
        raise SystemExit(3)

    async def leaves_too(_: WorkerHook) -> None:
        raise SystemExit(3)

    for subscriber in (leaves, leaves_too, told.append):
        subscribed(WorkerHook, subscriber)
    fire(STARTED)
    assert told == [STARTED]
