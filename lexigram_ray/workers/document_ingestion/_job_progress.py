"""What the store's record of an ingestion says of its document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.recorded_config import mapping
from lexigram_ray.workers.document_ingestion.types import IngestionProgress, IngestionStatus

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job, LedgerEntry


def ingestion_progress(job: Job, entry: LedgerEntry | None, pages: int = 0) -> IngestionProgress:
    """Return how far a job is.

    Args:
        job: As the store has it.
        entry: What the ledger says of its document; None where it says nothing.
        pages: Of the document, where the job itself does not know them.
    """
    stage = mapping(job.progress.get("document"))
    status, error = _end_of(job) if job.status.is_final else _state_of(job, stage)
    total, done = int(stage.get("chunks", 0)), int(stage.get("chunks_done", 0))
    if status is IngestionStatus.COMPLETED:
        total = done = _stored(job, entry)
    all_pages = int(stage.get("pages", 0)) or pages
    return IngestionProgress(
        document_id=document_of(job),
        status=status,
        total_pages=all_pages,
        pages_processed=all_pages,
        total_chunks=total,
        chunks_processed=done,
        started_at=job.started_at or job.created_at,
        updated_at=job.finished_at or datetime.now(UTC),
        error=error,
    )


def document_of(job: Job) -> str:
    """Return the document's id; of a job over folders, the first of its paths."""
    given = mapping(job.spec.get("document"))
    if given:
        return str(given["id"])
    paths = job.spec.get("paths")
    return str(cast("list[object]", paths)[0]) if isinstance(paths, list) and paths else job.id


def _state_of(job: Job, stage: Mapping[str, Any]) -> tuple[IngestionStatus, str | None]:
    if job.status is JobStatus.PENDING:
        return IngestionStatus.PENDING, None
    return IngestionStatus(str(stage.get("name", IngestionStatus.PARSING.value))), None


def _end_of(job: Job) -> tuple[IngestionStatus, str | None]:
    if job.status is not JobStatus.COMPLETED:
        return IngestionStatus.FAILED, job.error or f"job {job.id} was {job.status.value}"
    return IngestionStatus.COMPLETED, None


def _stored(job: Job, entry: LedgerEntry | None) -> int:
    written = int(mapping(job.summary.get("chunks")).get("written", 0))
    if written or entry is None:
        return written
    return entry.chunks
