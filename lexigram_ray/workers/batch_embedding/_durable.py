"""Batch embedding over the Store: jobs outlive this process, and any process sees how far they are.

A job is recorded with its rows, model and settings (`jobs.submitting`), worked on wherever somebody
looks for jobs (`runtime.durable_work`, or the queue of `lexigram-ray up`), and its rows lie in
Lance.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import EmbeddingError, WorkerError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.chunk_rows import table_of_chunks
from lexigram_ray.jobs.embed_report import EmbedRequest
from lexigram_ray.jobs.requests import EMBED
from lexigram_ray.jobs.submitting import SubmitOptions, submit_embed
from lexigram_ray.runtime.durable_work import DurableWork
from lexigram_ray.workers.batch_embedding._job_progress import STATUSES, progress_of_job, stage_of
from lexigram_ray.workers.batch_embedding._settings import embedding_settings
from lexigram_ray.workers.batch_embedding._way import Figures, Look
from lexigram_ray.workers.batch_embedding.cache import EmbeddingCache
from lexigram_ray.workers.batch_embedding.types import (
    BatchEmbeddingJob,
    BatchEmbeddingProgress,
    EmbeddingStatus,
)

__all__ = ["DurableEmbedding"]

logger = logging.getLogger("lexigram_ray")

RUNNING_AT_ONCE = 200
VERSIONS = "_versions"
"""The folder of a Lance table that changes with each commit."""


class DurableEmbedding:
    """Works on embedding jobs of the Store.

    Args:
        config: Of this process.
        worker_id: Names the worker in what jobs record.
        concurrency: Most jobs at once.
        cache: The vectors by model name, which are cleared with all others.
    """

    def __init__(
        self, config: WorkersConfig, *, worker_id: str, concurrency: int, cache: EmbeddingCache
    ) -> None:
        self._config = config
        self._concurrency = concurrency
        self._cache = cache
        self._work = DurableWork(config, EMBED, worker_id)
        self._counted: dict[Path, tuple[int, int]] = {}

    @property
    def running(self) -> bool:
        """Whether jobs are begun."""
        return self._work.running

    async def start(self) -> None:
        """Begin to work on ready jobs."""
        await call(self._work.start, self._concurrency)

    async def stop(self, drain_seconds: float) -> None:
        """Begin no job any more; see `DurableWork.stop`."""
        await call(self._stop, drain_seconds)

    async def submit(self, job: BatchEmbeddingJob, priority: int) -> str:
        """Record a job; it is durable when its id is returned.

        Raises:
            UsageError: Chunks, name, model or collection do not fit; nothing was recorded.
        """
        return await call(self._submit, job, priority)

    async def progress(self, job_id: str) -> BatchEmbeddingProgress | None:
        """Return how far a job is, whichever process works on it."""
        job = await call(self._work.progress_of, job_id)
        return None if job is None else progress_of_job(job)

    def figures(self) -> Figures:
        """Count the embedding jobs of the Store; all are 0 where it does not answer."""
        try:
            by_status = self._counts()
        except WorkerError as error:
            logger.warning("the job store does not answer: %s", error)
            by_status = dict.fromkeys(EmbeddingStatus, 0)
        return Figures(active=self._work.active, by_status=by_status, cached=self._count_cached())

    async def look(self) -> Look:
        """Ask the Store, and whether collections can be written."""
        try:
            await call(self._work.counts)
        except WorkerError as error:
            return Look(error=str(error), works=False)
        folder = self._config.paths.lancedb
        place = next((each for each in (folder, *folder.parents) if each.exists()), folder)
        if not os.access(place, os.W_OK):
            return Look(error=f"{place} cannot be written", works=False)
        return Look()

    async def clear_cache(self) -> None:
        """Forget the vectors of all models."""
        await call(self._clear)

    def _stop(self, drain_seconds: float) -> None:
        self._work.stop(drain_seconds)
        self._work.close()

    def _submit(self, job: BatchEmbeddingJob, priority: int) -> str:
        settings = embedding_settings(
            self._config,
            model_name=job.model_name,
            batch_size=job.batch_size,
            use_cache=job.use_cache,
        )
        request = EmbedRequest(table=table_of_chunks(job.chunks), collection=job.collection_name)
        recorded, _ = submit_embed(settings, request, options=SubmitOptions(priority=priority))
        self._work.submitted(recorded.id)
        return recorded.id

    def _counts(self) -> dict[EmbeddingStatus, int]:
        by_status = dict.fromkeys(EmbeddingStatus, 0)
        for status, number in self._work.counts().items():
            if status in STATUSES:
                by_status[STATUSES[status]] += number
        running, _ = self._work.store.list_jobs(
            status=JobStatus.RUNNING, kind=EMBED, limit=RUNNING_AT_ONCE
        )
        for job in running:
            by_status[stage_of(job)] += 1
        return by_status

    def _count_cached(self) -> int:
        """Count all vectors; a table that is as it was is not opened again."""
        for path in _tables_of(self._config.paths.cache):
            with contextlib.suppress(OSError, ValueError):  # It is being made, or removed.
                version = (path / VERSIONS).stat().st_mtime_ns
                if self._counted.get(path, (0, 0))[0] != version:
                    self._counted[path] = (version, _rows_in(path))
        there = {path: rows for path, (_, rows) in self._counted.items() if path.exists()}
        return sum(there.values()) + self._cache.size()

    def _clear(self) -> None:
        from lexigram_ray.embedding.cache_clearing import clear_cache

        clear_cache(self._config.paths.cache)
        self._cache.forget_all()
        self._counted.clear()


def _tables_of(root: Path) -> list[Path]:
    from lexigram_ray.embedding.cache_contents import cache_paths

    with contextlib.suppress(EmbeddingError):
        return cache_paths(root)
    return []


def _rows_in(table: Path) -> int:
    import lance

    return lance.dataset(str(table)).count_rows()
