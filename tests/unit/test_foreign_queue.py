"""Queues of other code, and doubles of them: messages in, messages out, never a nonsense id."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle
import weakref
from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import AsyncMock, MagicMock
from uuid import UUID

import pytest

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.result import Err, Ok
from lexigram_ray.jobs.foreign_queue import ForeignQueue
from lexigram_ray.jobs.memory_queue import MemoryQueue

TASK: dict[str, Any] = {"name": "batch_embed", "args": (), "kwargs": {"n": 1}, "priority": 2}


class ListQueue:
    """Gives back the tasks as they were sent, plain and synchronous, with ids of its own."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.told: list[tuple[str, str]] = []

    def enqueue(self, task: dict[str, Any]) -> Ok[str, Exception]:
        self.tasks.append(task)
        return Ok(f"list-{len(self.tasks)}")

    def dequeue(self) -> dict[str, Any] | None:
        return self.tasks.pop(0) if self.tasks else None

    def ack(self, task_id: str) -> None:
        self.told.append(("ack", task_id))

    def nack(self, task_id: str) -> None:
        self.told.append(("nack", task_id))


@dataclass
class Job:
    """The reference's shape of a job."""

    id: object
    name: str
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    priority: int = 0
    timeout: float | None = None


def sent(queue: object) -> str:
    return asyncio.run(ForeignQueue(queue).enqueue("batch_embed", {"n": 1}, 2))


def test_what_is_sent_is_the_references_task() -> None:
    queue = AsyncMock()
    queue.enqueue.return_value = Ok("job-1")
    assert sent(queue) == "job-1"
    queue.enqueue.assert_awaited_once_with(TASK)


@pytest.mark.parametrize("answer", [Ok("job-1"), "job-1", Job("job-1", "x"), {"id": "job-1"}])
def test_an_id_is_found_in_whatever_a_queue_answers(answer: object) -> None:
    queue = AsyncMock()
    queue.enqueue.return_value = answer
    assert sent(queue) == "job-1"


def test_a_result_of_another_library_is_unwrapped_by_its_shape() -> None:
    result = MagicMock()
    result.is_err.return_value = False
    result.unwrap.return_value = "job-1"
    queue = MagicMock()
    queue.enqueue.return_value = result
    assert sent(queue) == "job-1"


@pytest.mark.parametrize("queue", [AsyncMock(), MagicMock()])
def test_a_double_that_answers_nonsense_gets_ids_that_are_texts(queue: Any) -> None:
    assert len(sent(queue)) == 36
    assert sent(queue) != sent(queue)


def test_a_queue_that_refuses_is_an_error_with_its_cause() -> None:
    queue = AsyncMock()
    queue.enqueue.return_value = Err(RuntimeError("full"))
    with pytest.raises(WorkerError, match="full") as caught:
        sent(queue)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("queue", [AsyncMock(), MagicMock(), Job(1, "no queue")])
def test_what_a_double_hands_out_is_no_message(queue: Any) -> None:
    assert asyncio.run(ForeignQueue(queue).dequeue()) is None
    assert asyncio.run(ForeignQueue(queue).count()) is None


def test_a_task_that_comes_back_without_an_id_has_the_one_that_its_sender_was_told() -> None:
    async def run() -> None:
        queue = ForeignQueue(ListQueue())
        job_id = await queue.enqueue("batch_embed", {"n": 1})
        message = await queue.dequeue()
        assert message is not None
        assert (message.id, message.name, message.kwargs) == (job_id, "batch_embed", {"n": 1})
        assert await queue.nack(message, requeue=True)
        # Its nack takes no `requeue`, and would only deliver the message again.
        assert await queue.nack(message, requeue=False)
        told = cast("ListQueue", queue.queue).told
        assert told == [("nack", job_id), ("ack", job_id)]

    asyncio.run(run())


