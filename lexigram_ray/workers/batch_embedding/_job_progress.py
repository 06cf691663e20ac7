"""How far a job of the Store is, in the words of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.recorded_config import mapping
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.requests import REQUEST
from lexigram_ray.workers.batch_embedding.types import BatchEmbeddingProgress, EmbeddingStatus

__all__ = ["STAGES", "STATUSES", "progress_of_job", "stage_of"]

STAGES = {
    "reading": EmbeddingStatus.CACHING,  # What collection and cache hold already is asked.
    "indexing": EmbeddingStatus.STORING,
    "checking": EmbeddingStatus.STORING,
}
STATUSES = {
    JobStatus.PENDING: EmbeddingStatus.PENDING,
    JobStatus.COMPLETED: EmbeddingStatus.COMPLETED,
    JobStatus.FAILED: EmbeddingStatus.FAILED,
    JobStatus.CANCELLED: EmbeddingStatus.FAILED,
}


def progress_of_job(job: Job) -> BatchEmbeddingProgress:
    """Return how far a job of the Store is, as its owner has saved it last."""
    counts = Counts.of(job)
    cached, computed = _vectors_of(job, counts)
    return BatchEmbeddingProgress(
        job_id=job.id,
        status=stage_of(job),
        total_texts=counts.total or _rows_recorded(job),
        texts_processed=counts.done,
        cache_hits=cached,
        cache_misses=computed,
        started_at=job.started_at or job.created_at,
        updated_at=job.finished_at or datetime.now(UTC),
        error=_error_of(job, counts),
        failed_texts=counts.failed,
    )


def stage_of(job: Job) -> EmbeddingStatus:
    if job.status in STATUSES:
        return STATUSES[job.status]
    return STAGES.get(str(job.progress.get("phase", "")), EmbeddingStatus.PROCESSING)


def _vectors_of(job: Job, counts: Counts) -> tuple[int, int]:
    """Return how many vectors were known, and how many were computed."""
    texts = job.summary.get("texts")
    if isinstance(texts, dict):
        reported = cast("Mapping[str, int]", texts)
        return reported.get("cached", 0), reported.get("embedded", 0)
    saved = job.progress.get("cached")
    cached = saved if isinstance(saved, int) else 0
    return cached, max(0, counts.done - counts.failed - cached)


def _rows_recorded(job: Job) -> int:
    read = mapping(job.spec.get(REQUEST)).get("rows")
    return read if isinstance(read, int) else 0


def _error_of(job: Job, counts: Counts) -> str | None:
    if job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        return job.error or job.status.value
    if job.status is not JobStatus.COMPLETED or not counts.failed:
        return None
    problems = job.summary.get("problems")
    first = ""
    if isinstance(problems, list) and problems:
        first = f": {cast('list[dict[str, object]]', problems)[0].get('reason', '')}"
    return f"{counts.failed} of {counts.total} texts failed{first}"
