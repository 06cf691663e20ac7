"""A task queue of this process: what stands in where a worker is given no queue, but is foreign."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lexigram_ray.core.ids import new_job_id
from lexigram_ray.core.result import Ok
from lexigram_ray.jobs.foreign_queue import field_of

__all__ = ["MemoryJob", "MemoryQueue"]

MOST_ENDED = 1_000
"""Jobs that have ended and can still be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryJob:
    """A task as the queue holds it.

    Attributes:
        kwargs: Empty of one that is completed.
        status: `pending`, `running`, `completed` or `failed`.
    """

    id: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    priority: int = 0
    status: str = "pending"
    max_retries: int = 3
    timeout: float | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


class MemoryQueue:
    """Hands out tasks by priority, higher first, and older first among equals.

    It is gone with its process. Safe to use from several threads and event loops.
    """

    def __init__(self) -> None:
        self._use = threading.Lock()
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, str]] = []
        self._jobs: dict[str, tuple[MemoryJob, int]] = {}
        self._ended: OrderedDict[str, MemoryJob] = OrderedDict()

    async def enqueue(self, task: Any) -> Ok[str, Exception]:
        """Take a task: a mapping with `name` and `kwargs`, or an object with these attributes."""
        job = _job_of(task)
        with self._use:
            self._jobs[job.id] = (job, next(self._order))
            self._wait(job.id)
        return Ok(job.id)

    async def dequeue(self) -> MemoryJob | None:
        """Hand out the next task; None where none waits."""
        with self._use:
            while self._waiting:
                job_id = heapq.heappop(self._waiting)[2]
                known = self._jobs.get(job_id)
                if known is not None and known[0].status == "pending":
                    return self._now(job_id, "running")
        return None

    async def get_task_count(self) -> int:
        """Return how many tasks wait."""
        return await self.count("")

    async def count(self, queue_name: str = "", status: Any | None = None) -> int:
        """Return how many tasks are in a state.

        Args:
            queue_name: Does not matter: there is one.
            status: `pending` unless given.
        """
        wanted = "pending" if status is None else str(getattr(status, "value", status))
        with self._use:
            now = [job for job, _ in self._jobs.values()]
            return sum(job.status == wanted for job in (*now, *self._ended.values()))

    async def get_job(self, job_id: str) -> MemoryJob | None:
        """Return a task as it is now; one that ended long ago is forgotten."""
        with self._use:
            known = self._jobs.get(job_id)
            return known[0] if known is not None else self._ended.get(job_id)

    async def delete_job(self, job_id: str) -> bool:
        """Forget a task, and return whether there was one."""
        with self._use:
            known = self._jobs.pop(job_id, None)
            return known is not None or self._ended.pop(job_id, None) is not None

    async def ack(self, task_id: str) -> None:
        """Note that a task is done."""
        with self._use:
            self._end(task_id, "completed")

    async def nack(self, task_id: str, requeue: bool = True) -> None:
        """Note that a task has failed; it waits again, at its old place, or has ended."""
        with self._use:
            if not requeue:
                self._end(task_id, "failed")
            elif task_id in self._jobs:
                self._now(task_id, "pending")
                self._wait(task_id)

    async def clear(self) -> None:
        """Forget all tasks."""
        with self._use:
            self._waiting.clear()
            self._jobs.clear()
            self._ended.clear()

    async def close(self) -> None:
        """Do nothing: there is nothing to be let go of."""

    def _wait(self, job_id: str) -> None:
        job, order = self._jobs[job_id]
        heapq.heappush(self._waiting, (-job.priority, order, job_id))

    def _now(self, job_id: str, status: str) -> MemoryJob:
        job, order = self._jobs[job_id]
        job = replace(job, status=status)
        self._jobs[job_id] = (job, order)
        return job

    def _end(self, job_id: str, status: str) -> None:
        if job_id not in self._jobs:
            return
        job = self._now(job_id, status)
        # A job that is done is only looked at: its texts are let go of.
        is_done = status == "completed"
        self._ended[job_id] = replace(job, args=(), kwargs={}) if is_done else job
        del self._jobs[job_id]
        while len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)


def _job_of(task: Any) -> MemoryJob:
    given = partial(field_of, task)

    name = given("name")
    if not isinstance(name, str):
        raise TypeError(f"{type(task).__name__} is no task: it has no name")
    priority, retries, timeout = given("priority"), given("max_retries"), given("timeout")
    return MemoryJob(
        id=str(given("id") or new_job_id()),
        name=name,
        args=tuple(given("args") or ()),
        kwargs=dict(given("kwargs") or {}),
        priority=priority if isinstance(priority, int) else 0,
        max_retries=retries if isinstance(retries, int) else 3,
        timeout=float(timeout) if isinstance(timeout, (int, float)) else None,
        correlation_id=given("correlation_id"),
        causation_id=given("causation_id"),
    )
