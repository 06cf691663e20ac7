"""One queue for several workers: each gets the tasks that are for it."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from lexigram_ray.jobs.awaiting import resolved
from lexigram_ray.jobs.foreign_queue import ForeignQueue, Message

__all__ = ["QueueShare", "SharedQueue"]

logger = logging.getLogger("lexigram_ray")

MOST_HELD = 8
"""Tasks for another worker that are held in this process until it takes them."""


class SharedQueue:
    """A queue that knows nothing of workers, shared out by the names of its tasks.

    What one worker takes and is for another is held for that one; so that a long queue of one kind
    is not emptied into this process, nothing more is taken while that worker is that much behind.

    Args:
        queue: Of other code, or of this process.
    """

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self._messages = ForeignQueue(queue)
        self._held: dict[str, deque[Message]] = {}

    def share_of(self, name: str) -> QueueShare:
        """Return the queue as it is for the worker that does tasks of this name."""
        self._held.setdefault(name, deque())
        return QueueShare(self, name)

    async def take(self, name: str) -> Any:
        """Take the next task for the worker of `name`, as the queue gave it; None for none.

        A task that is for none of the workers goes to whoever finds it: it is that one's failure.
        """
        while not self._held[name]:
            if any(len(held) >= MOST_HELD for held in self._held.values()):
                return None
            message = await self._messages.dequeue()
            if message is None:
                return None
            if message.name == name or message.name not in self._held:
                return message.raw
            self._held[message.name].append(message)
        return self._held[name].popleft().raw

    async def give_back(self) -> None:
        """Have the queue deliver again what is held and was taken by nobody."""
        for held in self._held.values():
            while held:
                message = held.popleft()
                if not await self._messages.nack(message, requeue=True):
                    await resolved(self.queue.enqueue(message.raw))


class QueueShare:
    """A queue as one worker sees it: all is the queue's own but what comes out of it.

    Attributes:
        shared: The queue itself.
    """

    def __init__(self, source: SharedQueue, name: str) -> None:
        self.shared = source.queue
        if callable(getattr(source.queue, "dequeue", None)):

            async def dequeue() -> Any:
                return await source.take(name)

            self.dequeue = dequeue

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shared, name)
