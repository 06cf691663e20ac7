"""One queue for several workers: each gets its own tasks, and none is lost between them."""

from __future__ import annotations

import asyncio
from typing import Any

from lexigram_ray.jobs.foreign_queue import ForeignQueue
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.workers.di._sharing import MOST_HELD, SharedQueue


def task(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "args": (), "kwargs": {"number": number}, "priority": 0}


async def filled(*names: str) -> tuple[SharedQueue, MemoryQueue]:
    queue = MemoryQueue()
    for number, name in enumerate(names):
        await queue.enqueue(task(name, number))
    return SharedQueue(queue), queue


async def taken(share: Any) -> list[int]:
    messages = ForeignQueue(share)
    numbers: list[int] = []
    while (message := await messages.dequeue()) is not None:
        numbers.append(message.kwargs["number"])
        await messages.ack(message)
    return numbers


def test_each_worker_gets_the_tasks_of_its_name_in_their_order() -> None:
    async def live() -> tuple[list[int], list[int], int]:
        shared, queue = await filled("a", "b", "b", "a", "b")
        one, other = shared.share_of("a"), shared.share_of("b")
        return await taken(one), await taken(other), await queue.get_task_count()

    assert asyncio.run(live()) == ([0, 3], [1, 2, 4], 0)


def test_a_long_queue_for_one_worker_is_not_emptied_by_another() -> None:
    async def live() -> tuple[list[int], int, list[int]]:
        shared, queue = await filled(*["b"] * 50, "a")
        one, other = shared.share_of("a"), shared.share_of("b")
        return await taken(one), await queue.get_task_count(), await taken(other)

    first, left, second = asyncio.run(live())

    assert first == []
    assert left == 51 - MOST_HELD
    assert second == list(range(50))


def test_what_nobody_has_taken_is_delivered_again() -> None:
    async def live() -> tuple[list[int], list[int]]:
        shared, queue = await filled("b", "b", "a")
        one = shared.share_of("a")
        shared.share_of("b")
        mine = await taken(one)
        await shared.give_back()
        return mine, sorted(await taken(queue))

    assert asyncio.run(live()) == ([2], [0, 1])


def test_a_task_of_another_name_goes_to_whoever_finds_it() -> None:
    async def live() -> list[int]:
        shared, _ = await filled("c")
        one = shared.share_of("a")
        shared.share_of("b")
        return await taken(one)

    assert asyncio.run(live()) == [0]


def test_a_queue_that_can_only_be_sent_to_is_shared_as_that() -> None:
    class Outbox:
        def __init__(self) -> None:
            self.sent: list[Any] = []

        async def enqueue(self, task: Any) -> str:
            self.sent.append(task)
            return "job-1"

    outbox = Outbox()
    messages = ForeignQueue(SharedQueue(outbox).share_of("a"))

    assert messages.can_deliver is False
    assert asyncio.run(messages.enqueue("a", {"number": 1})) == "job-1"
    assert outbox.sent[0]["kwargs"] == {"number": 1}
