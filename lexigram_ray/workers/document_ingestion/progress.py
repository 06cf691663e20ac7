"""How far the documents are that this process works on, by the id of the job."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from lexigram_ray.workers.document_ingestion.types import IngestionProgress, IngestionStatus

__all__ = ["ProgressTracker"]

MOST_ENDED = 10_000
"""Jobs that have ended and are still known; those that have not are never forgotten."""


class ProgressTracker:
    """Keeps the progress of jobs.

    Jobs are told apart by their own ids: two jobs of one document never mix. Where a document's id
    is given instead, the job of it that came last is meant. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._use = threading.Lock()
        self._jobs: OrderedDict[str, IngestionProgress] = OrderedDict()

    async def initialize_progress(self, job_id: str, document_id: str) -> None:
        """Begin with a job; one that is known already stays as it is."""
        self.begin(job_id, document_id)

    async def get_progress(self, job_id: str) -> IngestionProgress | None:
        """Return the progress of a job, or of a document's last one; None of an unknown one."""
        with self._use:
            return self._found(job_id)

    async def update_progress(
        self,
        document_id: str,
        status: IngestionStatus | None = None,
        total_chunks: int | None = None,
        chunks_processed: int | None = None,
        error: str | None = None,
        *,
        total_pages: int | None = None,
        pages_processed: int | None = None,
    ) -> None:
        """Set how far a job is; nothing becomes of an unknown one.

        Args:
            document_id: The job's id, or that of the document whose last job is meant.
            status: The stage.
            total_chunks: Of the document.
            chunks_processed: That have their vectors.
            error: Why it failed.
            total_pages: Of the document.
            pages_processed: That have been parsed.
        """
        self.note(
            document_id,
            status=status,
            total_chunks=total_chunks,
            chunks_processed=chunks_processed,
            error=error,
            total_pages=total_pages,
            pages_processed=pages_processed,
        )

    async def get_all_progress(self) -> dict[str, IngestionProgress]:
        """Return the progress of all jobs by their ids, oldest first."""
        with self._use:
            return dict(self._jobs)

    def get_stats(self) -> dict[str, Any]:
        """Return how many jobs are active, completed and failed."""
        with self._use:
            states = [progress.status for progress in self._jobs.values()]
        return {
            "active_jobs": sum(not status.is_final for status in states),
            "completed_jobs": states.count(IngestionStatus.COMPLETED),
            "failed_jobs": states.count(IngestionStatus.FAILED),
        }

    def unfinished_job_of(self, document_id: str) -> str | None:
        """Return a document's last job that has not ended; None where there is none."""
        with self._use:
            for job_id, progress in reversed(self._jobs.items()):
                if progress.document_id == document_id and not progress.status.is_final:
                    return job_id
        return None

    def begin(self, job_id: str, document_id: str) -> None:
        """Do what `initialize_progress` does, from any thread."""
        with self._use:
            if job_id in self._jobs:
                return
            self._jobs[job_id] = IngestionProgress(document_id, IngestionStatus.PENDING)
            self._forget_oldest()

    def note(
        self,
        job_id: str,
        *,
        status: IngestionStatus | None = None,
        total_chunks: int | None = None,
        chunks_processed: int | None = None,
        error: str | None = None,
        total_pages: int | None = None,
        pages_processed: int | None = None,
    ) -> None:
        """Do what `update_progress` does, from any thread."""
        with self._use:
            progress = self._found(job_id)
            if progress is None:
                return
            if total_chunks is not None:
                progress.total_chunks = total_chunks
            if total_pages is not None:
                progress.total_pages = total_pages
            if status is not None and error is None:
                # It is tried again: what was wrong before is over.
                progress.error = None
            progress.update(status, pages_processed, chunks_processed, error)

    def _found(self, key: str) -> IngestionProgress | None:
        if key in self._jobs:
            return self._jobs[key]
        for progress in reversed(self._jobs.values()):
            if progress.document_id == key:
                return progress
        return None

    def _forget_oldest(self) -> None:
        if len(self._jobs) <= MOST_ENDED:
            return
        for job_id, progress in self._jobs.items():
            if progress.status.is_final:
                del self._jobs[job_id]
                return
