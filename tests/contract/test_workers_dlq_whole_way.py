"""A failure's whole way: a dead letter, mended, retried, and the rows are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lance
import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.result import Ok
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.workers.batch_embedding.worker import BatchEmbeddingWorker
from lexigram_ray.workers.dlq import DeadLetterQueueWorker
from lexigram_ray.workers.document_ingestion.worker import DocumentIngestionWorker
from tests.documents import docx_file, truncated_docx
from tests.misbehaving_server import MODEL, MisbehavingServer, error, running
from tests.workers_doubles import Rows, run, until


@dataclass
class Chunk:
    """A passage, as the reference has it."""

    text: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    score: float | None = None


class Provider:
    """The caller's own: broken until it is mended."""

    def __init__(self) -> None:
        self.is_broken = True

    async def embed_texts(self, texts: list[str]) -> list[list[float]]:
        if self.is_broken:
            raise RuntimeError("the provider is broken")
        return [[float(len(text)), 1.0, 0.5] for text in texts]


class PlainQueue:
    """The caller's own: delivers what it was given, which has no id of its own."""

    def __init__(self) -> None:
        self.tasks: list[object] = []
        self.ids = 0

    async def enqueue(self, task: object) -> Ok[str, Any]:
        self.tasks.append(task)
        self.ids += 1
        return Ok(f"job-{self.ids}")

    async def dequeue(self) -> object | None:
        return self.tasks.pop(0) if self.tasks else None


