"""The pool over a queue: errors are seen, retried where that helps, and never end it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from lexigram_ray.core.errors import EmbeddingError, UsageError
from lexigram_ray.core.hooks import WorkerHook, subscribe
from lexigram_ray.jobs import message_work, worker_pool
from lexigram_ray.jobs.foreign_queue import ForeignQueue, Message
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.jobs.worker_pool import WorkerPool
from tests.workers_doubles import until

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_work, "FIRST_RETRY_SECONDS", 0.01)


@pytest.fixture
def hooks():
    told: list[str] = []
    end = subscribe(WorkerHook, lambda hook: told.append(hook.event_id))
    yield told
    end()


async def with_pool(
    handler: Callable[[Message], Awaitable[None]],
    work: Callable[[WorkerPool, ForeignQueue], Awaitable[None]],
    *,
    queue: object | None = None,
    concurrency: int = 2,
    **more: Any,
) -> None:
    wrapped = ForeignQueue(MemoryQueue() if queue is None else queue)
    pool = WorkerPool("test", wrapped, {"task": handler}, concurrency=concurrency, **more)
    await pool.start()
    try:
        await work(pool, wrapped)
    finally:
        await pool.stop(5.0)
        assert not pool.running
        assert pool.active == 0


def test_messages_are_handled_at_once_up_to_the_concurrency() -> None:
    seen: list[int] = []
    most: list[int] = []

    async def handler(message: Message) -> None:
        most.append(pools[0].active)
        await asyncio.sleep(0.05)
        seen.append(message.kwargs["n"])

    pools: list[WorkerPool] = []

    async def work(pool: WorkerPool, queue: ForeignQueue) -> None:
        pools.append(pool)
        for number in range(6):
            await queue.enqueue("task", {"n": number})
        await until(lambda: len(seen) == 6)

    asyncio.run(with_pool(handler, work, concurrency=3))
    assert sorted(seen) == list(range(6))
    assert max(most) == 3


def test_fault_03_a_handlers_error_reaches_the_dead_letters_and_no_other_message(
    hooks: list[str],
) -> None:
    letters: list[tuple[str, str]] = []
    done: list[str] = []

    async def handler(message: Message) -> None:
        if message.kwargs["n"] == 1:
            raise ValueError("no such thing")
        done.append(message.id)

    class Letters:
        async def add_failed_job(self, job: Any, error: str) -> None:
            letters.append((job.id, error))

    ids: list[str] = []

    async def work(_: WorkerPool, queue: ForeignQueue) -> None:
        ids.extend([await queue.enqueue("task", {"n": number}) for number in range(3)])
        await until(lambda: len(done) == 2 and bool(letters))
        failed = await queue.queue.get_job(ids[1])  # type: ignore[attr-defined]
        await until(lambda: f"{ids[1]}:failed" in hooks)
        assert (await queue.queue.get_job(ids[1])).status == "failed"  # type: ignore[attr-defined]
        assert failed is not None

    asyncio.run(with_pool(handler, work, on_failure=Letters()))
    assert done == [ids[0], ids[2]]
    assert letters == [(ids[1], "ValueError: no such thing")]
    assert sorted(hooks) == sorted(
        f"{job_id}:{what}"
        for job_id, end in zip(ids, ("completed", "failed", "completed"), strict=True)
        for what in ("started", end)
    )


def test_an_error_that_may_pass_is_tried_again_and_told_as_one_job(hooks: list[str]) -> None:
    tries: list[float] = []

    async def handler(_: Message) -> None:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise ConnectionResetError("gone")

    async def work(_: WorkerPool, queue: ForeignQueue) -> None:
        job_id = await queue.enqueue("task", {})
        await until(lambda: hooks[-1:] == [f"{job_id}:completed"])
        assert hooks == [f"{job_id}:started", f"{job_id}:completed"]

    asyncio.run(with_pool(handler, work))
    assert len(tries) == 3


def test_tries_end_and_then_the_job_has_failed() -> None:
    tries: list[str] = []
    letters: list[str] = []

    async def handler(message: Message) -> None:
        tries.append(message.id)
        raise EmbeddingError("the server falters")

    async def work(_: WorkerPool, queue: ForeignQueue) -> None:
        await queue.enqueue("task", {})
        await until(lambda: bool(letters))

    asyncio.run(with_pool(handler, work, on_failure=lambda job, error: letters.append(error)))
    assert len(tries) == 4
    assert letters == ["EmbeddingError: the server falters"]


@pytest.mark.parametrize("error", [UsageError("wrong"), ValueError("wrong"), KeyError("x")])
def test_an_error_that_will_not_pass_is_not_tried_again(error: Exception) -> None:
    tries: list[str] = []
    letters: list[str] = []

    async def handler(message: Message) -> None:
        tries.append(message.id)
        raise error

    async def work(_: WorkerPool, queue: ForeignQueue) -> None:
        await queue.enqueue("task", {})
        await until(lambda: bool(letters))

    asyncio.run(with_pool(handler, work, on_failure=lambda job, text: letters.append(text)))
    assert len(tries) == 1


def test_a_message_delivered_again_after_its_end_is_not_done_again(hooks: list[str]) -> None:
    task = {"id": "job-1", "name": "task", "kwargs": {"n": 1}}
    queue = AsyncMock()
    queue.dequeue.side_effect = [task, dict(task), {**task, "kwargs": {"n": 2}}, *[None] * 10_000]
    done: list[int] = []

    async def handler(message: Message) -> None:
        done.append(message.kwargs["n"])

    async def work(_: WorkerPool, __: ForeignQueue) -> None:
        await until(lambda: queue.ack.await_count == 3)

    asyncio.run(with_pool(handler, work, queue=queue, concurrency=1))
    # Another message that the queue has given the same id is another message.
    assert done == [1, 2]


def test_stop_lets_a_message_under_way_end_and_begins_no_other() -> None:
    began, ended = asyncio.Event(), list[int]()

    async def handler(message: Message) -> None:
        began.set()
        await asyncio.sleep(0.2)
        ended.append(message.kwargs["n"])

    async def run() -> int:
        queue = ForeignQueue(MemoryQueue())
        pool = WorkerPool("test", queue, {"task": handler}, concurrency=1)
        await pool.start()
        for number in range(3):
            await queue.enqueue("task", {"n": number})
        await began.wait()
        await pool.stop(5.0)
        return await queue.count() or 0

    assert asyncio.run(run()) == 2
    assert ended == [0]


def test_a_message_that_outlasts_the_drain_goes_back_to_the_queue() -> None:
    began = asyncio.Event()

    async def handler(_: Message) -> None:
        began.set()
        await asyncio.sleep(60)

    async def run() -> float:
        queue = ForeignQueue(MemoryQueue())
        pool = WorkerPool("test", queue, {"task": handler}, concurrency=1)
        await pool.start()
        await queue.enqueue("task", {})
        await began.wait()
        started = time.monotonic()
        await pool.stop(0.1)
        assert await queue.count() == 1
        return time.monotonic() - started

    assert asyncio.run(run()) < 5.0


def test_a_queue_that_fails_is_asked_again_and_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_pool, "LONGEST_WAIT_SECONDS", 0.01)
    queue = AsyncMock()
    task = {"id": "1", "name": "task", "kwargs": {}}
    queue.dequeue.side_effect = [OSError("away"), OSError("away"), task, *[None] * 100_000]
    done: list[str] = []

    async def handler(message: Message) -> None:
        done.append(message.id)

    async def work(_: WorkerPool, __: ForeignQueue) -> None:
        await until(lambda: done == ["1"])

    with caplog.at_level(logging.WARNING, "lexigram_ray"):
        asyncio.run(with_pool(handler, work, queue=queue, concurrency=1))
    assert sum("does not answer" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("queue", [AsyncMock(), MagicMock()])
def test_a_double_that_hands_out_nonsense_is_asked_now_and_then(queue: Any) -> None:
    async def handler(_: Message) -> None:
        raise AssertionError("there was no message")

    async def work(pool: WorkerPool, _: ForeignQueue) -> None:
        await asyncio.sleep(0.7)
        assert pool.running

    asyncio.run(with_pool(handler, work, queue=queue, concurrency=1))
    assert queue.dequeue.call_count < 20


def test_a_job_that_takes_longer_than_its_limit_has_failed_for_that() -> None:
    letters: list[str] = []

    async def handler(_: Message) -> None:
        await asyncio.sleep(60)

    async def work(_: WorkerPool, queue: ForeignQueue) -> None:
        task = {"name": "task", "kwargs": {}, "max_retries": 0, "timeout": 0.05}
        await queue.queue.enqueue(task)  # type: ignore[attr-defined]
        await until(lambda: bool(letters))

    asyncio.run(with_pool(handler, work, on_failure=lambda job, error: letters.append(error)))
    assert letters == ["TimeoutError: the job was not done within 0.05 s"]


def test_a_task_of_a_name_that_nobody_handles_is_told_as_a_failure_in_the_end(
    monkeypatch: pytest.MonkeyPatch, hooks: list[str]
) -> None:
    monkeypatch.setattr(message_work, "MOST_PASSED_ON", 2)
    letters: list[str] = []

    async def handler(_: Message) -> None:
        raise AssertionError("not this one")

    async def work(_: WorkerPool, queue: ForeignQueue) -> None:
        await queue.enqueue("another", {})
        await until(lambda: bool(letters) and len(hooks) == 1)

    asyncio.run(with_pool(handler, work, on_failure=lambda job, error: letters.append(error)))
    assert "no handler for the task 'another'" in letters[0]


def test_two_pools_of_one_queue_leave_each_other_their_tasks() -> None:
    async def run() -> dict[str, list[int]]:
        queue, done = MemoryQueue(), {"left": list[int](), "right": list[int]()}

        def handler_of(name: str) -> Callable[[Message], Awaitable[None]]:
            async def handler(message: Message) -> None:
                done[name].append(message.kwargs["n"])

            return handler

        pools = [
            WorkerPool(name, ForeignQueue(queue), {name: handler_of(name)}, concurrency=1)
            for name in done
        ]
        for pool in pools:
            await pool.start()
        for number in range(4):
            for name in done:
                await queue.enqueue({"name": name, "kwargs": {"n": number}})
        await until(lambda: all(len(each) == 4 for each in done.values()))
        for pool in pools:
            await pool.stop(5.0)
        return {name: sorted(each) for name, each in done.items()}

    assert asyncio.run(run()) == {"left": [0, 1, 2, 3], "right": [0, 1, 2, 3]}


def test_fault_11_the_pool_starts_with_nothing_but_a_queue_and_can_be_started_anew() -> None:
    async def run() -> list[bool]:
        done: list[str] = []

        async def handler(message: Message) -> None:
            done.append(message.id)

        queue = ForeignQueue(MemoryQueue())
        pool = WorkerPool("test", queue, {"task": handler}, concurrency=1)
        states = [pool.running]
        for _ in range(2):
            await pool.start()
            await pool.start()
            states.append(pool.running)
            job_id = await queue.enqueue("task", {"n": len(states)})
            await until(lambda job_id=job_id: done[-1:] == [job_id])
            await pool.stop(1.0)
            states.append(pool.running)
        return states

    assert asyncio.run(run()) == [False, True, False, True, False]


# -- Stopping and ending at any moment -------------------------------------------------------------


class SlowLetters:
    """Takes its time, and is told everything."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.letters: list[str] = []

    async def add_failed_job(self, job: Any, error: str) -> None:
        self.begun.set()
        await asyncio.sleep(0.3)
        self.letters.append(error)


