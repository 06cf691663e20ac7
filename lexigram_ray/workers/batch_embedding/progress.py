"""How far the jobs are that this process works on, by the id of the job."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from lexigram_ray.workers.batch_embedding.types import BatchEmbeddingProgress, EmbeddingStatus

__all__ = ["ProgressTracker"]

MOST_ENDED = 10_000
"""Jobs that have ended and are still known; those that have not are never forgotten."""

_FINAL = (EmbeddingStatus.COMPLETED, EmbeddingStatus.FAILED)


class ProgressTracker:
    """Keeps the progress of jobs, told apart by their ids alone.

    Two jobs of equal size never mix. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._use = threading.Lock()
        self._jobs: OrderedDict[str, BatchEmbeddingProgress] = OrderedDict()

    async def initialize_job(
        self, job_id: str, total_texts: int, status: EmbeddingStatus = EmbeddingStatus.PENDING
    ) -> None:
        """Begin with a job; one that is known already begins anew."""
        self.begin(job_id, total_texts, status)

    async def update_progress(
        self,
        job_id: str,
        status: EmbeddingStatus | None = None,
        texts_processed: int | None = None,
        cache_hits: int | None = None,
        cache_misses: int | None = None,
        error: str | None = None,
    ) -> None:
        """Set how far a job is; nothing becomes of an unknown one. All numbers are totals."""
        self.note(
            job_id,
            status=status,
            texts_processed=texts_processed,
            cache_hits=cache_hits,
            cache_misses=cache_misses,
            error=error,
        )

    async def get_progress(self, job_id: str) -> BatchEmbeddingProgress | None:
        """Return the progress of a job as it is now; None of an unknown one."""
        with self._use:
            progress = self._jobs.get(job_id)
            # A copy: what somebody looks at does not change under their eyes.
            return None if progress is None else replace(progress)

    async def remove_job(self, job_id: str) -> None:
        """Forget a job; nothing becomes of an unknown one."""
        with self._use:
            self._jobs.pop(job_id, None)

    def get_active_jobs(self) -> list[str]:
        """Return the ids of the jobs that have not ended, in the order in which they began."""
        with self._use:
            return [job_id for job_id, job in self._jobs.items() if job.status not in _FINAL]

    def get_stats(self) -> dict[str, Any]:
        """Return how many jobs have not ended, and how many are in each stage."""
        with self._use:
            by_status = {status.value: 0 for status in EmbeddingStatus}
            for job in self._jobs.values():
                by_status[job.status.value] += 1
        ended = sum(by_status[status.value] for status in _FINAL)
        return {"active_jobs": sum(by_status.values()) - ended, "jobs_by_status": by_status}

    def begin(
        self,
        job_id: str,
        total_texts: int,
        status: EmbeddingStatus = EmbeddingStatus.PENDING,
        *,
        anew: bool = True,
    ) -> None:
        """Do what `initialize_job` does, from any thread.

        Args:
            anew: Whether one that is known already begins anew; else it stays as it is.
        """
        with self._use:
            if not anew and job_id in self._jobs:
                return
            self._jobs[job_id] = BatchEmbeddingProgress(
                job_id=job_id, status=status, total_texts=total_texts
            )
            ended = [each for each, job in self._jobs.items() if job.status in _FINAL]
            for old in ended[: max(0, len(ended) - MOST_ENDED)]:
                del self._jobs[old]

    def begin_try(self, job_id: str, total_texts: int) -> None:
        """Begin with a job, or once more with one that is known: what a try before said is gone."""
        self.begin(job_id, total_texts, anew=False)
        with self._use:
            job = self._jobs.get(job_id)
            if job is not None:
                job.error, job.failed_texts = None, 0

    def note(
        self,
        job_id: str,
        *,
        status: EmbeddingStatus | None = None,
        texts_processed: int | None = None,
        cache_hits: int | None = None,
        cache_misses: int | None = None,
        error: str | None = None,
        total_texts: int | None = None,
        failed_texts: int | None = None,
    ) -> None:
        """Do what `update_progress` does, from any thread, and set what it has no word for."""
        with self._use:
            job = self._jobs.get(job_id)
            if job is None:
                return
            if total_texts is not None:
                job.total_texts = total_texts
            if failed_texts is not None:
                job.failed_texts = failed_texts
            job.update(status, texts_processed, cache_hits, cache_misses, error)
