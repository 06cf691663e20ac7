"""The real framework's `Application` with our module: boots, resolves, ingests, shuts down."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import lance
import pytest

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.workers.batch_embedding import BatchEmbeddingWorker
from lexigram_ray.workers.dlq import DeadLetterQueueWorker
from lexigram_ray.workers.document_ingestion import DocumentIngestionWorker, IngestionStatus
from lexigram_ray.workers.maintenance import MaintenanceWorker
from lexigram_ray.workers.module import WorkersModule
from tests.framework_logging import logging_as_before
from tests.workers_batch import Chunk
from tests.workers_doubles import Rows, ended

pytest.importorskip("lexigram.app")

from lexigram.app import Application
from lexigram.contracts import VectorStoreProtocol
from lexigram.contracts.ai.llm.protocols import EmbeddingClientProtocol
from lexigram.contracts.core.health import HealthStatus
from lexigram.contracts.core.result import Ok, Result
from lexigram.contracts.infra.tasks import TaskQueueProtocol
from lexigram.di.module import DynamicModule, Module, module
from lexigram.di.provider import Provider

__all__ = ["logging_as_before"]

ALL = (
    BatchEmbeddingWorker,
    DocumentIngestionWorker,
    MaintenanceWorker,
    DeadLetterQueueWorker,
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logging_as_before: None) -> None:
    """A working directory without a configuration."""
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def running(*modules: Any, **options: Any) -> AsyncIterator[Application]:
    async with Application.boot("port", modules=list(modules), **options) as application:
        yield application


def our_threads(before: set[threading.Thread]) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread not in before]


def test_an_application_resolves_all_workers_ingests_and_shuts_down_clean(
    state: Path, docs: Path
) -> None:
    config = WorkersConfig(state_dir=state)
    before = set(threading.enumerate())

    async def live() -> tuple[list[str], IngestionStatus, Any, int]:
        async with running(WorkersModule.configure(config)) as application:
            workers = [await application.container.resolve(kind) for kind in ALL]
            again = [await application.container.resolve(kind) for kind in ALL]
            assert all(one is other for one, other in zip(workers, again, strict=True))
            health = await application.readiness()
            ingestion = await application.container.resolve(DocumentIngestionWorker)
            job_id = await ingestion.ingest_document("tides", docs / "tides.md", "port")
            status = (await ended(ingestion, job_id)).status
        await asyncio.sleep(0)
        return [type(each).__name__ for each in workers], status, health, len(asyncio.all_tasks())

    workers, status, health, tasks = asyncio.run(live())
    rows = lance.dataset(state / "lancedb" / "port.lance").to_table().to_pylist()

    assert workers == [kind.__name__ for kind in ALL]
    assert status is IngestionStatus.COMPLETED
    assert health.status == HealthStatus.HEALTHY
    assert [component.component for component in health.components] == ["workers"]
    assert [(row["document_id"], row["title"]) for row in rows] == [("tides", "Tides")]
    assert tasks == 1
    assert our_threads(before) == []


def test_stopping_drains_what_is_being_done(state: Path, docs: Path) -> None:
    config = WorkersConfig(state_dir=state)

    async def live() -> None:
        async with running(WorkersModule.configure(config, enable_scheduler=False)) as application:
            ingestion = await application.container.resolve(DocumentIngestionWorker)
            job_id = await ingestion.ingest_document("bread", docs / "bread.md", "port")
            while (await ingestion.get_progress(job_id)).status is IngestionStatus.PENDING:
                await asyncio.sleep(0.02)

    asyncio.run(live())

    assert lance.dataset(state / "lancedb" / "port.lance").count_rows() == 1


class Things(Provider):
    """Binds the application's own objects."""

    name = "things"

    def __init__(self, bound: dict[Any, Any]) -> None:
        super().__init__()
        self.bound = bound

    async def register(self, container: Any) -> None:
        for key, value in self.bound.items():
            container.singleton(key, value, validate=False)


@module()
class ThingsModule(Module):
    """Exports them to whoever imports it, which the workers' module does not."""


class Client:
    async def embed(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]


def test_what_another_module_binds_is_used(state: Path, docs: Path) -> None:
    store, client = Rows(), Client()
    bound = {VectorStoreProtocol: store, EmbeddingClientProtocol: client}
    things = DynamicModule(module=ThingsModule, providers=[Things(bound)], exports=list(bound))
    config = WorkersConfig(state_dir=state)

    async def live() -> tuple[Any, Any]:
        async with running(things, WorkersModule.configure(config)) as application:
            assert not application.container.has(TaskQueueProtocol)
            batch = await application.container.resolve(BatchEmbeddingWorker)
            ingestion = await application.container.resolve(DocumentIngestionWorker)
            job_id = await ingestion.ingest_document("bread", docs / "bread.md", "port")
            assert (await ended(ingestion, job_id)).error is None
            return batch, ingestion

    batch, ingestion = asyncio.run(live())

    assert (batch.vector_store, batch.embedding_provider) == (store, client)
    assert ingestion.vector_store is store
    assert any("Yeast" in text for text in store.texts)
    assert not (state / "lancedb").exists()