def test_a_task_delivered_before_its_sender_knows_the_id_has_one_id_for_both() -> None:
    class Slow:
        def __init__(self) -> None:
            self.task: object = None
            self.taken = asyncio.Event()

        async def enqueue(self, task: object) -> None:
            self.task = task
            await self.taken.wait()

        async def dequeue(self) -> object:
            self.taken.set()
            return self.task

    async def run() -> tuple[str, str]:
        queue = ForeignQueue(Slow())
        sending = asyncio.create_task(queue.enqueue("batch_embed", {}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        message = await queue.dequeue()
        assert message is not None
        return await sending, message.id

    told, delivered = asyncio.run(run())
    assert told == delivered


def test_the_same_message_of_another_sender_has_the_same_id_each_time() -> None:
    queue = AsyncMock()
    queue.dequeue.side_effect = [dict(TASK), dict(TASK), {**TASK, "kwargs": {"n": 2}}]

    async def ids() -> list[str]:
        wrapped = ForeignQueue(queue)
        messages = [await wrapped.dequeue() for _ in range(3)]
        return [message.id for message in messages if message is not None]

    first, again, other = asyncio.run(ids())
    assert first == again != other


def test_an_id_that_is_no_text_goes_back_to_the_queue_as_it_was() -> None:
    own = UUID(int=7)
    queue = AsyncMock()
    queue.dequeue.return_value = Ok(Job(own, "batch_embed", timeout=3))

    async def run() -> None:
        wrapped = ForeignQueue(queue)
        message = await wrapped.dequeue()
        assert message is not None
        assert (message.id, message.timeout) == (str(own), 3.0)
        await wrapped.nack(message, requeue=True)

    asyncio.run(run())
    queue.nack.assert_awaited_once_with(own, requeue=True)


def test_the_queue_in_memory_hands_out_higher_priorities_first_and_older_ones_among_equals() -> (
    None
):
    async def run() -> list[str]:
        queue = MemoryQueue()
        for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
            assert (await queue.enqueue({"name": name, "kwargs": {}, "priority": priority})).is_ok()
        taken: list[str] = []
        while (job := await queue.dequeue()) is not None:
            taken.append(job.name)
            await queue.ack(job.id)
        return taken

    assert asyncio.run(run()) == ["b", "d", "a", "c"]


def test_a_task_that_is_given_back_waits_at_its_old_place_until_it_has_ended() -> None:
    async def run() -> None:
        queue = MemoryQueue()
        first = (await queue.enqueue({"name": "first", "kwargs": {"a": 1}})).unwrap()
        await queue.enqueue({"name": "second"})
        job = await queue.dequeue()
        assert job is not None
        assert await queue.get_task_count() == 1
        await queue.nack(job.id, requeue=True)
        again = await queue.dequeue()
        assert again == job
        await queue.nack(first, requeue=False)
        ended = await queue.get_job(first)
        assert ended is not None
        assert (ended.status, await queue.get_task_count()) == ("failed", 1)
        assert await queue.count("any", "failed") == 1
        assert await queue.delete_job(first)
        assert not await queue.delete_job(first)
        await queue.clear()
        assert await queue.dequeue() is None

    asyncio.run(run())


def test_what_is_sent_is_not_held_once_the_queue_has_let_go_of_it() -> None:
    class Texts(list[str]):
        """That can be watched."""

    async def main() -> None:
        memory = MemoryQueue()
        queue = ForeignQueue(memory)
        texts = Texts(["text"])
        watched = weakref.ref(texts)
        await queue.enqueue("batch_embed", {"chunks": texts})
        del texts
        message = await queue.dequeue()
        assert message is not None
        await queue.ack(message)
        await memory.clear()
        del message
        gc.collect()
        assert watched() is None

    asyncio.run(main())


def test_what_is_sent_is_a_plain_mapping_to_those_who_copy_it() -> None:
    sent: list[Any] = []

    class Queue:
        async def enqueue(self, task: Any) -> str:
            sent.append(task)
            return "id"

    asyncio.run(ForeignQueue(Queue()).enqueue("t", {"a": 1}))
    plain = {"name": "t", "args": (), "kwargs": {"a": 1}, "priority": 0}
    assert sent == [plain]
    assert json.loads(json.dumps(sent[0])) == plain | {"args": []}
    for copied in (pickle.loads(pickle.dumps(sent[0])), copy.deepcopy(sent[0])):
        assert type(copied) is dict
        assert copied == plain


def test_a_refusal_is_a_runtime_error_as_the_references_is() -> None:
    class Full:
        async def enqueue(self, _: Any) -> Err[None, RuntimeError]:
            return Err(RuntimeError("full"))

    with pytest.raises(RuntimeError, match="Failed to enqueue embedding job: full"):
        asyncio.run(ForeignQueue(Full()).enqueue("batch_embed", {}))
