"""What a batch embedding job is asked, how far it is, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lexigram_ray.jobs.chunk_rows import chunk_dict
from lexigram_ray.workers._json_ready import JsonReady

if TYPE_CHECKING:
    from lexigram_ray.workers.protocols import ChunkProtocol

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "DEFAULT_MODEL_NAME",
    "BatchEmbeddingJob",
    "BatchEmbeddingProgress",
    "BatchEmbeddingResult",
    "EmbeddingStatus",
]

DEFAULT_MODEL_NAME = "text-embedding-ada-002"
"""The reference's default: the configured model, where no server is configured."""

DEFAULT_BATCH_SIZE = 100
"""The reference's default."""


class EmbeddingStatus(StrEnum):
    """Stages of a batch embedding job; the last two are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    CACHING = "caching"
    STORING = "storing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass
class BatchEmbeddingJob:
    """A batch embedding job.

    Attributes:
        chunks: Texts, dictionaries, or objects with `text` and `metadata`.
        collection_name: Where the vectors go.
        model_name: None for the configured one.
        batch_size: Most texts in one call of the provider.
        use_cache: Whether vectors that are known are taken from the cache.
    """

    chunks: list[ChunkProtocol]
    collection_name: str
    model_name: str | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    use_cache: bool = True

    def to_job_kwargs(self) -> dict[str, Any]:
        """Return what a queue's task `batch_embed` has as its kwargs.

        Raises:
            UsageError: A chunk has no text.
        """
        return {
            "chunks": [chunk_dict(place, chunk) for place, chunk in enumerate(self.chunks)],
            "collection_name": self.collection_name,
            "model_name": self.model_name or DEFAULT_MODEL_NAME,
            "batch_size": self.batch_size,
            "use_cache": self.use_cache,
        }


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class BatchEmbeddingProgress:
    """How far a batch embedding job is: running totals, never sums of them.

    Attributes:
        job_id: Of the job.
        status: Its stage.
        total_texts: Of the job; 0 while unknown.
        texts_processed: Of them, whatever became of them.
        cache_hits: Texts whose vectors were known.
        cache_misses: Texts whose vectors were computed.
        started_at: When the job began, UTC.
        updated_at: When this last changed, UTC.
        error: Why the job, or some texts of it, failed.
        failed_texts: Texts that have no vector.
    """

    job_id: str
    status: EmbeddingStatus
    total_texts: int = 0
    texts_processed: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    started_at: datetime = field(default_factory=_now)
    updated_at: datetime = field(default_factory=_now)
    error: str | None = None
    failed_texts: int = field(default=0, kw_only=True)

    @property
    def progress_percent(self) -> float:
        """Texts that are done, in percent; 0 while their number is unknown."""
        return 100.0 * self.texts_processed / self.total_texts if self.total_texts else 0.0

    @property
    def cache_hit_rate(self) -> float:
        """Vectors that were known, in percent of those looked up; 0 before the first."""
        looked_up = self.cache_hits + self.cache_misses
        return 100.0 * self.cache_hits / looked_up if looked_up else 0.0

    def update(
        self,
        status: EmbeddingStatus | None = None,
        texts_processed: int | None = None,
        cache_hits: int | None = None,
        cache_misses: int | None = None,
        error: str | None = None,
    ) -> None:
        """Set what is given; all numbers are totals since the job's beginning."""
        if status is not None:
            self.status = status
        if texts_processed is not None:
            self.texts_processed = texts_processed
        if cache_hits is not None:
            self.cache_hits = cache_hits
        if cache_misses is not None:
            self.cache_misses = cache_misses
        if error is not None:
            self.error = error
        self.updated_at = _now()

    def to_dict(self) -> dict[str, Any]:
        """Return the facts, ready for JSON."""
        return {
            "job_id": self.job_id,
            "status": self.status.value,
            "total_texts": self.total_texts,
            "texts_processed": self.texts_processed,
            "failed_texts": self.failed_texts,
            "cache_hits": self.cache_hits,
            "cache_misses": self.cache_misses,
            "cache_hit_rate": self.cache_hit_rate,
            "progress_percent": self.progress_percent,
            "started_at": self.started_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "error": self.error,
        }


@dataclass
class BatchEmbeddingResult(JsonReady):
    """How a batch embedding job ended.

    Attributes:
        job_id: Of the job.
        success: Whether it came to its end.
        embeddings_generated: Vectors that were stored.
        cache_hits: Of them, those that were known.
        duration_seconds: From its start to its end.
        error: Why it failed.
        metadata: Whatever else is known.
    """

    job_id: str
    success: bool
    embeddings_generated: int = 0
    cache_hits: int = 0
    duration_seconds: float = 0.0
    error: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def success_result(
        cls,
        job_id: str,
        embeddings_generated: int,
        cache_hits: int,
        duration: float,
        metadata: dict[str, Any] | None = None,
    ) -> BatchEmbeddingResult:
        """Return the result of a job that came to its end; `duration` in seconds."""
        return cls(
            job_id=job_id,
            success=True,
            embeddings_generated=embeddings_generated,
            cache_hits=cache_hits,
            duration_seconds=duration,
            metadata=metadata or {},
        )

    @classmethod
    def failure_result(
        cls, job_id: str, error: str, duration: float, metadata: dict[str, Any] | None = None
    ) -> BatchEmbeddingResult:
        """Return the result of a job that failed; `duration` in seconds."""
        return cls(
            job_id=job_id,
            success=False,
            duration_seconds=duration,
            error=error,
            metadata=metadata or {},
        )
