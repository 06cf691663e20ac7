"""Batch embedding: chunks into vectors of a collection, with cache, progress and durable jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexigram_ray.workers.batch_embedding.cache import EmbeddingCache
    from lexigram_ray.workers.batch_embedding.progress import ProgressTracker
    from lexigram_ray.workers.batch_embedding.protocols import EmbeddingProvider
    from lexigram_ray.workers.batch_embedding.types import (
        BatchEmbeddingJob,
        BatchEmbeddingProgress,
        BatchEmbeddingResult,
        EmbeddingStatus,
    )
    from lexigram_ray.workers.batch_embedding.worker import BatchEmbeddingWorker

__all__ = [
    "BatchEmbeddingJob",
    "BatchEmbeddingProgress",
    "BatchEmbeddingResult",
    "BatchEmbeddingWorker",
    "EmbeddingCache",
    "EmbeddingProvider",
    "EmbeddingStatus",
    "ProgressTracker",
]

_HOMES = {
    "BatchEmbeddingJob": ".types",
    "BatchEmbeddingProgress": ".types",
    "BatchEmbeddingResult": ".types",
    "BatchEmbeddingWorker": ".worker",
    "EmbeddingCache": ".cache",
    "EmbeddingProvider": ".protocols",
    "EmbeddingStatus": ".types",
    "ProgressTracker": ".progress",
}


def __getattr__(name: str) -> object:
    from lexigram_ray._lazy import looked_up

    return looked_up(__name__, _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
