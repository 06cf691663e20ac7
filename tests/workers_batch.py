"""Chunks, doubles and waiting for tests of the batch embedding worker."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from lexigram_ray.workers.batch_embedding.types import BatchEmbeddingProgress, EmbeddingStatus
from lexigram_ray.workers.batch_embedding.worker import BatchEmbeddingWorker

FINAL = (EmbeddingStatus.COMPLETED, EmbeddingStatus.FAILED)


@dataclass
class Chunk:
    """The reference's shape of a chunk."""

    text: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


def chunks(count: int, subject: str = "Berth") -> list[Any]:
    """Return chunks that are all different."""
    return [
        Chunk(f"{subject} {number} lies to the north.", {"n": number}) for number in range(count)
    ]


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
    """A store of the reference's shape, which appends whatever it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, list[float], dict[str, Any], str]] = []

    async def add_texts(
        self,
        texts: list[str],
        embeddings: list[list[float]] | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        collection_name: str | None = None,
    ) -> None:
        for row in zip(texts, embeddings or [], metadatas or [], strict=True):
            self.rows.append((*row, collection_name or ""))


async def ended(
    worker: BatchEmbeddingWorker, job_id: str, seconds: float = 120.0
) -> BatchEmbeddingProgress:
    """Wait until a job has ended, and return how it did."""
    deadline = time.monotonic() + seconds
    while True:
        progress = await worker.get_progress(job_id)
        assert progress is not None
        if progress.status in FINAL:
            return progress
        assert time.monotonic() < deadline, f"it did not end: {progress}"
        await asyncio.sleep(0.02)