class Tasks:
    """A queue of the application's own."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.waiting: list[dict[str, Any]] = []
        self.acknowledged: list[str] = []
        self.given_back: list[tuple[str, bool]] = []

    async def enqueue(self, task: dict[str, Any]) -> Result[str, Exception]:
        job_id = f"job-{next(self.numbers)}"
        self.waiting.append(task | {"id": job_id})
        return Ok(job_id)

    async def dequeue(self) -> dict[str, Any] | None:
        return self.waiting.pop(0) if self.waiting else None

    async def ack(self, task_id: str) -> None:
        self.acknowledged.append(task_id)

    async def nack(self, task_id: str, requeue: bool = True) -> None:
        self.given_back.append((task_id, requeue))


class Picky(Client):
    async def embed(self, texts: list[str]) -> list[list[float]]:
        if any("fog" in text for text in texts):
            raise ValueError("invalid input: fog cannot be embedded")
        return await super().embed(texts)


def test_both_workers_share_one_queue_and_failures_reach_the_dead_letter_worker(
    state: Path, docs: Path
) -> None:
    store, tasks = Rows(), Tasks()
    bound = {
        VectorStoreProtocol: store,
        EmbeddingClientProtocol: Picky(),
        TaskQueueProtocol: tasks,
    }
    things = DynamicModule(module=ThingsModule, providers=[Things(bound)], exports=list(bound))
    config = WorkersConfig(state_dir=state)

    async def live() -> list[dict[str, Any]]:
        async with running(things, WorkersModule.configure(config)) as application:
            resolve = application.container.resolve
            batch, ingestion = await resolve(BatchEmbeddingWorker), await resolve(ALL[1])
            letters = await resolve(DeadLetterQueueWorker)
            await batch.embed_batch([Chunk("The crane lifts forty tonnes.")], "port")
            await ingestion.ingest_document("bread", docs / "bread.md", "port")
            await batch.embed_batch([Chunk("In fog, a bell is rung.")], "port")
            async with asyncio.timeout(60):
                while not (items := await letters.get_items()) or len(tasks.acknowledged) < 2:
                    await asyncio.sleep(0.05)
            return items

    [item] = asyncio.run(live())

    assert "The crane lifts forty tonnes." in store.texts
    assert any("Yeast" in text for text in store.texts)
    assert "fog cannot be embedded" in item["last_error"]
    assert item["failure_category"] == "invalid_input"
    assert len(tasks.given_back) == 1


def test_the_section_of_the_frameworks_configuration_is_used_and_the_environment_over_it(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("application.yaml").write_text(
        f"ai_workers:\n  state_dir: {state}\n  dlq_check_interval: 5\n"
        "  batch_embedding_concurrency: 2\n  embedding:\n    long_texts: fail\n"
    )
    monkeypatch.setenv("LEX_AI_WORKERS__DLQ_CHECK_INTERVAL", "7")

    async def live() -> tuple[Any, Any, WorkersConfig]:
        async with running(WorkersModule) as application:
            resolve = application.container.resolve
            letters, batch = (
                await resolve(DeadLetterQueueWorker),
                await resolve(BatchEmbeddingWorker),
            )
            return letters, batch, await resolve(WorkersConfig)

    letters, batch, config = asyncio.run(live())

    assert (letters.check_interval, batch.concurrency) == (7, 2)
    assert config.state_dir == state
    assert config.embedding.long_texts == "fail"


def test_a_boot_that_fails_leaves_nothing_running(state: Path) -> None:
    before = set(threading.enumerate())

    class Breaks(Provider):
        name = "breaks"
        dependencies = ("workers",)

        async def boot(self, container: Any) -> None:
            raise RuntimeError("the crane is broken")

    @module()
    class BreaksModule(Module):
        """Fails after the workers have been started."""

    breaks = DynamicModule(module=BreaksModule, providers=[Breaks()])

    async def live() -> int:
        with pytest.raises(RuntimeError, match="the crane is broken"):
            async with running(WorkersModule.configure(WorkersConfig(state_dir=state)), breaks):
                pass
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(live()) == 1
    assert our_threads(before) == []


def test_a_stub_boots_without_a_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__STATE_DIR", str(tmp_path / "production"))

    async def live() -> list[bool]:
        async with running(WorkersModule.stub()) as application:
            workers = [await application.container.resolve(kind) for kind in ALL]
            healths = [await worker.health_check() for worker in workers]
            return [health.status == HealthStatus.HEALTHY for health in healths]

    assert asyncio.run(live()) == [True, True, False, False]
    assert list(tmp_path.iterdir()) == []