def test_a_failure_that_is_being_told_while_the_pool_stops_is_told_to_its_end() -> None:
    async def handler(_: Message) -> None:
        raise UsageError("bad input")

    async def main() -> None:
        letters, queue = SlowLetters(), MemoryQueue()
        pool = WorkerPool(
            "test", ForeignQueue(queue), {"task": handler}, concurrency=1, on_failure=letters
        )
        await pool.start()
        job_id = (await queue.enqueue({"name": "task", "kwargs": {}})).unwrap()
        await asyncio.wait_for(letters.begun.wait(), 10)
        await pool.stop(0.0)
        assert len(letters.letters) == 1
        job = await queue.get_job(job_id)
        assert job is not None
        assert job.status == "failed"

    asyncio.run(main())


def test_a_message_whose_start_is_still_being_told_is_given_back() -> None:
    telling = asyncio.Event()
    handled: list[str] = []

    async def handler(message: Message) -> None:
        handled.append(message.id)

    async def main() -> None:
        queue = MemoryQueue()
        here = asyncio.get_running_loop()

        def slow(_: WorkerHook) -> None:
            here.call_soon_threadsafe(telling.set)
            time.sleep(0.5)

        end = subscribe(WorkerHook, slow)
        try:
            pool = WorkerPool("test", ForeignQueue(queue), {"task": handler}, concurrency=1)
            await pool.start()
            await queue.enqueue({"name": "task", "kwargs": {}})
            await asyncio.wait_for(telling.wait(), 10)
            await pool.stop(0.0)
        finally:
            end()
        assert handled == []
        assert await queue.get_task_count() == 1

    asyncio.run(main())


