"""Doubles, hooks and waiting for tests of any worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from lexigram_ray.core.hooks import WorkerHook, subscribe

T = TypeVar("T")


class Vectors:
    """A provider of the reference's shape: a vector tells its text's length.

    Attributes:
        calls: The texts of each call.
    """

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    async def embed_texts(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        return [[0.1, float(len(text))] for text in texts]


class Rows:
    """A store of the reference's shape, which appends whatever it is given.

    Attributes:
        calls: How many rows each call gave.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[str, list[float], dict[str, Any], str]] = []
        self.calls: list[int] = []

    @property
    def texts(self) -> list[str]:
        return [row[0] for row in self.rows]

    async def add_texts(
        self,
        texts: list[str],
        embeddings: list[list[float]] | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        collection_name: str | None = None,
    ) -> None:
        self.calls.append(len(texts))
        for row in zip(texts, embeddings or [], metadatas or [], strict=True):
            self.rows.append((*row, collection_name or ""))


@pytest.fixture
def hooks() -> Iterator[list[WorkerHook]]:
    """Whatever has been told since."""
    told: list[WorkerHook] = []
    end = subscribe(WorkerHook, told.append)
    yield told
    end()


def run(test: Coroutine[Any, Any, T], seconds: float = 60.0) -> T:
    """Return what a test returns, if it does so in time."""
    return asyncio.run(asyncio.wait_for(test, seconds))


async def until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait until something is so; it may be asked with `await`."""
    deadline = time.monotonic() + seconds
    while True:
        held = holds()
        if await held if isinstance(held, Awaitable) else held:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def ended(worker: Any, job_id: str, seconds: float = 120.0) -> Any:
    """Wait until a worker's job has ended, and return how it did."""
    deadline = time.monotonic() + seconds
    while True:
        progress = await worker.get_progress(job_id)
        assert progress is not None
        if progress.status in ("completed", "failed"):
            return progress
        assert time.monotonic() < deadline, f"it did not end: {progress}"
        await asyncio.sleep(0.02)
