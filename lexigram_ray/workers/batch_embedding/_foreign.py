"""Batch embedding with a queue, a provider or a store that live in this process only.

Messages are taken from the queue by tasks of this event loop, executed without Ray, and written to
the store given; where that is ours, as a job of the Store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_queue import ForeignQueue
from lexigram_ray.jobs.foreign_store import ForeignStore, is_foreign
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.jobs.worker_pool import WorkerPool
from lexigram_ray.workers.batch_embedding._messages import EmbeddingMessages
from lexigram_ray.workers.batch_embedding._way import Figures, Look
from lexigram_ray.workers.batch_embedding.cache import EmbeddingCache
from lexigram_ray.workers.batch_embedding.progress import ProgressTracker
from lexigram_ray.workers.batch_embedding.types import (
    BatchEmbeddingJob,
    BatchEmbeddingProgress,
    EmbeddingStatus,
)

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig

__all__ = ["QueuedEmbedding"]

TASK = "batch_embed"
STUCK_SECONDS = 60.0
"""A call of a provider that lasts longer is told by health checks."""


class QueuedEmbedding:
    """Works on the messages of a queue.

    Args:
        store: Of other code; None, or one of ours, for the collections of this package.
        provider: Makes the vectors; None for the configured model.
        queue: Of other code; None for one in memory.
        settings: Returns the configuration; asked where something of ours is used.
        cache: Where vectors are looked up; None for nowhere.
        progress: Where it is kept how far jobs are.
    """

    def __init__(
        self,
        store: object | None,
        provider: object | None,
        queue: object | None,
        *,
        worker_id: str,
        concurrency: int,
        settings: Callable[[], WorkersConfig],
        cache: EmbeddingCache,
        progress: ProgressTracker,
        on_failure: object | None,
        batch_size: int,
    ) -> None:
        self.queue = ForeignQueue(MemoryQueue() if queue is None else queue)
        foreign = is_foreign(store)
        self._asked = (store if foreign else None, provider)
        self._cache = cache
        self._progress = progress
        self._messages = EmbeddingMessages(
            ForeignStore(store) if foreign else None,
            provider,
            settings=settings,
            cache=cache,
            progress=progress,
            batch_size=batch_size,
        )
        self.pool = WorkerPool(
            worker_id,
            self.queue,
            {TASK: self._messages.embed},
            concurrency=concurrency,
            on_failure=on_failure,
            on_retry=self._messages.again,
            on_final=self._messages.failed,
        )

    @property
    def running(self) -> bool:
        """Whether messages are taken."""
        return self.pool.running

    async def start(self) -> None:
        """Begin to take messages."""
        await self.pool.start()

    async def stop(self, drain_seconds: float) -> None:
        """Take no message any more; see `WorkerPool.stop`."""
        await self.pool.stop(drain_seconds)

    async def submit(self, job: BatchEmbeddingJob, priority: int) -> str:
        """Put a job into the queue, and return the id that the queue gave it.

        Raises:
            UsageError: A chunk has no text.
            WorkerError: The queue refused it.
        """
        job_id = await self.queue.enqueue(TASK, job.to_job_kwargs(), priority)
        await self._begin(job_id, len(job.chunks))
        self.pool.wake()
        return job_id

    async def _begin(self, job_id: str, texts: int) -> None:
        # It may have been delivered, and even done, before its id was known here. Some doubles
        # give one id to all.
        known = await self._progress.get_progress(job_id)
        is_other = known is not None and known.total_texts != texts
        is_waiting = known is not None and known.status is EmbeddingStatus.PENDING
        self._progress.begin(job_id, texts, anew=is_other or is_waiting)

    async def progress(self, job_id: str) -> BatchEmbeddingProgress | None:
        """Return how far a job of this process is."""
        return await self._progress.get_progress(job_id)

    def figures(self) -> Figures:
        """Count the jobs of this process."""
        counted = self._progress.get_stats()["jobs_by_status"]
        by_status = {status: counted[status.value] for status in EmbeddingStatus}
        return Figures(active=self.pool.active, by_status=by_status, cached=self._cache.size())

    async def look(self) -> Look:
        """Ask the queue, the store and the provider, as far as they can be asked."""
        if not self.queue.can_deliver:
            kind = type(self.queue.queue).__name__
            return Look(error=f"{kind} has no dequeue: nothing comes from it", works=False)
        await self.queue.count()
        for target in self._asked:
            error = await _unwell(target)
            if error is not None:
                return Look(error=error)
        seconds = self._messages.waiting_seconds
        if seconds > STUCK_SECONDS:
            return Look(error=f"the embedding provider has not answered for {seconds:.0f} s")
        return Look()

    async def clear_cache(self) -> None:
        """Forget all vectors that are kept by text and model name."""
        await self._cache.clear()


async def _unwell(target: object | None) -> str | None:
    """Return what an object's own health check complains of."""
    check = getattr(target, "health_check", None)
    if not callable(check):
        return None
    try:
        result = await call(check)
    except Exception as error:  # noqa: BLE001 - whatever it raised is what is wrong
        return f"{type(target).__name__}: {error_text(error)}"
    status = str(getattr(result, "status", ""))
    if status not in ("unhealthy", "degraded"):
        return None
    error = getattr(result, "error", None) or getattr(result, "message", None) or status
    return f"{type(target).__name__} is {status}: {error}"