class BlockingQueue:
    """Hands out its one message a little later, from a thread."""

    def __init__(self) -> None:
        self.given_back: list[bool] = []
        self.asked = 0

    def enqueue(self, task: Any) -> str:
        return "id"

    def dequeue(self) -> Any:
        self.asked += 1
        time.sleep(0.3)
        return {"id": "only one", "name": "task", "kwargs": {}} if self.asked == 1 else None

    def nack(self, task_id: str, requeue: bool = True) -> None:
        self.given_back.append(requeue)


def test_a_message_that_the_queue_hands_out_while_the_pool_stops_goes_back() -> None:
    async def handler(_: Message) -> None:
        raise AssertionError

    async def main() -> None:
        queue = BlockingQueue()
        pool = WorkerPool("test", ForeignQueue(queue), {"task": handler}, concurrency=1)
        await pool.start()
        await asyncio.sleep(0.1)
        await pool.stop(0.0)
        assert queue.given_back == [True]

    asyncio.run(main())


def test_a_message_that_waits_for_its_next_try_survives_the_end_of_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = MemoryQueue()

    async def handler(_: Message) -> None:
        raise TimeoutError("for now")

    async def main() -> None:
        pool = WorkerPool("test", ForeignQueue(queue), {"task": handler}, concurrency=1)
        await pool.start()
        await queue.enqueue({"name": "task", "kwargs": {}})
        await until(lambda: bool(pool._messages.under_way()))  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(message_work, "FIRST_RETRY_SECONDS", 30.0)
    asyncio.run(main())
    assert asyncio.run(queue.get_task_count()) == 1


