"""The examples of the reference's page run as written, apart from their import lines.

`reference_page.txt` holds them as the page shows them: without indentation, because it shows none.
Inside brackets none is needed; the line below one that ends with a colon is indented here. What the
examples take for granted (a container, chunks, a logger) is supplied by the tests.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.workers import MaintenanceTaskType
from lexigram_ray.workers.config import WorkersConfig
from lexigram_ray.workers.di import _bases
from lexigram_ray.workers.di._making import WORKERS
from lexigram_ray.workers.module import WorkersModule
from lexigram_ray.workers.protocols import (
    EmbeddingClientProtocol,
    TaskQueueProtocol,
)
from lexigram_ray.workers.types import DLQItem
from tests.framework_logging import logging_as_before

__all__ = ["logging_as_before"]

PAGE = Path(__file__).with_name("reference_page.txt")
HOMES = {
    "from lexigram.ai.workers": "from lexigram_ray.workers",
    "from lexigram.contracts import": "from lexigram_ray.workers.protocols import",
    "from lexigram.contracts.infra.tasks import": "from lexigram_ray.workers.protocols import",
}
IN_THE_END_SECONDS = 30.0


def blocks() -> dict[str, str]:
    """Return the page's code by the name above it, with its imports from here."""
    parts = PAGE.read_text(encoding="utf-8").split("== ")[1:]
    found = dict(part.split("\n", 1) for part in parts)
    return {name: "\n".join(restored(code.splitlines())) for name, code in found.items()}


def restored(lines: list[str]) -> Iterator[str]:
    """Give back the indentation, and take the imports from this package."""
    after_colon = False
    for line in lines:
        imported = next((theirs for theirs in HOMES if line.startswith(theirs)), None)
        told = line if imported is None else line.replace(imported, HOMES[imported], 1)
        yield f"    {told}" if after_colon else told
        after_colon = line.endswith(":")


