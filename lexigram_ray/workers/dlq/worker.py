"""`DeadLetterQueueWorker`: failed jobs, their retries, and what nobody retries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.workers.constants import (
    DEFAULT_BASE_BACKOFF,
    DEFAULT_CHECK_INTERVAL,
    DEFAULT_MAX_RETRIES,
)
from lexigram_ray.workers.dlq._books import BookMaker, config_of, is_of_store, sum_of
from lexigram_ray.workers.dlq.classifier import ErrorClassifier
from lexigram_ray.workers.protocols import HealthCheckResult, HealthStatus
from lexigram_ray.workers.types import DLQItem, DLQStats

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.workers.dlq._books import Book
    from lexigram_ray.workers.dlq._telling import NotificationHandler
    from lexigram_ray.workers.protocols import JobProtocol, TaskQueueProtocol

__all__ = ["DeadLetterQueueWorker", "ErrorClassifier"]

logger = logging.getLogger("lexigram_ray")


class DeadLetterQueueWorker:
    """Keeps failed jobs, tries them again in their time, and tells of those that nobody retries.

    Without a queue it sees to the dead letters of the store: they outlive every process, any number
    of workers and `lexigram-ray up` see to them at once, and an id is a job's or a letter's. With a
    queue of your own it keeps the failed jobs of that queue in this process, and hands them to it
    again as they were. Failures reach it as the `on_failure` of a worker, or by `add_failed_job`.

    A failure waits between half of and the whole of `base_backoff * 2**retries` seconds, an hour at
    most, and as long as a server asks for; one whose cause is unknown, too, and three times at
    most. What is permanent, or caused by the input, waits for a person (`retry_item`).

    Args:
        main_queue: Where jobs came from, and go again; None for the store.
        dlq_queue: Is sent failed jobs as well: of a queue when they fail first, of the store when
            nobody retries them.
        worker_id: Names the worker; those of one id share what they have told of the store.
        check_interval: Most seconds between two looks.
        max_retries: Automatic retries of a failure that may pass.
        base_backoff: Seconds before the first of them.
        config: The configuration, or its file instead of ./application.yaml. With it, and always
            of the store, what is left at its default above is as `ai_workers.dead_letters` says.
        state: Where all state is kept, instead of where the configuration says.
        drain_seconds: How long `stop` waits for what is under way.

    Attributes:
        dead_letter_count: Failures that `add_failed_job` has taken.

    Raises:
        UsageError: A number is out of range.
        ConfigError: A setting is unknown or wrong.
    """

    def __init__(
        self,
        main_queue: TaskQueueProtocol | Any = None,
        dlq_queue: TaskQueueProtocol | Any = None,
        worker_id: str = "dlq",
        check_interval: int = DEFAULT_CHECK_INTERVAL,
        max_retries: int = DEFAULT_MAX_RETRIES,
        base_backoff: int = DEFAULT_BASE_BACKOFF,
        *,
        config: WorkersConfig | Path | str | None = None,
        state: Path | str | None = None,
        drain_seconds: float = 30.0,
    ) -> None:
        self.main_queue = main_queue
        self.dlq_queue = dlq_queue
        self.worker_id = worker_id
        self.check_interval = check_interval
        self.max_retries = max_retries
        self.base_backoff = base_backoff
        self.dead_letter_count = 0
        self._drain_seconds = drain_seconds
        self._handler: NotificationHandler | None = None
        self._maker = BookMaker(
            worker_id=worker_id,
            dlq_queue=dlq_queue,
            check_interval=check_interval,
            max_retries=max_retries,
            base_backoff=base_backoff,
            config=config_of(main_queue, config, state),
        )
        self._is_durable = is_of_store(main_queue)
        first = self._maker.of_store() if self._is_durable else self._maker.of_queue(main_queue)
        self._books: list[Book] = [first]

    # -- Running -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to retry what is due, and to tell of what nobody retries.

        Does nothing where it does so already.

        Raises:
            StoreUnreachableError: The store cannot be opened.
        """
        for book in self._books:
            await book.start()
        logger.info("dead-letter worker %s is running", self.worker_id)

    async def stop(self) -> None:
        """Begin nothing any more, and let what is under way come to its end. Nothing is lost."""
        await asyncio.gather(*(book.stop(self._drain_seconds) for book in self._books))
        logger.info("dead-letter worker %s has stopped", self.worker_id)

    def set_notification_handler(self, handler: Callable[[DLQItem], Any]) -> None:
        """Set who is told of failures that nobody will retry, while the worker runs.

        Args:
            handler: A function or coroutine function. It takes an item by returning; when it raises
                that is logged, and it is called with the item again later.
        """
        self._handler = handler
        for book in self._books:
            book.teller.handler = handler

    # -- Items -------------------------------------------------------------------------------------

    async def add_failed_job(
        self, job: JobProtocol | Any, error: str, *, queue: TaskQueueProtocol | Any = None
    ) -> None:
        """Keep a job that has failed; one that failed before counts up, with its newest cause.

        Args:
            job: As its queue has it: an object with `id`, `name`, `args`, `kwargs` and `priority`,
                or a mapping with such keys. Of the store, a job that it knows: it records failures
                of its jobs itself, and this adds none to those.
            error: Why it failed, in words; an exception tells more.
            queue: Where the job came from and goes again where there is no `main_queue`; workers
                whose `on_failure` this object is say it.

        Raises:
            DLQError: It has no id or name, or the store does not know it.
        """
        await (await self._book_of(queue)).add(job, error)
        self.dead_letter_count += 1

    async def job_succeeded(self, job_id: str, job: JobProtocol | Any = None) -> bool:
        """Let go of the item of a job that was done after all.

        Args:
            job_id: Of the job, or of its retry.
            job: As it was delivered: a queue that gives no ids is known by what it delivers.

        Returns:
            Whether there was an item. The store closes its letters itself: False.
        """
        return any([await book.succeeded(job_id, job) for book in self._books])

    async def retry_item(self, job_id: str) -> bool:
        """Retry now, whatever the category, the count of retries and the time.

        Nothing is forgotten: the item is there until its job was done.

        Args:
            job_id: Of a job; of the store's, all its open letters, or the id of one letter.

        Returns:
            Whether a retry was begun: False where there is no such item, it is archived or being
            retried, or the queue did not take it.
        """
        is_begun = any([await book.retry(str(job_id)) for book in self._books])
        if not is_begun:
            logger.warning(
                "job %s is not retried: it is unknown, archived, being retried or refused", job_id
            )
        return is_begun

    async def remove_item(self, job_id: str) -> bool:
        """Delete an item for good, but of the store none that is being retried.

        Args:
            job_id: As for `retry_item`.

        Returns:
            Whether there was one.
        """
        return any([await book.remove(str(job_id)) for book in self._books])

    async def archive_item(self, job_id: str) -> bool:
        """Mark an item as failed for good: it stays to be seen, and nobody retries it.

        Args:
            job_id: As for `retry_item`.

        Returns:
            Whether there was one; of the store's, whether one was open.
        """
        return any([await book.archive(str(job_id)) for book in self._books])

    async def get_items(
        self, category: FailureCategory | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return items as `DLQItem.to_dict` shows them, newest failure first.

        Args:
            category: Only those whose last failure is of this one; archived ones are permanent.
            limit: So many at most.
        """
        wanted = None if category is None else FailureCategory(category)
        listed = [item for book in self._books for item in await book.listed(wanted, limit)]
        if len(self._books) > 1:
            listed.sort(key=lambda item: item.last_failure, reverse=True)
        return [item.to_dict() for item in listed[: max(0, limit)]]

    async def get_stats(self) -> DLQStats:
        """Count the items that are there, and what became of them.

        Of a queue, what was retried, archived and deleted is counted since this object was made; of
        the store, letters that were retried or archived, whoever did it.
        """
        return sum_of([await book.stats() for book in self._books])

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        """Say how the worker is.

        Args:
            timeout: Most seconds that this takes.

        Returns:
            `unhealthy` where it does not run, `healthy` where it does and its queue or store
            answers in time, else `degraded`, with the error. The statistics are its details.
        """
        started = time.monotonic()
        details: dict[str, Any] = {}
        error: str | None = None
        try:
            async with asyncio.timeout(max(0.0, timeout)):
                details = (await self.get_stats()).to_dict()
                for book in self._books:
                    await book.probe()
        except TimeoutError:
            error = f"no answer within {timeout:g} s"
        except Exception as failed:  # noqa: BLE001 - a check tells, and does not raise
            error = error_text(failed)
        is_running = self._books[0].running
        status = HealthStatus.UNHEALTHY
        if is_running:
            status = HealthStatus.HEALTHY if error is None else HealthStatus.DEGRADED
        return HealthCheckResult(
            component=f"worker.dlq.{self.worker_id}",
            status=status,
            message=None if is_running else "not running",
            error=error,
            duration_ms=(time.monotonic() - started) * 1000,
            details=details,
            checked_at=datetime.now(UTC),
        )

    async def _book_of(self, queue: object | None) -> Book:
        """Return where the failures of a queue are kept.

        Workers without a queue of their own, but with a store or a model of their user's, have one
        in memory: where no `main_queue` was given, its failures go back there, and nowhere else.
        """
        from lexigram_ray.workers._durable_queue import DurableTaskQueue

        first = self._books[0]
        if queue is None or not self._is_durable or isinstance(queue, DurableTaskQueue):
            return first
        known = next((book for book in self._books if book.main_queue is queue), None)
        if known is not None:
            return known
        book = self._maker.of_queue(queue)
        book.teller.handler = self._handler
        self._books.append(book)
        if first.running:
            await book.start()
        return book