def test_one_pool_works_in_one_event_loop_after_another_with_or_without_stop() -> None:
    handled: list[int] = []

    async def handler(message: Message) -> None:
        handled.append(message.kwargs["n"])

    queue = ForeignQueue(MemoryQueue())
    pool = WorkerPool("test", queue, {"task": handler}, concurrency=2)

    async def turn(number: int) -> None:
        await pool.start()
        await queue.enqueue("task", {"n": number})
        pool.wake()
        await until(lambda: number in handled)

    for number in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(turn(number))
        if number == 0:  # Closed with all its tasks pending.
            loop.close()
            assert not pool.running
            assert pool.active == 0
        elif number == 1:
            loop.run_until_complete(pool.stop(1.0))
            loop.close()
        else:
            asyncio.run(pool.stop(1.0))  # From another one, while its own is at rest.
            assert not pool.running
            loop.run_until_complete(asyncio.sleep(0.05))
            assert not asyncio.all_tasks(loop)
            loop.close()


def test_stop_and_wake_from_another_thread_reach_the_pool() -> None:
    async def handler(_: Message) -> None:
        return

    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        pool = WorkerPool("test", ForeignQueue(MemoryQueue()), {"task": handler}, concurrency=2)
        await pool.start()
        await asyncio.to_thread(pool.wake)
        await asyncio.to_thread(lambda: asyncio.run(pool.stop(1.0)))
        assert not pool.running

    asyncio.run(main())