async def items_of(letters: DeadLetterQueueWorker, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def are_there() -> bool:
        found[:] = await letters.get_items()
        return len(found) == count

    await until(are_there)
    return found


def texts_in(config: WorkersConfig, collection: str) -> list[str]:
    path = config.paths.lancedb / f"{collection}.lance"
    if not path.exists():
        return []
    return sorted(lance.dataset(str(path)).to_table(columns=["text"])["text"].to_pylist())


def served_by(server: MisbehavingServer, folder: Path) -> WorkersConfig:
    """A state directory whose vectors come from a server."""
    return load_config(
        state_dir=folder / "state",
        embedding={"model": MODEL, "server": {"url": server.url, "max_attempts": 1}},
    )


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state")


# -- A queue, a provider or a store of other code --------------------------------------------------


@pytest.mark.parametrize("make_queue", [MemoryQueue, PlainQueue, lambda: None])
def test_fault_03_a_failed_embedding_of_a_queue_is_mended_and_retried(
    config: WorkersConfig, make_queue: Callable[[], Any]
) -> None:
    async def test() -> None:
        provider, vectors, queue = Provider(), Rows(), make_queue()
        letters = DeadLetterQueueWorker(queue, config=config)
        worker = BatchEmbeddingWorker(vectors, provider, queue, config=config, on_failure=letters)
        await letters.start()
        await worker.start()
        job_id = await worker.embed_batch([Chunk("An owl"), Chunk("A cat")], "docs")
        [item] = await items_of(letters, 1)
        assert (item["job_id"], item["failure_category"]) == (job_id, "unknown")
        assert "the provider is broken" in item["last_error"]
        assert vectors.texts == []

        assert await letters.retry_item(job_id)
        await until(lambda: _has_failed(letters, 2))
        assert [each["job_id"] for each in await letters.get_items()] == [job_id]
        provider.is_broken = False
        assert await letters.retry_item(job_id)
        await items_of(letters, 0)
        await worker.stop()
        await letters.stop()

        assert sorted(vectors.texts) == ["A cat", "An owl"]
        assert (await letters.get_stats()).retried_count == 2

    run(test(), 120)


def test_fault_03_a_failed_embedding_is_retried_by_itself_into_our_collections(
    config: WorkersConfig,
) -> None:
    async def test() -> None:
        provider, queue = Provider(), MemoryQueue()
        letters = DeadLetterQueueWorker(queue, base_backoff=1)
        worker = BatchEmbeddingWorker(None, provider, queue, config=config, on_failure=letters)
        await letters.start()
        await worker.start()
        await worker.embed_batch([Chunk("An owl")], "docs")
        await items_of(letters, 1)
        provider.is_broken = False
        await items_of(letters, 0)
        await worker.stop()
        await letters.stop()

        assert texts_in(config, "docs") == ["An owl"]

    run(test(), 120)


def test_fault_03_a_failed_document_of_a_queue_is_mended_and_retried(
    config: WorkersConfig, tmp_path: Path
) -> None:
    async def test() -> None:
        queue, vectors = MemoryQueue(), Rows()
        letters = DeadLetterQueueWorker(queue)
        worker = DocumentIngestionWorker(
            vectors, queue, config=config, embedding_provider=_mended(), on_failure=letters
        )
        path = tmp_path / "report.docx"
        path.write_bytes(truncated_docx())
        await worker.start()
        job_id = await worker.ingest_document("report", path, "docs")
        [item] = await items_of(letters, 1)
        assert (item["job_id"], item["failure_category"]) == (job_id, "invalid_input")

        path.write_bytes(docx_file())
        assert await letters.retry_item(job_id)
        await items_of(letters, 0)
        await worker.stop()

        assert vectors.texts

    run(test(), 120)


def test_a_failed_document_is_retried_with_the_parser_that_it_came_with(
    config: WorkersConfig, tmp_path: Path
) -> None:
    class Parser:
        """The caller's own: broken until it is mended."""

        is_broken = True

        async def parse(self, file_path: Path) -> SimpleNamespace:
            if self.is_broken:
                raise RuntimeError("the parser is broken")
            return SimpleNamespace(content=f"{file_path.name}, parsed", metadata={})

    async def test() -> None:
        parser, vectors = Parser(), Rows()
        letters = DeadLetterQueueWorker(config=config)
        worker = DocumentIngestionWorker(
            vectors, config=config, embedding_provider=_mended(), on_failure=letters
        )
        path = tmp_path / "report.txt"
        path.write_text("what the parser does not say")
        await worker.start()
        job_id = await worker.ingest_document("report", path, "docs", parser=parser)
        await items_of(letters, 1)

        parser.is_broken = False
        assert await letters.retry_item(job_id)
        await items_of(letters, 0)
        await worker.stop()

        assert vectors.texts == ["report.txt, parsed"]

    run(test(), 120)


# -- Durable jobs ----------------------------------------------------------------------------------


def test_fault_03_a_failed_durable_embedding_is_mended_and_retried(tmp_path: Path) -> None:
    async def test(server: MisbehavingServer) -> None:
        config = served_by(server, tmp_path)
        letters = DeadLetterQueueWorker(config=config)
        worker = BatchEmbeddingWorker(config=config)
        job_id = await worker.embed_batch([Chunk("An owl")], "docs", model_name=MODEL)
        server.always = error(401, "that key is not known")
        await worker.start()
        [item] = await items_of(letters, 1)
        assert item["job_id"] == job_id

        server.always = None
        assert await letters.retry_item(job_id)
        await items_of(letters, 0)
        await worker.stop()

        assert texts_in(config, "docs") == ["An owl"]

    with running() as server:
        run(test(server), 120)


def test_fault_03_a_failed_durable_document_is_mended_and_retried(tmp_path: Path) -> None:
    async def test(server: MisbehavingServer) -> None:
        config = served_by(server, tmp_path)
        letters = DeadLetterQueueWorker(config=config)
        worker = DocumentIngestionWorker(config=config)
        path = tmp_path / "report.docx"
        path.write_bytes(truncated_docx())
        await worker.start()
        job_id = await worker.ingest_document("report", path, "docs")
        [item] = await items_of(letters, 1)
        assert item["job_id"] == job_id

        path.write_bytes(docx_file())
        assert await letters.retry_item(item["metadata"]["letter_id"])
        await items_of(letters, 0)
        await worker.stop()

        assert texts_in(config, "docs")

    with running() as server:
        run(test(server), 120)


async def _has_failed(letters: DeadLetterQueueWorker, times: int) -> bool:
    return [item["failure_count"] for item in await letters.get_items()] == [times]


def _mended() -> Provider:
    provider = Provider()
    provider.is_broken = False
    return provider
