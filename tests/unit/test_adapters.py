"""The adapters, with doubles of the reference's shape."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.result import Err, Ok
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.workers.adapters import (
    IngestionError,
    IngestionReport,
    LexigramTasksAdapter,
    LoaderWorkerBridge,
    RAGIngestionAdapter,
)
from lexigram_ray.workers.adapters.tasks_adapter import JobAdapter, JobStatus
from lexigram_ray.workers.document_ingestion.types import (
    Document,
    IngestionProgress,
    IngestionStatus,
)


@dataclass
class Chunk:
    text: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    score: float | None = None


def worker_that(*progress: IngestionProgress | None, result: object = None) -> MagicMock:
    worker = MagicMock(spec=["ingest_document", "get_progress", "get_result"])
    worker.ingest_document = AsyncMock(return_value="J1")
    worker.get_progress = AsyncMock(side_effect=[*progress, *progress[-1:] * 100])
    worker.get_result = AsyncMock(return_value=result)
    return worker


COMPLETED = IngestionProgress("d", IngestionStatus.COMPLETED)
FAILED = IngestionProgress("d", IngestionStatus.FAILED, error="it is damaged")
RUNNING = IngestionProgress("d", IngestionStatus.EMBEDDING)


def test_the_bridge_waits_for_the_document_and_returns_its_chunks() -> None:
    chunks = [Chunk("a"), Chunk("b")]
    worker = worker_that(None, RUNNING, COMPLETED, result=chunks)
    bridge = LoaderWorkerBridge(worker, timeout=5, poll_interval=0.01)
    assert asyncio.run(bridge.load("/docs/handbook.md", collection_name="c", other=1)) == chunks
    worker.ingest_document.assert_awaited_once_with(
        document_id="handbook",
        file_path=Path("/docs/handbook.md"),
        collection_name="c",
        metadata=None,
        priority=0,
        batch_size=50,
    )
    worker.get_result.assert_awaited_once_with("J1")


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        (worker_that(RUNNING, FAILED), "failed for .*it is damaged"),
        (worker_that(RUNNING), "timed out after 0.05s"),
        (MagicMock(ingest_document=AsyncMock(side_effect=ValueError("no"))), "failed to accept"),
    ],
)
def test_the_bridge_says_why_there_are_no_chunks(worker: MagicMock, words: str) -> None:
    bridge = LoaderWorkerBridge(worker, timeout=0.05, poll_interval=0.01)
    with pytest.raises(WorkerError, match=words):
        asyncio.run(bridge.load(Path("/docs/handbook.md")))


class Halves:
    def chunk(self, text: str, metadata: dict[str, Any] | None = None) -> list[Chunk]:
        if not text:
            raise ValueError("there is no text")
        middle = len(text) // 2
        return [Chunk(text[:middle], metadata or {}), Chunk(text[middle:], metadata or {})]


def test_documents_are_chunked_and_submitted_as_one_job() -> None:
    worker = MagicMock(embed_batch=AsyncMock(return_value="E1"))
    adapter = RAGIngestionAdapter(Halves(), worker, MagicMock())
    documents = [Document("hello!", {"document_id": "k"}), Document("", {"document_id": "bad"})]
    result = asyncio.run(adapter.ingest_to_rag(documents, collection="cc", batch_size=7))
    match result:
        case Ok(report):
            assert report == IngestionReport(1, 2, "cc", "E1", failed_document_ids=["bad"])
        case _:
            pytest.fail(f"not {result}")
    given = worker.embed_batch.await_args.kwargs
    assert [chunk.text for chunk in given["chunks"]] == ["hel", "lo!"]
    assert (given["model_name"], given["batch_size"]) == ("text-embedding-ada-002", 7)


def test_nothing_to_chunk_is_a_report_and_nothing_but_failures_an_error() -> None:
    worker = MagicMock(embed_batch=AsyncMock(side_effect=ValueError("gone")))
    adapter = RAGIngestionAdapter(Halves(), worker, MagicMock())
    nothing = asyncio.run(adapter.ingest_to_rag([], collection="cc"))
    assert nothing.unwrap() == IngestionReport(0, 0, "cc")
    bad = asyncio.run(adapter.ingest_to_rag([Document("", {"document_id": "k"}), Document("")]))
    match bad:
        case Err(IngestionError(reason=reason, document_ids=ids)):
            assert "there is no text" in reason
            assert ids == ["k", "unknown"]
        case _:
            pytest.fail(f"not {bad}")
    with pytest.raises(WorkerError, match=r"Embedding worker failed: .*gone"):
        asyncio.run(adapter.ingest_to_rag([Document("hello!")]))


def test_a_queue_of_names_is_called_as_the_reference_calls_it() -> None:
    queue = MagicMock(spec=["enqueue", "dequeue", "get_job", "delete_job", "count"])
    queue.enqueue = AsyncMock(return_value=Ok("J1"))
    queue.dequeue = AsyncMock(return_value=None)
    queue.count = AsyncMock(return_value=4)
    adapter = LexigramTasksAdapter(queue)

    async def run() -> None:
        assert await adapter.enqueue("t", {"x": 1}, priority=5, delay_seconds=9) == "J1"
        assert await adapter.dequeue("names", timeout=1) is None
        assert await adapter.count("names", JobStatus.PENDING) == 4
        assert await adapter.get_stats() is None

    asyncio.run(run())
    queue.enqueue.assert_awaited_once_with(
        {"name": "t", "args": (), "kwargs": {"x": 1}, "priority": 5, "delay_seconds": 9}
    )
    queue.dequeue.assert_awaited_once_with("names", timeout=1)
    queue.enqueue = AsyncMock(return_value=Err("full"))
    with pytest.raises(RuntimeError, match=r"Failed to enqueue task 't': .*full") as raised:
        asyncio.run(adapter.enqueue("t", {}))
    assert isinstance(raised.value, WorkerError)


def test_the_queue_in_memory_works_under_the_adapter() -> None:
    async def run() -> None:
        adapter = LexigramTasksAdapter(MemoryQueue())
        job_id = await adapter.enqueue("t", {"x": 1})
        assert await adapter.get_stats() == {"pending": 1, "processing": 0}
        job = await adapter.dequeue("t", timeout=1)
        assert job is not None
        assert (job.id, job.data, job.status) == (job_id, {"x": 1}, JobStatus.RUNNING)
        assert await adapter.get_stats() == {"pending": 0, "processing": 1}
        found = await adapter.get_job(job_id)
        assert found is not None
        assert found.id == job_id
        assert await adapter.delete_job(job_id)
        assert await adapter.get_job(job_id) is None

    asyncio.run(run())


def test_a_job_knows_what_it_was_told_and_tells_the_job_itself_where_it_can() -> None:
    raw = MagicMock(spec=["id", "kwargs", "status", "update_status"])
    raw.id, raw.kwargs, raw.status = "abc", {"a": 1}, "failed"
    raw.update_status = AsyncMock()
    job = JobAdapter(raw)
    assert (job.id, job.data, job.status, job.updated_at) == ("abc", {"a": 1}, "failed", None)
    asyncio.run(job.update_status(JobStatus.RETRYING, "again"))
    asyncio.run(job.update_progress(0.5, {"step": 2}))
    raw.update_status.assert_awaited_once_with(JobStatus.RETRYING, "again")
    assert (job.status, job.progress) == (JobStatus.RETRYING, 0.5)
    assert job.updated_at is not None
    assert job.created_at <= job.updated_at
