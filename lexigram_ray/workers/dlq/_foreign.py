"""Failed jobs of a queue that lives only in this process, and the loop that sees to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_queue import ForeignQueue, unwrapped
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.jobs.retry_policy import RetryPolicy
from lexigram_ray.workers.dlq._items import FailedItems, Sending
from lexigram_ray.workers.dlq._sending import QUEUE_SECONDS, send_dead
from lexigram_ray.workers.dlq._tasks import task_of
from lexigram_ray.workers.dlq._telling import Teller
from lexigram_ray.workers.types import DLQItem, DLQStats

__all__ = ["ForeignLetters"]

SHORTEST_PAUSE_SECONDS = 0.02

TELLING_SECONDS = 2.0
"""Between the end of a job in the queue and the word of whoever worked on it, at most."""

logger = logging.getLogger("lexigram_ray")


class ForeignLetters:
    """Keeps failed jobs in this process, and hands them to their queue again.

    Args:
        main_queue: Where retries go.
        dlq_queue: Is sent each job when it fails first; None for nobody.
        name: For the log.
        check_interval: Most seconds between two looks.
        policy: Whether and when jobs are retried.
        clock: Returns seconds since the epoch.
        jitter: Returns numbers between 0 and 1.
    """

    def __init__(
        self,
        main_queue: object,
        dlq_queue: object | None,
        *,
        name: str,
        check_interval: float,
        policy: RetryPolicy,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.main_queue = main_queue
        self.teller = Teller()
        self._main = ForeignQueue(main_queue)
        self._dlq_queue = dlq_queue
        self._name = name
        self._check_interval = check_interval
        self._items = FailedItems(policy, clock=clock, jitter=jitter)
        self._loop: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()
        self._seen_failed: dict[tuple[str, str], float] = {}

    @property
    def running(self) -> bool:
        """Whether it looks for what is due."""
        return self._loop is not None and not self._loop.done() and not self._stopping.is_set()

    # -- Running -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to look; does nothing where it does so already."""
        if self.running:
            return
        # Of this event loop: it may be started again in another one.
        self._stopping, self._woken = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.create_task(self._look_on(), name=self._name)

    async def stop(self, drain_seconds: float) -> None:
        """Begin nothing any more, and let the look that is under way come to its end."""
        self._stopping.set()
        self._woken.set()
        if self._loop is not None:
            await asyncio.wait({self._loop}, timeout=max(0.0, drain_seconds))
            self._loop.cancel()
            await asyncio.wait({self._loop}, timeout=1.0)
            self._loop = None

    async def probe(self) -> None:
        """Ask the queue for something.

        Raises:
            Exception: Whatever the queue raised.
        """
        await self._main.count()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    # -- Items -------------------------------------------------------------------------------------

    async def add(self, job: object, error: str | BaseException) -> None:
        """Keep a failed job; see `DeadLetterQueueWorker.add_failed_job`."""
        task = task_of(job)
        words = error_text(error) if isinstance(error, BaseException) else error
        item, is_new = self._items.failed(job, task, words)
        logger.info(
            "job %s has failed (%s, %d times): %s",
            item.job_id,
            item.failure_category.value,
            item.failure_count,
            item.last_error,
        )
        self.wake()
        if is_new and self._dlq_queue is not None:
            try:
                await send_dead(self._dlq_queue, item)
            except Exception as refusal:  # noqa: BLE001 - the item is kept here all the same
                logger.warning("the dead-letter queue has not taken job %s: %r", task.id, refusal)

    async def succeeded(self, job_id: str, job: object = None) -> bool:
        """Let go of the item of a job that was done; return whether there was one."""
        return self._items.succeeded(job_id, None if job is None else task_of(job))

    async def retry(self, job_id: str) -> bool:
        """Hand an item to the queue now; return whether the queue has taken it."""
        sending = self._items.begin(job_id, asked=True)
        return sending is not None and await self._send(sending)

    async def remove(self, job_id: str) -> bool:
        """Forget an item; return whether there was one."""
        return self._items.remove(job_id)

    async def archive(self, job_id: str) -> bool:
        """Mark an item as failed for good; return whether there was one."""
        return self._items.archive(job_id)

    async def listed(self, category: FailureCategory | None, limit: int) -> list[DLQItem]:
        """Return items, newest failure first."""
        return self._items.listed(category, limit)

    async def stats(self) -> DLQStats:
        """Count the items."""
        return self._items.stats()

    # -- The loop ----------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                await self._look()
            except Exception:
                # Whatever it is, it may pass; nobody else looks.
                logger.exception("%s looks again", self._name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._pause_seconds())

    async def _look(self) -> None:
        await self._ask_for_ends()
        for key in self._items.due():
            if self._stopping.is_set():
                return
            sending = self._items.begin(key, asked=False)
            if sending is not None:
                await self._send(sending)
        untold = [(f"{item.job_id}:{item.failure_count}", item) for item in self._items.untold()]
        self.teller.forget(but={key for key, _ in untold})
        for key, item in untold:
            if self._stopping.is_set():
                return
            failures = item.failure_count
            if await self.teller.tell(key, item):
                self._items.told(item, failures)

    def _pause_seconds(self) -> float:
        soon = [self._items.seconds_to_next(), self.teller.seconds_to_next()]
        soonest = min((each for each in soon if each is not None), default=self._check_interval)
        return max(SHORTEST_PAUSE_SECONDS, min(soonest, self._check_interval))

    async def _send(self, sending: Sending) -> bool:
        task = sending.task
        try:
            queue_id = await asyncio.wait_for(
                self._main.enqueue(task.name, task.kwargs, task.priority, args=task.args),
                QUEUE_SECONDS,
            )
        except asyncio.CancelledError:
            self._items.refused(sending)
            raise
        except Exception as error:  # noqa: BLE001 - the item stays, and its time comes again
            logger.warning("the queue has not taken job %s: %r", sending.key, error)
            self._items.refused(sending)
            return False
        self._items.sent(sending, queue_id)
        logger.info("job %s is retried as %s", sending.key, queue_id)
        return True

    async def _ask_for_ends(self) -> None:
        """Ask a queue that can tell how retries ended; others report it, or nobody does."""
        get_job = getattr(self._main.queue, "get_job", None)
        if not callable(get_job):
            return
        under_way = self._items.under_way()
        self._seen_failed = {
            each: self._seen_failed[each] for each in under_way if each in self._seen_failed
        }
        for each in under_way:
            key, queue_id = each
            try:
                answer = await asyncio.wait_for(call(get_job, queue_id), QUEUE_SECONDS)
                found: Any = unwrapped(answer)
            except Exception as error:  # noqa: BLE001 - it need not tell
                logger.debug("the queue does not tell of job %s: %r", queue_id, error)
                return
            status = getattr(found, "status", None)
            if status == "completed":
                self._items.succeeded(key)
            elif status == "failed" and self._is_failed_for_a_while(each):
                self._items.failed_unheard(key, queue_id, _error_of(found))

    def _is_failed_for_a_while(self, retry: tuple[str, str]) -> bool:
        # Whoever worked on it is about to say why.
        now = time.monotonic()
        return now - self._seen_failed.setdefault(retry, now) >= TELLING_SECONDS


def _error_of(job: object) -> str:
    said = getattr(job, "error", None)
    return said if isinstance(said, str) and said else "its retry has failed, and nobody said why"