async def run(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run a block as the body of a coroutine, and return the names that it leaves."""
    names = dict(given)
    code = compile(blocks()[name], name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    made = eval(code, names)
    if inspect.isawaitable(made):
        await made
    return names


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)


class Container:
    """Answers at once, as the page's examples take it."""

    def __init__(self, **bound: Any) -> None:
        self._bound = bound

    def resolve(self, kind: type) -> Any:
        return self._bound[kind.__name__]


class Chunk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.metadata = {"length": len(text)}


class Store:
    """What the page's examples ask of a vector store."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}
        self.collections: set[str | None] = set()
        self.optimized = 0

    async def add_texts(
        self,
        texts: list[str],
        embeddings: list[list[float]] | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        collection_name: str | None = None,
    ) -> list[str]:
        assert embeddings is not None
        assert metadatas is not None
        self.rows |= dict(zip(texts, embeddings, strict=True))
        self.collections.add(collection_name)
        return texts

    async def optimize_indexes(self) -> dict[str, Any]:
        self.optimized += 1
        return {"items_processed": 1}


class Client:
    async def embed_texts(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEX_AI_WORKERS__STATE_DIR", str(tmp_path / "state"))


async def in_the_end(is_so: Callable[[], bool], work: Callable[[], Awaitable[object]]) -> None:
    """Wait until something is so; `work` is done between two looks."""
    async with asyncio.timeout(IN_THE_END_SECONDS):
        while not is_so():
            await work()
            await asyncio.sleep(0.05)


def test_the_page_has_three_examples_and_the_modules_usage() -> None:
    assert list(blocks()) == ["batch embedding", "dead letters", "maintenance", "module"]
    assert all("lexigram.ai" not in code for code in blocks().values())


def test_batch_embedding() -> None:
    store, logger = Store(), Logger()
    texts = [f"Rule {number} of the quay." for number in range(250)]

    async def live() -> dict[str, Any]:
        given = {
            "container": Container(
                VectorStoreProtocol=store,
                EmbeddingClientProtocol=Client(),
                TaskQueueProtocol=TaskQueueProtocol(),
            ),
            "EmbeddingClientProtocol": EmbeddingClientProtocol,
            "chunks": [Chunk(text) for text in texts],
            "logger": logger,
        }
        left = await run("batch embedding", given)
        # The example stops at once; what it has not begun waits in its queue.
        await left["worker"].start()
        await in_the_end(lambda: len(store.rows) == len(texts), lambda: asyncio.sleep(0))
        await left["worker"].stop()
        return left

    left = asyncio.run(live())

    assert isinstance(left["job_id"], str)
    assert left["progress"].job_id == left["job_id"]
    assert left["progress"].total_texts == 250
    assert [line.split(":")[0] for line in logger.lines] == ["Progress", "Cache hit rate"]
    assert all(line.endswith("%") for line in logger.lines)
    assert store.rows == {text: pytest.approx([1.0, float(len(text))]) for text in texts}
    assert store.collections == {"my-docs"}


def test_dead_letters() -> None:
    alerts: list[str] = []
    logger = Logger()

    async def send_alert(text: str) -> None:
        alerts.append(text)

    class Job:
        id, name, args, kwargs = "abc123", "embed", (), {"a": 1}
        priority, max_retries, timeout = 0, 3, None

    async def live() -> dict[str, Any]:
        given = {"DLQItem": DLQItem, "send_alert": send_alert, "logger": logger}
        left = await run("dead letters", given)
        worker = left["worker"]
        await worker.start()
        await worker.add_failed_job(Job(), "ValueError: invalid input: the text is empty")
        await worker.archive_item("abc123")
        await in_the_end(lambda: bool(alerts), lambda: asyncio.sleep(0))
        await worker.stop()
        return left

    left = asyncio.run(live())

    assert left["stats"].total_items == 0
    assert logger.lines == ["Total failed items: 0"]
    assert alerts == ["Permanent failure: abc123"]
    assert left["main_queue"] is not left["dlq_queue"]


def test_maintenance() -> None:
    store, logger = Store(), Logger()
    cleaned: list[int] = []

    def cleanup_documents(days: int) -> int:
        cleaned.append(days)
        return days

    async def live() -> dict[str, Any]:
        given = {
            "container": Container(VectorStoreProtocol=store),
            "MaintenanceTaskType": MaintenanceTaskType,
            "cleanup_documents": cleanup_documents,
            "logger": logger,
        }
        left = await run("maintenance", given)
        worker = left["worker"]
        results = [
            await worker.run_task_now(name) for name in ("optimize_indexes", "cleanup_old_docs")
        ]
        return left | {"results": results}

    left = asyncio.run(live())

    assert left["stats"]["registered_tasks"] == 2
    assert logger.lines == [f"Tasks run: {left['stats']['total_runs']}"]
    assert [result.status.value for result in left["results"]] == ["completed", "completed"]
    assert store.optimized >= 1
    assert cleaned[-1] == 30


@pytest.mark.usefixtures("logging_as_before")
def test_module(tmp_path: Path) -> None:
    application = pytest.importorskip("lexigram.app")
    framework = pytest.importorskip("lexigram.di.module")
    # The page's `...` stands for whatever the reader has to say.
    settings = {"state_dir": tmp_path / "state", "dlq_check_interval": 5}
    code = blocks()["module"].replace("WorkersConfig(...)", "WorkersConfig(**settings)")
    names: dict[str, Any] = {
        "module": framework.module,
        "Module": framework.Module,
        "WorkersModule": WorkersModule,
        "settings": settings,
    }
    exec(compile(code, "module", "exec"), names)

    async def live() -> list[Any]:
        async with application.Application.boot("page", modules=[names["AppModule"]]) as app:
            config = await app.container.resolve(WorkersConfig)
            assert config.dlq_check_interval == 5
            return [await app.container.resolve(kind) for kind in WORKERS]

    assert issubclass(WorkersModule, framework.Module)
    assert _bases.DynamicModule is framework.DynamicModule
    assert [type(worker) for worker in asyncio.run(live())] == list(WORKERS)
