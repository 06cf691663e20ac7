"""`DocumentIngestionWorker` with objects of other code: the reference's doubles, unchanged."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from lexigram_ray.core.errors import PathNotAllowedError, WorkerError
from lexigram_ray.core.result import Err, Ok
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.workers.document_ingestion import (
    Document,
    DocumentIngestionWorker,
    DocumentProcessor,
    IngestionStatus,
    ProgressTracker,
)
from lexigram_ray.workers.hooks import WorkerHook, subscribe
from lexigram_ray.workers.protocols import HealthStatus
from tests.workers_documents import PROSE, UpperCase, Vectors, written
from tests.workers_doubles import Rows, ended

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return written(tmp_path / "files")


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    file = tmp_path / "long.txt"
    file.write_text(PROSE * 60)
    return file


def here(tmp_path: Path, store: object, queue: object = None, **given: Any) -> Any:
    return DocumentIngestionWorker(
        store, queue, state=tmp_path / "state", embedding_provider=Vectors(), **given
    )


def test_documents_reach_a_foreign_store_with_their_vectors(
    tmp_path: Path, files: dict[str, Path], long_file: Path
) -> None:
    async def run() -> None:
        store = Rows()
        worker = here(tmp_path, store)
        await worker.start()
        for name in ("pdf", "docx", "html", "md"):
            job = await worker.ingest_document(name, files[name], "docs", metadata={"k": name})
            done = await ended(worker, job)
            mine = [row for row in store.rows if row[2]["document_id"] == name]
            assert (done.status, done.total_chunks) == (IngestionStatus.COMPLETED, len(mine))
            assert all(row[2]["k"] == name and row[3] == "docs" for row in mine)
            assert all(len(row[1]) == 2 for row in mine)

        store.calls.clear()
        job = await worker.ingest_document("long", long_file, "docs", batch_size=2)
        done = await ended(worker, job)
        texts = [row[0] for row in store.rows if row[2]["document_id"] == "long"]
        # 1000 characters, 200 of them repeated, as documents are cut for stores of other code.
        assert all(len(text) <= 1000 for text in texts)
        assert done.total_chunks == len(texts) == 4
        assert store.calls == [2, 2]
        assert (await worker.health_check()).status is HealthStatus.HEALTHY
        await worker.stop()

    asyncio.run(run())


def test_a_queue_gets_the_references_message_and_its_answer_is_the_jobs_id(
    tmp_path: Path, long_file: Path
) -> None:
    queue = MagicMock()
    queue.enqueue = AsyncMock(return_value=Ok("job-1"))
    worker = here(tmp_path, AsyncMock(), queue)
    job = asyncio.run(
        worker.ingest_document(
            document_id="doc1",
            file_path=long_file,
            collection_name="coll",
            metadata={"a": 1},
            priority=3,
        )
    )
    assert job == "job-1"
    queue.enqueue.assert_awaited_once_with(
        {
            "name": "ingest_document",
            "args": (),
            "kwargs": {
                "document_id": "doc1",
                "file_path": str(long_file),
                "collection_name": "coll",
                "parser_name": None,
                "metadata": {"a": 1},
                "batch_size": 50,
            },
            "priority": 3,
        }
    )
    progress = asyncio.run(worker.get_progress("job-1"))
    assert (progress.document_id, progress.status) == ("doc1", IngestionStatus.PENDING)
    assert worker.get_stats() == {
        "worker_id": "document-ingestion",
        "running": False,
        "concurrency": 3,
        "active_workers": 0,
        "active_jobs": 1,
        "completed_jobs": 0,
        "failed_jobs": 0,
    }
    queue.enqueue = AsyncMock(return_value=Err("full"))
    with pytest.raises(WorkerError, match="full"):
        asyncio.run(worker.ingest_document("doc1", long_file, "coll"))


def test_mocks_are_called_as_the_reference_calls_them(tmp_path: Path, long_file: Path) -> None:
    async def run() -> None:
        store, parser = AsyncMock(), AsyncMock()
        parser.parse.return_value = Document("all of it", {"z": 1})
        worker = here(tmp_path, store, document_parser=parser)
        await worker.start()
        job = await worker.ingest_document("d", tmp_path / "nowhere.pdf", "coll", metadata={"a": 1})
        assert (await ended(worker, job)).status is IngestionStatus.COMPLETED
        parser.parse.assert_awaited_once_with(tmp_path / "nowhere.pdf")
        given = store.add_texts.await_args.kwargs
        assert (given["texts"], given["collection_name"]) == (["all of it"], "coll")
        assert len(given["embeddings"][0]) == 2
        assert given["metadatas"][0].items() >= {"a": 1, "z": 1, "document_id": "d"}.items()

        wrong = await worker.ingest_document("d", long_file, "coll", parser=object())
        assert "has no parse" in ((await ended(worker, wrong)).error or "")
        await worker.stop()

        # A queue that answers with nonsense has no messages, and does no harm.
        idle = here(tmp_path, AsyncMock(), AsyncMock())
        await idle.start()
        await asyncio.sleep(0.1)
        assert idle.get_stats()["active_workers"] == 0
        await idle.stop()

    asyncio.run(run())


def test_fault_05_parser_and_chunking_travel_with_the_message(
    tmp_path: Path, long_file: Path
) -> None:
    async def run() -> None:
        store, parser = Rows(), UpperCase()
        worker = here(tmp_path, store, MemoryQueue())
        await worker.start()
        job = await worker.ingest_document(
            "d", long_file, "docs", parser=parser, chunking_config={"chunk_size": 100, "overlap": 0}
        )
        assert (await ended(worker, job)).status is IngestionStatus.COMPLETED
        texts = [row[0] for row in store.rows]
        assert parser.parsed == [long_file]
        assert all(text == text.upper() and len(text) <= 100 for text in texts)
        assert {row[2]["parsed_by"] for row in store.rows} == {"UpperCase"}
        await worker.stop()

    asyncio.run(run())


def test_fault_11_the_pool_starts_by_itself_and_two_jobs_of_a_document_never_mix(
    tmp_path: Path, files: dict[str, Path], long_file: Path
) -> None:
    async def run() -> None:
        worker = here(tmp_path, Rows())
        one = await worker.ingest_document("same", files["md"], "docs")
        two = await worker.ingest_document("same", long_file, "docs")
        await worker.start()
        first, second = await ended(worker, one), await ended(worker, two)
        assert first is not second
        assert second.total_chunks == 4 > first.total_chunks
        # A document's id finds its last job.
        assert await worker.progress_tracker.get_progress("same") is second
        await worker.stop()

    asyncio.run(run())


def test_a_failure_is_told_to_the_queue_to_the_sink_and_to_hooks(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    told: list[Any] = []
    failures: list[tuple[Any, str]] = []
    end = subscribe(WorkerHook, told.append)

    async def run() -> str:
        queue, store = MemoryQueue(), Rows()
        worker = here(
            tmp_path, store, queue, on_failure=lambda job, error: failures.append((job, error))
        )
        await worker.start()
        broken = await worker.ingest_document("b", files["broken"], "docs")
        gone = await worker.ingest_document("g", tmp_path / "gone.pdf", "docs")
        empty = await worker.ingest_document("e", files["empty"], "docs")
        for job in (broken, gone):
            progress = await ended(worker, job)
            assert progress.status is IngestionStatus.FAILED
            assert progress.error
        nothing = await ended(worker, empty)
        assert (nothing.status, nothing.total_chunks) == (IngestionStatus.COMPLETED, 0)
        await worker.stop()
        assert store.rows == []
        job = await queue.get_job(broken)
        assert job is not None
        assert job.status == "failed"
        assert worker.get_stats()["failed_jobs"] == 2
        return broken

    try:
        broken = asyncio.run(run())
    finally:
        end()
    assert {job.kwargs["document_id"] for job, _ in failures} == {"b", "g"}
    assert any("damaged" in error for _, error in failures)
    outcomes = {hook.outcome for hook in told if getattr(hook, "outcome", "")}
    assert outcomes == {"failed", "completed"}
    assert f"{broken}:failed" in {hook.event_id for hook in told}


def test_a_store_that_falters_is_asked_again_and_health_says_what_is_wrong(
    tmp_path: Path, long_file: Path
) -> None:
    class Faltering(Rows):
        tries = 0

        async def add_texts(
            self,
            texts: list[str],
            embeddings: list[list[float]] | None = None,
            metadatas: list[dict[str, Any]] | None = None,
            collection_name: str | None = None,
        ) -> None:
            self.tries += 1
            if self.tries == 1:
                raise ConnectionError("connection reset")
            await super().add_texts(texts, embeddings, metadatas, collection_name)

        async def health_check(self, timeout: float = 5.0) -> Any:
            await asyncio.sleep(60)

    async def run() -> None:
        store = Faltering()
        worker = here(tmp_path, store)
        await worker.start()
        job = await worker.ingest_document("d", long_file, "docs")
        assert (await ended(worker, job)).status is IngestionStatus.COMPLETED
        assert len(store.rows) == 4
        began = time.monotonic()
        health = await worker.health_check(timeout=0.3)
        assert time.monotonic() - began < 2
        assert health.status is HealthStatus.DEGRADED
        assert "vector store" in (health.error or "")
        await worker.stop()

    asyncio.run(run())


def test_stop_waits_for_the_document_that_is_under_way(tmp_path: Path, long_file: Path) -> None:
    class Slow(UpperCase):
        async def parse(self, file_path: Path) -> Any:
            await asyncio.sleep(0.5)
            return await super().parse(file_path)

    async def run() -> None:
        store, parser = Rows(), Slow()
        worker = here(tmp_path, store, document_parser=parser, concurrency=1)
        await worker.start()
        jobs = [await worker.ingest_document(name, long_file, "docs") for name in ("a", "b")]
        while not worker.get_stats()["active_workers"]:
            await asyncio.sleep(0.01)
        await worker.stop()
        first, second = [await worker.get_progress(job) for job in jobs]
        assert first.status is IngestionStatus.COMPLETED
        assert second.status is IngestionStatus.PENDING
        await worker.start()
        assert (await ended(worker, jobs[1])).status is IngestionStatus.COMPLETED
        await worker.stop()

    asyncio.run(run())


def test_the_processor_alone_returns_results_and_keeps_progress(
    tmp_path: Path, files: dict[str, Path], long_file: Path
) -> None:
    class Lines:
        def chunk(self, text: str, metadata: dict[str, Any] | None = None) -> list[Any]:
            sentences = [each for each in text.split(". ") if each]
            return [
                MagicMock(spec=["text", "metadata"], text=each, metadata={"line": number})
                for number, each in enumerate(sentences)
            ]

    async def run() -> None:
        store, tracker = Rows(), ProgressTracker()
        given: Any = {"state": tmp_path / "state", "embedding_provider": Vectors()}
        processor = DocumentProcessor(store, tracker, chunker=Lines(), **given)
        await tracker.initialize_progress("job1", "doc1")
        result = await processor.process_document(
            "doc1", str(long_file), "coll", None, {"a": 1}, batch_size=50
        )
        assert (result.success, result.chunks_created) == (True, 60)
        assert result.metadata == {"collection": "coll"}
        assert [row[2]["line"] for row in store.rows] == list(range(60))
        assert all(row[2]["a"] == 1 for row in store.rows)
        progress = await tracker.get_progress("doc1")
        assert progress is await tracker.get_progress("job1")
        assert progress is not None
        assert (progress.status, progress.total_chunks) == ("completed", 60)

        failed = await processor.process_document("d", str(files["broken"]), "coll", None, {})
        assert (failed.success, failed.chunks_created) == (False, 0)
        assert "damaged" in (failed.error or "")
        other = await processor.process_document("d", str(long_file), "coll", "Unknown", {})
        assert "Unknown" in (other.error or "")
        processor.close()

        inside = DocumentProcessor(store, allowed_root=tmp_path / "files", **given)
        with pytest.raises(PathNotAllowedError):
            await inside.ingest("d", long_file, "coll")

    asyncio.run(run())
