"""The batch embedding worker: chunks are submitted, embedded and stored in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_store import is_foreign
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.workers._durable_queue import DurableTaskQueue
from lexigram_ray.workers.batch_embedding.cache import EmbeddingCache
from lexigram_ray.workers.batch_embedding.progress import ProgressTracker
from lexigram_ray.workers.batch_embedding.types import (
    DEFAULT_MODEL_NAME,
    BatchEmbeddingJob,
    BatchEmbeddingProgress,
    BatchEmbeddingResult,
    EmbeddingStatus,
)
from lexigram_ray.workers.protocols import HealthCheckResult, HealthStatus

if TYPE_CHECKING:
    from lexigram_ray.workers.batch_embedding._way import Look, Way
    from lexigram_ray.workers.batch_embedding.protocols import EmbeddingProvider
    from lexigram_ray.workers.protocols import (
        ChunkProtocol,
        TaskQueueProtocol,
        VectorStoreProtocol,
    )

__all__ = ["BatchEmbeddingResult", "BatchEmbeddingWorker"]

logger = logging.getLogger("lexigram_ray")


class BatchEmbeddingWorker:
    """Embeds chunks in the background.

    Without arguments, jobs are durable: `embed_batch` records one with its rows, any worker on the
    same state directory (or `lexigram-ray up`) works on it, and the rows are in the collection. A
    process that dies at it loses nothing: the next worker goes on.

        worker = BatchEmbeddingWorker()
        await worker.start()
        job_id = await worker.embed_batch(chunks, "my-docs")
        progress = await worker.get_progress(job_id)
        await worker.stop()

    Where a queue, a provider or a store is given, jobs live in this process: they go through that
    queue, or one in memory, to that store. All of it is matched by shape, plain or asynchronous.

    Args:
        vector_store: Has `upsert`, `add_texts` or `add`; None for this package's collections.
        embedding_provider: Has `embed_texts(texts)` or `embed(texts)`; None for the configured
            model.
        queue: Has `enqueue(task)` and `dequeue()`; None for the durable one.
        worker_id: Names the worker in logs, health checks and what jobs record.
        concurrency: Most jobs at once.
        default_batch_size: Most texts in one call of the provider, where a job does not say.
        enable_cache: Whether known vectors are used at all.
        config: The configuration, or its file instead of ./application.yaml.
        state: Where jobs, collections and caches are kept.
        on_failure: Is told of jobs of the queue that have failed for good: a function of (job,
            error), a dead-letter worker, or a queue of dead letters. Failures of durable jobs are
            dead letters of the Store.
        drain_seconds: How long `stop` lets jobs under way come to their end.
    """

    def __init__(
        self,
        vector_store: VectorStoreProtocol | Any | None = None,
        embedding_provider: EmbeddingProvider | Any | None = None,
        queue: TaskQueueProtocol | Any | None = None,
        worker_id: str = "batch-embedding",
        concurrency: int = 3,
        default_batch_size: int = 100,
        enable_cache: bool = True,
        *,
        config: WorkersConfig | Path | str | None = None,
        state: Path | str | None = None,
        on_failure: object | None = None,
        drain_seconds: float = 30.0,
    ) -> None:
        self.vector_store = vector_store
        self.embedding_provider = embedding_provider
        self.queue = queue
        self.worker_id = worker_id
        self.concurrency = concurrency
        self.default_batch_size = default_batch_size
        self.enable_cache = enable_cache
        self.drain_seconds = drain_seconds
        if isinstance(queue, DurableTaskQueue) and config is None and state is None:
            config = queue.config
        self._given = (config, state)
        self._on_failure = on_failure
        self._cache = EmbeddingCache(config=config, state=state)
        self._progress_tracker = ProgressTracker()

    async def start(self) -> None:
        """Begin to work on jobs, `concurrency` at once; does nothing where it does so already.

        Raises:
            ConfigError: The configuration is wrong.
            StoreUnreachableError: The job store cannot be opened.
        """
        await self._way.start()

    async def stop(self) -> None:
        """Begin no job any more, and return when those under way have ended.

        Those that have not within `drain_seconds` are given back: they are pending again, what they
        have stored stays, and whoever takes them next goes on from there.
        """
        await self._way.stop(self.drain_seconds)

    async def embed_batch(
        self,
        chunks: list[ChunkProtocol],
        collection_name: str,
        model_name: str = DEFAULT_MODEL_NAME,
        batch_size: int | None = None,
        use_cache: bool = True,
        priority: int = 0,
    ) -> str:
        """Submit chunks for embedding; a durable job is recorded when this returns.

        Chunks keep their own ids (`id`, or in their metadata); one without gets an id of what it
        says, so that the same chunk is the same row however often it is submitted.

        Args:
            chunks: Texts, dictionaries, or objects with `text` and `metadata`.
            collection_name: Where the vectors go; a collection of ours is made where there is none.
            model_name: The model. The reference's default means the configured one, where no
                server is configured. With a provider of one's own it is the cache's key, and passed
                on where its method takes `model_name` or `model`.
            batch_size: Most texts in one call of the provider; else `default_batch_size`.
            use_cache: Whether known vectors are taken.
            priority: Higher is worked on earlier.

        Returns:
            The job's id.

        Raises:
            UsageError: Chunks, name, model or collection do not fit; nothing was submitted.
            WorkerError: The queue refused it.
        """
        job = BatchEmbeddingJob(
            chunks=list(chunks),
            collection_name=collection_name,
            model_name=model_name,
            batch_size=self.default_batch_size if batch_size is None else batch_size,
            use_cache=use_cache and self.enable_cache,
        )
        return await self._way.submit(job, priority)

    async def get_progress(self, job_id: str) -> BatchEmbeddingProgress | None:
        """Return how far a job is now; None of an unknown one.

        A durable job's progress is read from the job store: any process sees it live.
        """
        return await self._way.progress(job_id)

    def get_stats(self) -> dict[str, Any]:
        """Return counts of jobs and vectors; those of durable jobs are of the whole job store."""
        figures = self._way.figures()
        by_status = figures.by_status
        ended = by_status[EmbeddingStatus.COMPLETED] + by_status[EmbeddingStatus.FAILED]
        return {
            "worker_id": self.worker_id,
            "running": self._way.running,
            "concurrency": self.concurrency,
            "active_workers": figures.active,
            "cache_size": figures.cached,
            "cache_enabled": self.enable_cache,
            "active_jobs": sum(by_status.values()) - ended,
            "jobs_by_status": {status.value: number for status, number in by_status.items()},
        }

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        """Report whether jobs are worked on, and whether all that this needs answers.

        Args:
            timeout: Seconds; what has not answered by then counts as unwell.

        Returns:
            UNHEALTHY where the worker is not running or cannot work, DEGRADED where something is
            slow or complains, HEALTHY otherwise.
        """
        started = time.monotonic()
        status, error = HealthStatus.HEALTHY, None
        details: dict[str, Any] = {"worker_id": self.worker_id, "concurrency": self.concurrency}
        try:
            async with asyncio.timeout(timeout):
                if self._way.running:
                    look = await self._way.look()
                    status, error = _verdict(look)
                else:
                    status, error = HealthStatus.UNHEALTHY, "the worker is not running"
                details = await call(self.get_stats)
        except TimeoutError:
            status = HealthStatus.DEGRADED if self._way.running else HealthStatus.UNHEALTHY
            error = error or f"no answer within {timeout:g} s"
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is the answer
            status, error = HealthStatus.UNHEALTHY, error_text(problem)
        return HealthCheckResult(
            component=f"worker.batch_embedding.{self.worker_id}",
            status=status,
            error=error,
            duration_ms=1000 * (time.monotonic() - started),
            details=details,
            checked_at=datetime.now(UTC),
        )

    async def clear_cache(self) -> None:
        """Forget all cached vectors: of all models where jobs are durable."""
        await self._way.clear_cache()

    @cached_property
    def _way(self) -> Way:
        """How this worker works: decided once, by what it was given."""
        if self._is_durable():
            from lexigram_ray.workers.batch_embedding._durable import DurableEmbedding

            return DurableEmbedding(
                self._settings,
                worker_id=self.worker_id,
                concurrency=self.concurrency,
                cache=self._cache,
            )
        from lexigram_ray.workers.batch_embedding._foreign import QueuedEmbedding

        return QueuedEmbedding(
            self.vector_store,
            self.embedding_provider,
            self.queue if _is_foreign_queue(self.queue) else None,
            worker_id=self.worker_id,
            concurrency=self.concurrency,
            settings=lambda: self._settings,
            cache=self._cache,
            progress=self._progress_tracker,
            on_failure=self._on_failure,
            batch_size=self.default_batch_size,
        )

    @cached_property
    def _settings(self) -> WorkersConfig:
        return settings_of(*self._given)

    def _is_durable(self) -> bool:
        return (
            not is_foreign(self.vector_store)
            and self.embedding_provider is None
            and not _is_foreign_queue(self.queue)
        )


def _is_foreign_queue(queue: object | None) -> bool:
    # Whatever is not the durable one lives in this process only, also the one in memory.
    return queue is not None and not isinstance(queue, DurableTaskQueue)


def _verdict(look: Look) -> tuple[HealthStatus, str | None]:
    if look.error is None:
        return HealthStatus.HEALTHY, None
    return (HealthStatus.DEGRADED if look.works else HealthStatus.UNHEALTHY), look.error
