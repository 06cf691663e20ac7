"""Documents, and how their ingestion is going and has ended, as the worker takes and returns it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexigram_ray.workers._json_ready import JsonReady
from lexigram_ray.workers.protocols import ChunkingConfigDict

if TYPE_CHECKING:
    from lexigram_ray.workers.document_ingestion.parser import DocumentParser

__all__ = [
    "ChunkingConfigDict",
    "Document",
    "DocumentIngestionJob",
    "IngestionProgress",
    "IngestionResult",
    "IngestionStatus",
]


class IngestionStatus(StrEnum):
    """How far a document is; the last two are final."""

    PENDING = "pending"
    PARSING = "parsing"
    CHUNKING = "chunking"
    EMBEDDING = "embedding"
    STORING = "storing"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether the document has ended."""
        return self in (IngestionStatus.COMPLETED, IngestionStatus.FAILED)


@dataclass
class Document:
    """A parsed document.

    Attributes:
        content: Its text.
        metadata: What is known of it; JSON-ready.
    """

    content: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class DocumentIngestionJob:
    """What is asked of the worker for one document.

    Attributes:
        document_id: The caller's own name of it.
        file_path: Where it is.
        collection_name: Where its chunks go.
        parser: Parses it; None for the worker's own.
        chunking_config: How it is cut: `chunk_size`, `overlap`, `strategy`.
        metadata: Added to that of each of its chunks.
        batch_size: Most chunks that are embedded, and stored in a store of other code, at once.
    """

    document_id: str
    file_path: Path
    collection_name: str
    parser: DocumentParser | None = None
    chunking_config: ChunkingConfigDict | dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    batch_size: int = 50

    def to_job_kwargs(self) -> dict[str, Any]:
        """Return what a queue's message says; `chunking_config` and the parser's name if given."""
        kwargs: dict[str, Any] = {
            "document_id": self.document_id,
            "file_path": str(self.file_path),
            "collection_name": self.collection_name,
            "metadata": self.metadata,
            "batch_size": self.batch_size,
        }
        if self.chunking_config:
            kwargs["chunking_config"] = dict(self.chunking_config)
        if self.parser is not None:
            kwargs["parser_name"] = type(self.parser).__name__
        return kwargs


@dataclass
class IngestionProgress:
    """How far a document's ingestion is.

    Attributes:
        document_id: The caller's own name of it.
        status: The stage, or how it ended.
        total_pages: Of the document; 0 while unknown, and for formats without pages.
        pages_processed: That have been parsed.
        total_chunks: Of the document; 0 while unknown.
        chunks_processed: That have their vectors.
        started_at: When it was asked for, or begun.
        updated_at: When this was last known to be so.
        error: Why it failed; None where it did not.
    """

    document_id: str
    status: IngestionStatus
    total_pages: int = 0
    pages_processed: int = 0
    total_chunks: int = 0
    chunks_processed: int = 0
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    error: str | None = None

    @property
    def progress_percent(self) -> float:
        """How much is done, from 0 to 100: chunks that have their vectors, of all chunks."""
        if self.total_chunks <= 0:
            return 0.0
        return min(100.0, 100.0 * self.chunks_processed / self.total_chunks)

    def update(
        self,
        status: IngestionStatus | None = None,
        pages_processed: int | None = None,
        chunks_processed: int | None = None,
        error: str | None = None,
    ) -> None:
        """Set what has become of it; an error means that it has failed."""
        if status is not None:
            self.status = status
        if pages_processed is not None:
            self.pages_processed = pages_processed
        if chunks_processed is not None:
            self.chunks_processed = chunks_processed
        if error is not None:
            self.error = error
            self.status = IngestionStatus.FAILED
        self.updated_at = datetime.now(UTC)

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "document_id": self.document_id,
            "status": self.status.value,
            "total_pages": self.total_pages,
            "pages_processed": self.pages_processed,
            "total_chunks": self.total_chunks,
            "chunks_processed": self.chunks_processed,
            "progress_percent": self.progress_percent,
            "started_at": self.started_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "error": self.error,
        }


@dataclass
class IngestionResult(JsonReady):
    """How a document's ingestion ended.

    Attributes:
        document_id: The caller's own name of it.
        success: Whether its chunks are stored.
        chunks_created: How many there are.
        duration_seconds: How long it took.
        error: Why it failed; None where it did not.
        metadata: `collection`, and what else is to be said.
    """

    document_id: str
    success: bool
    chunks_created: int = 0
    duration_seconds: float = 0.0
    error: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def success_result(
        cls,
        document_id: str,
        chunks_created: int,
        duration: float,
        metadata: dict[str, Any] | None = None,
    ) -> IngestionResult:
        """Return the result of a document whose chunks are stored; `duration` in seconds."""
        return cls(
            document_id=document_id,
            success=True,
            chunks_created=chunks_created,
            duration_seconds=duration,
            metadata=metadata or {},
        )

    @classmethod
    def failure_result(
        cls,
        document_id: str,
        error: str,
        duration: float,
        metadata: dict[str, Any] | None = None,
    ) -> IngestionResult:
        """Return the result of a document that failed; `duration` in seconds."""
        return cls(
            document_id=document_id,
            success=False,
            duration_seconds=duration,
            error=error,
            metadata=metadata or {},
        )
