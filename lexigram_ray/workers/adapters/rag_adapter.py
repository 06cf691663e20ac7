"""Documents of a RAG pipeline to the embedding worker: chunked here, embedded there."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.result import Err, Ok, Result
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.redaction import error_text

if TYPE_CHECKING:
    from lexigram_ray.workers.batch_embedding.worker import BatchEmbeddingWorker
    from lexigram_ray.workers.document_ingestion.types import Document
    from lexigram_ray.workers.protocols import ChunkerProtocol, VectorStoreProtocol

__all__ = [
    "Err",
    "IngestionError",
    "IngestionReport",
    "Ok",
    "RAGIngestionAdapter",
    "Result",
    "WorkerError",
]

logger = logging.getLogger("lexigram_ray")


@dataclass
class IngestionReport:
    """What was handed over.

    Attributes:
        document_count: Documents of which the chunks were handed over.
        chunk_count: Chunks in all.
        collection: Where they go.
        embedding_job_id: The worker's job; None where there was nothing to embed.
        failed_document_ids: Documents that could not be chunked.
    """

    document_count: int
    chunk_count: int
    collection: str
    embedding_job_id: str | None = None
    failed_document_ids: list[str] = field(default_factory=list[str], kw_only=True)


@dataclass
class IngestionError:
    """Why nothing was handed over.

    Attributes:
        reason: In words.
        document_ids: Of the documents that failed.
    """

    reason: str
    document_ids: list[str] = field(default_factory=list[str])


class RAGIngestionAdapter:
    """Chunks documents with the pipeline's own chunker, and has the worker embed them.

    Args:
        chunker: Has `chunk(text, metadata)`, plain or async.
        embedding_worker: Has `embed_batch`.
        vector_store: Of the pipeline; the worker is what writes.
    """

    def __init__(
        self,
        chunker: ChunkerProtocol | Any,
        embedding_worker: BatchEmbeddingWorker | Any,
        vector_store: VectorStoreProtocol | Any,
    ) -> None:
        self._chunker = chunker
        self._embedding_worker = embedding_worker
        self._vector_store = vector_store

    async def ingest_to_rag(
        self,
        documents: list[Document],
        *,
        collection: str = "default",
        model_name: str = "text-embedding-ada-002",
        batch_size: int = 100,
    ) -> Result[IngestionReport, IngestionError]:
        """Chunk documents, and submit all their chunks as one embedding job.

        A document that cannot be chunked is left out, and named in the report.

        Returns:
            `Ok` with a report; `Err` where every document failed.

        Raises:
            WorkerError: The embedding worker did not take the chunks.
        """
        chunks: list[Any] = []
        failed: list[str] = []
        last = ""
        for document in documents:
            try:
                chunks += await self._chunked(document)
            except Exception as error:  # noqa: BLE001 - a document's failure is the report's
                last = error_text(error)
                failed.append(_id_of(document))
                logger.warning("document %s cannot be chunked: %s", failed[-1], last)
        if documents and len(failed) == len(documents):
            return Err(IngestionError(f"All documents failed chunking: {last}", failed))
        job_id = None
        if chunks:
            job_id = await self._submitted(chunks, collection, model_name, batch_size)
        return Ok(
            IngestionReport(
                len(documents) - len(failed),
                len(chunks),
                collection,
                job_id,
                failed_document_ids=failed,
            )
        )

    async def _chunked(self, document: Document) -> list[Any]:
        metadata = dict(document.metadata)
        found = await call(self._chunker.chunk, document.content, metadata=metadata)
        if isinstance(found, str) or not isinstance(found, Iterable):
            raise TypeError(f"the chunker returned {type(found).__name__}, which is no list")
        return list(cast("Iterable[Any]", found))

    async def _submitted(
        self, chunks: list[Any], collection: str, model_name: str, batch_size: int
    ) -> str:
        try:
            job_id = await call(
                self._embedding_worker.embed_batch,
                chunks=chunks,
                collection_name=collection,
                model_name=model_name,
                batch_size=batch_size,
            )
        except WorkerError:
            raise
        except Exception as error:
            raise WorkerError(f"Embedding worker failed: {error_text(error)}") from error
        return str(job_id)


def _id_of(document: Document) -> str:
    return str(document.metadata.get("document_id", "unknown"))
