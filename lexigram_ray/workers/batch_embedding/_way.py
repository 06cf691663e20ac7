"""The two ways in which the worker works: decided once, in its constructor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lexigram_ray.workers.batch_embedding.types import (
    BatchEmbeddingJob,
    BatchEmbeddingProgress,
    EmbeddingStatus,
)

__all__ = ["Figures", "Look", "Way"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a worker counts.

    Attributes:
        active: Jobs that this process works on now.
        by_status: Jobs in each stage.
        cached: Vectors in the cache.
    """

    active: int
    by_status: dict[EmbeddingStatus, int]
    cached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a health check found.

    Attributes:
        error: What is wrong; None where nothing is.
        works: Whether jobs are worked on all the same.
    """

    error: str | None = None
    works: bool = True


class Way(Protocol):
    """How jobs are taken, done and looked at."""

    @property
    def running(self) -> bool:
        """Whether jobs are begun."""
        ...

    async def start(self) -> None:
        """Begin to work."""
        ...

    async def stop(self, drain_seconds: float) -> None:
        """Begin no job any more, and let those under way end, or give them back."""
        ...

    async def submit(self, job: BatchEmbeddingJob, priority: int) -> str:
        """Take a job, and return its id."""
        ...

    async def progress(self, job_id: str) -> BatchEmbeddingProgress | None:
        """Return how far a job is; None of an unknown one."""
        ...

    def figures(self) -> Figures:
        """Count."""
        ...

    async def look(self) -> Look:
        """Ask all that the work needs whether it is there."""
        ...

    async def clear_cache(self) -> None:
        """Forget all vectors that are cached."""
        ...