def test_whoever_is_told_of_a_failure_may_stop_the_pool() -> None:
    stopped: list[float] = []

    async def handler(_: Message) -> None:
        raise UsageError("bad input")

    async def main() -> None:
        ended = asyncio.Event()

        async def told(_job: object, _error: str) -> None:
            began = time.monotonic()
            await pool.stop(20.0)
            stopped.append(time.monotonic() - began)
            ended.set()

        queue = MemoryQueue()
        pool = WorkerPool(
            "test", ForeignQueue(queue), {"task": handler}, concurrency=2, on_failure=told
        )
        await pool.start()
        await queue.enqueue({"name": "task", "kwargs": {}})
        await asyncio.wait_for(ended.wait(), 15)
        await until(lambda: not pool.running and pool.active == 0)

    asyncio.run(main())
    assert stopped[0] < 5.0


def test_a_pool_started_again_while_it_drains_has_its_concurrency_and_stops() -> None:
    async def main() -> None:
        going_on = asyncio.Event()
        begun: list[str] = []

        async def handler(message: Message) -> None:
            begun.append(message.id)
            await going_on.wait()

        queue = MemoryQueue()
        pool = WorkerPool("test", ForeignQueue(queue), {"task": handler}, concurrency=1)
        await pool.start()
        await queue.enqueue({"name": "task", "kwargs": {"n": 1}})
        await until(lambda: len(begun) == 1)
        stopping = asyncio.create_task(pool.stop(10.0))
        await asyncio.sleep(0.05)
        await pool.start()
        assert pool.running
        going_on.set()
        await stopping
        assert pool.running
        await queue.enqueue({"name": "task", "kwargs": {"n": 2}})
        await until(lambda: len(begun) == 2)
        await pool.stop(5.0)
        assert not pool.running
        assert [task.get_name() for task in asyncio.all_tasks() if "test" in task.get_name()] == []

    asyncio.run(main())


@pytest.mark.parametrize("ends", ["well", "badly", "unknown"])
def test_a_double_that_hands_out_one_message_for_ever_is_asked_now_and_then(ends: str) -> None:
    async def handler(_: Message) -> None:
        if ends == "badly":
            raise UsageError("bad input")

    async def main() -> None:
        job = MagicMock(id="one", kwargs={}, args=(), max_retries=0, timeout=None)
        job.name = "nobody's" if ends == "unknown" else "task"
        queue = AsyncMock()
        queue.dequeue = AsyncMock(return_value=job)
        pool = WorkerPool("test", ForeignQueue(queue), {"task": handler}, concurrency=1)
        await pool.start()
        await asyncio.sleep(1.0)
        await pool.stop(1.0)
        assert queue.dequeue.await_count < 40

    asyncio.run(main())


def test_dead_letters_that_cannot_be_told_now_are_told_again_and_no_failure_is_lost() -> None:
    async def handler(_: Message) -> None:
        raise UsageError("bad input")

    async def main() -> None:
        letters = AsyncMock()
        letters.add_failed_job = AsyncMock(side_effect=[ConnectionError("down"), None])
        queue = MemoryQueue()
        pool = WorkerPool(
            "test", ForeignQueue(queue), {"task": handler}, concurrency=1, on_failure=letters
        )
        await pool.start()
        job_id = (await queue.enqueue({"name": "task", "kwargs": {}})).unwrap()
        await until(lambda: letters.add_failed_job.await_count == 2)
        await pool.stop(5.0)
        job = await queue.get_job(job_id)
        assert job is not None
        assert job.status == "failed"

    asyncio.run(main())


def test_a_handler_that_exits_fails_its_job_and_no_other() -> None:
    failed: list[str] = []
    handled: list[int] = []

    async def handler(message: Message) -> None:
        if message.kwargs["n"] == 0:
            raise SystemExit(3)
        handled.append(message.kwargs["n"])

    async def work(_: WorkerPool, queue: ForeignQueue) -> None:
        for number in range(2):
            await queue.enqueue("task", {"n": number})
        await until(lambda: handled == [1] and len(failed) == 1)

    def told(_job: object, error: str) -> None:
        failed.append(error)

    asyncio.run(with_pool(handler, work, on_failure=told))
    assert "called exit (3)" in failed[0]
