"""Ingestions by way of a queue: what the worker does where an object lives only here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.core.errors import ConfigError, UsageError
from lexigram_ray.core.ids import new_job_id
from lexigram_ray.jobs.foreign_queue import ForeignQueue, Message
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.jobs.worker_pool import WorkerPool
from lexigram_ray.workers.document_ingestion.types import (
    DocumentIngestionJob,
    IngestionProgress,
    IngestionStatus,
)

if TYPE_CHECKING:
    from lexigram_ray.workers.document_ingestion.parser import DocumentParser
    from lexigram_ray.workers.document_ingestion.processor import DocumentProcessor

TASK = "ingest_document"
PARSER_KEY = "parser_key"
MOST_PARSERS = 10_000


class QueuedIngestions:
    """Sends documents through a queue to a processor in this process.

    Args:
        queue: Of other code; None for one in memory.
        processor: Ingests them.
        worker_id: Of the worker that this belongs to.
        concurrency: Most documents at once.
        on_failure: Is told of each that has failed for good.
    """

    def __init__(
        self,
        queue: object | None,
        processor: DocumentProcessor,
        *,
        worker_id: str,
        concurrency: int,
        on_failure: object | None,
    ) -> None:
        self.queue = ForeignQueue(MemoryQueue() if queue is None else queue)
        self._processor = processor
        self._parsers: OrderedDict[str, object] = OrderedDict()
        self.pool = WorkerPool(
            worker_id,
            self.queue,
            {TASK: self._ingest},
            concurrency=concurrency,
            on_failure=on_failure,
            on_retry=self._again,
            on_final=self._failed,
        )

    async def submit(
        self,
        document_id: str,
        path: Path,
        collection: str,
        *,
        parser: DocumentParser | Any,
        chunking: Mapping[str, Any] | None,
        metadata: Mapping[str, Any] | None,
        priority: int,
        batch_size: int,
    ) -> str:
        """Put a document into the queue, and return the id of its job.

        Raises:
            UsageError: The id, the metadata or the chunking cannot be used.
            WorkerError: The queue refused it.
        """
        from lexigram_ray.jobs.given_document import given_document

        given_document(
            document_id, metadata=metadata, chunking=chunking, batch_chunks=batch_size
        )  # What cannot be done is said now.
        job = DocumentIngestionJob(
            document_id=document_id,
            file_path=path,
            collection_name=collection,
            parser=parser,
            chunking_config=None if chunking is None else dict(chunking),
            metadata=dict(metadata or {}),
            batch_size=batch_size,
        )
        kwargs = {"parser_name": None} | job.to_job_kwargs()
        if parser is not None:
            kwargs[PARSER_KEY] = self._keep(parser)
        job_id = await self.queue.enqueue(TASK, kwargs, priority)
        self._processor.progress_tracker.begin(job_id, document_id)
        self.pool.wake()
        return job_id

    async def progress(self, job_id: str) -> IngestionProgress | None:
        """Return how far a job of this process is; None of an unknown one."""
        return await self._processor.progress_tracker.get_progress(job_id)

    async def _ingest(self, message: Message) -> None:
        self._processor.progress_tracker.begin(message.id, str(message.kwargs.get("document_id")))
        await self._ingest_asked(message)
        self._parsers.pop(str(message.kwargs.get(PARSER_KEY)), None)

    async def _ingest_asked(self, message: Message) -> None:
        kwargs = message.kwargs
        missing = [
            name
            for name in ("document_id", "file_path", "collection_name")
            if not isinstance(kwargs.get(name), (str, Path))
        ]
        if missing:
            raise UsageError(
                f"task {message.id} does not say its {', '.join(missing)}",
                hint="enqueue document_id, file_path and collection_name as kwargs",
            )
        batch_size = kwargs.get("batch_size")
        await self._processor.ingest(
            str(kwargs["document_id"]),
            kwargs["file_path"],
            str(kwargs["collection_name"]),
            parser_name=cast("str | None", kwargs.get("parser_name")),
            metadata=cast("Mapping[str, Any] | None", kwargs.get("metadata")),
            batch_size=batch_size if isinstance(batch_size, int) else 50,
            job_id=message.id,
            chunking_config=cast("Mapping[str, Any] | None", kwargs.get("chunking_config")),
            parser=self._kept(kwargs),
            is_last=False,
        )

    def _again(self, message: Message, error: BaseException) -> None:
        del error
        self._processor.progress_tracker.note(message.id, status=IngestionStatus.PENDING)

    async def _failed(self, message: Message, error: BaseException) -> None:
        # Its parser is kept: whoever is told of the failure may retry it.
        self._processor.progress_tracker.note(message.id, error=error_text(error))

    def _keep(self, parser: object) -> str:
        key = new_job_id()
        self._parsers[key] = parser
        while len(self._parsers) > MOST_PARSERS:
            self._parsers.popitem(last=False)
        return key

    def _kept(self, kwargs: Mapping[str, Any]) -> object | None:
        key = kwargs.get(PARSER_KEY)
        if key is None:
            return None
        if key not in self._parsers:
            raise ConfigError(
                f"the parser {kwargs.get('parser_name')} is not in this process",
                hint="work on the document where it was submitted, or give each worker the parser "
                "as document_parser",
            )
        return self._parsers[key]
