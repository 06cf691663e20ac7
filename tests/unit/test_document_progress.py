"""Progress, results and jobs of documents, as plain data."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.workers.document_ingestion import (
    DocumentIngestionJob,
    IngestionProgress,
    IngestionResult,
    IngestionStatus,
    ProgressTracker,
)


def test_progress_counts_chunks_and_an_error_means_failure() -> None:
    progress = IngestionProgress("d", IngestionStatus.PENDING, total_pages=2, total_chunks=4)
    assert progress.progress_percent == 0.0
    progress.update(IngestionStatus.EMBEDDING, pages_processed=2, chunks_processed=1)
    assert (progress.status, progress.progress_percent) == (IngestionStatus.EMBEDDING, 25.0)
    progress.update(error="it is damaged")
    assert progress.to_dict() == {
        "document_id": "d",
        "status": "failed",
        "total_pages": 2,
        "pages_processed": 2,
        "total_chunks": 4,
        "chunks_processed": 1,
        "progress_percent": 25.0,
        "started_at": progress.started_at.isoformat(),
        "updated_at": progress.updated_at.isoformat(),
        "error": "it is damaged",
    }


def test_results_and_jobs_become_dictionaries() -> None:
    good = IngestionResult.success_result("d", 3, 2.0, {"collection": "c"})
    assert good.to_dict() == {
        "document_id": "d",
        "success": True,
        "chunks_created": 3,
        "duration_seconds": 2.0,
        "error": None,
        "metadata": {"collection": "c"},
    }
    bad = IngestionResult.failure_result("d", "e", 2.0)
    assert (bad.success, bad.error, bad.chunks_created) == (False, "e", 0)
    assert DocumentIngestionJob("d", Path("/x"), "c").to_job_kwargs() == {
        "document_id": "d",
        "file_path": "/x",
        "collection_name": "c",
        "metadata": {},
        "batch_size": 50,
    }
    # What the reference left out of the message, and so ignored.
    job = DocumentIngestionJob("d", Path("/x"), "c", chunking_config={"chunk_size": 5})
    assert job.to_job_kwargs()["chunking_config"] == {"chunk_size": 5}


def test_fault_11_jobs_are_kept_by_their_own_ids_and_found_by_documents_too() -> None:
    async def run() -> None:
        tracker = ProgressTracker()
        await tracker.initialize_progress("job1", "doc")
        await tracker.initialize_progress("job2", "doc")
        await tracker.update_progress("job1", IngestionStatus.CHUNKING, total_chunks=4)
        await tracker.update_progress("doc", chunks_processed=1, total_chunks=9)
        first, second = [await tracker.get_progress(job) for job in ("job1", "job2")]
        assert first is not None
        assert second is not None
        assert (first.total_chunks, second.total_chunks) == (4, 9)
        assert await tracker.get_progress("doc") is second
        assert await tracker.get_progress("nobody") is None
        await tracker.update_progress("nobody", error="x")
        await tracker.update_progress("job1", error="x")
        await tracker.update_progress("job2", IngestionStatus.COMPLETED)
        assert list(await tracker.get_all_progress()) == ["job1", "job2"]
        assert tracker.get_stats() == {"active_jobs": 0, "completed_jobs": 1, "failed_jobs": 1}

    asyncio.run(run())


def test_ended_jobs_are_forgotten_before_the_list_grows_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lexigram_ray.workers.document_ingestion.progress.MOST_ENDED", 3)
    tracker = ProgressTracker()
    for number in range(6):
        tracker.begin(f"job{number}", "doc")
        if number != 1:
            tracker.note(f"job{number}", status=IngestionStatus.COMPLETED)
    kept: dict[str, Any] = asyncio.run(tracker.get_all_progress())
    assert list(kept) == ["job1", "job4", "job5"]
