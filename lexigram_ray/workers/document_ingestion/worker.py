"""The worker that ingests documents: durable by default, in this process for foreign objects."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_store import is_foreign
from lexigram_ray.workers.document_ingestion._durable import (
    DurableIngestions,
    IngestedChunk,
    config_of_durable,
    stored_chunks,
)
from lexigram_ray.workers.document_ingestion._foreign import QueuedIngestions
from lexigram_ray.workers.document_ingestion._health import Look, health_by
from lexigram_ray.workers.document_ingestion.parser import (
    DocumentParser,
    UniversalDocumentParser,
    allowed_path,
    is_own,
)
from lexigram_ray.workers.document_ingestion.processor import DocumentProcessor
from lexigram_ray.workers.document_ingestion.progress import ProgressTracker
from lexigram_ray.workers.document_ingestion.types import (
    ChunkingConfigDict,
    IngestionProgress,
    IngestionStatus,
)
from lexigram_ray.workers.protocols import HealthCheckResult, HealthStatus

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.workers.protocols import TaskQueueProtocol, VectorStoreProtocol

MOST_REMEMBERED = 10_000

__all__ = [
    "HAS_TASK_WORKER",
    "DocumentIngestionWorker",
    "DocumentParser",
    "DocumentProcessor",
    "HealthCheckResult",
    "HealthStatus",
    "ProgressTracker",
    "UniversalDocumentParser",
]

HAS_TASK_WORKER = True
"""The pool of workers is this package's own: it needs no class from elsewhere."""


class DocumentIngestionWorker:
    """Parses, cuts, embeds and stores documents in the background.

        worker = DocumentIngestionWorker()
        await worker.start()
        job_id = await worker.ingest_document("handbook", Path("handbook.pdf"), "docs")
        progress = await worker.get_progress(job_id)

    With no object of other code, jobs are durable: a job's id is returned once it is recorded, any
    process can ask for its progress, and whoever starts a worker, or `lexigram-ray up`, works on
    it. Where the store, the queue, the embedding provider or a document's parser is an object of
    other code, the document is worked on in this process, by the same functions.

    Args:
        vector_store: An object with `add_texts` or `upsert`; None for Lance collections.
        queue: An object with `enqueue` and `dequeue`; None for the durable store.
        worker_id: Unique name of this worker.
        concurrency: Documents at once.
        default_chunking_config: `chunk_size`, `overlap` and `strategy` (`characters` or `tokens`)
            of documents that bring none.
        document_parser: An object with `parse(path)`; None for `UniversalDocumentParser`.
        allowed_root: Only files below this folder are read, links resolved.
        config: The configuration, or its file instead of ./application.yaml.
        state: Where all state is kept.
        embedding_provider: An object with `embed_texts` or `embed`; None for the configured model.
        on_failure: Is told of documents of this process that failed for good: a function of (job,
            error), a dead-letter worker, or a queue. Durable ones become dead letters.
        drain_seconds: How long `stop` waits for what is under way.

    Raises:
        ConfigError: The chunking config has an unknown key, or the configuration is wrong.
    """

    def __init__(
        self,
        vector_store: VectorStoreProtocol | Any = None,
        queue: TaskQueueProtocol | Any = None,
        worker_id: str = "document-ingestion",
        concurrency: int = 3,
        default_chunking_config: ChunkingConfigDict | dict[str, Any] | None = None,
        document_parser: DocumentParser | Any = None,
        allowed_root: Path | None = None,
        *,
        config: WorkersConfig | Path | str | None = None,
        state: Path | str | None = None,
        embedding_provider: object | None = None,
        on_failure: object | None = None,
        drain_seconds: float = 30.0,
    ) -> None:
        of_queue = config_of_durable(queue)
        own_queue = queue is None or of_queue is not None
        given = of_queue if config is None and state is None else config
        self._config = settings_of(given, state)
        self.vector_store = vector_store
        self.queue = queue
        self.worker_id = worker_id
        self.concurrency = concurrency
        self.allowed_root = allowed_root
        self.drain_seconds = drain_seconds
        self.progress_tracker = ProgressTracker()
        self.processor = DocumentProcessor(
            vector_store,
            self.progress_tracker,
            default_chunking_config,
            document_parser=document_parser,
            allowed_root=allowed_root,
            embedding_provider=embedding_provider,
            config=self._config,
        )
        self.default_chunking_config = self.processor.default_chunking_config
        self.document_parser = self.processor.document_parser
        self._into_ours = not is_foreign(vector_store)
        self._is_durable = own_queue and self._into_ours and embedding_provider is None
        self._durable = DurableIngestions(self._config, worker_id)
        self._queued = QueuedIngestions(
            None if own_queue else queue,
            self.processor,
            worker_id=worker_id,
            concurrency=concurrency,
            on_failure=on_failure,
        )
        self._running = False
        self._documents: dict[str, tuple[str, str]] = {}

    async def start(self) -> None:
        """Begin to work on documents; does nothing where it does so already.

        Raises:
            StoreUnreachableError: The durable store cannot be opened.
        """
        if self._running:
            return
        if self._is_durable:
            await asyncio.to_thread(self._durable.work.start, self.concurrency)
        # Also beside durable jobs: a document may bring a parser of its own.
        await self._queued.pool.start()
        self._running = True

    async def stop(self) -> None:
        """Begin no document any more, and let those under way come to their end.

        What has not ended within `drain_seconds` is given back, to be gone on with later.
        """
        if not self._running:
            return
        self._running = False
        stopping = [self._queued.pool.stop(self.drain_seconds)]
        if self._is_durable:
            stopping.append(asyncio.to_thread(self._durable.stop, self.drain_seconds))
        await asyncio.gather(*stopping)
        await asyncio.to_thread(self.processor.close)

    async def ingest_document(
        self,
        document_id: str,
        file_path: Path,
        collection_name: str,
        parser: DocumentParser | Any = None,
        chunking_config: ChunkingConfigDict | dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        priority: int = 0,
        batch_size: int = 50,
    ) -> str:
        """Submit a document, and return the id of its job.

        Args:
            document_id: The caller's own name of it; its earlier chunks are replaced.
            file_path: Where it is.
            collection_name: Where its chunks go.
            parser: Parses it, instead of the worker's own; such a job is worked on in this process.
            chunking_config: How it is cut, instead of the worker's default.
            metadata: Added to that of each chunk; JSON-ready.
            priority: Higher is worked on earlier.
            batch_size: Most chunks that are embedded, and stored in a store of other code, at once.

        Raises:
            PathNotAllowedError: The file lies outside `allowed_root` or the configured roots.
            UsageError: The id, the metadata, the chunking or the collection does not fit; of a
                durable job also that there is no such file.
            WorkerError: The queue refused it.
            StoreUnreachableError: The durable store cannot be opened.
        """
        wanted = parser if parser is not None else self.document_parser
        path = allowed_path(file_path, self.allowed_root, self._config)
        if is_own(wanted):
            allowed_path(path, wanted.allowed_root)
        chunking = dict(chunking_config or self.default_chunking_config) or None
        if self._is_durable and is_own(wanted):
            return await self._durable.submit(
                document_id,
                path,
                collection_name,
                chunking=chunking,
                metadata=metadata,
                priority=priority,
                batch_size=batch_size,
            )
        job_id = await self._queued.submit(
            document_id,
            path,
            collection_name,
            parser=parser,
            chunking=chunking,
            metadata=metadata,
            priority=priority,
            batch_size=batch_size,
        )
        self._documents[job_id] = (collection_name, document_id)
        while len(self._documents) > MOST_REMEMBERED:
            self._documents.pop(next(iter(self._documents)))
        return job_id

    async def get_progress(self, job_id: str) -> IngestionProgress | None:
        """Return how far a job is: of a durable one, whichever process works on it.

        Returns:
            None where there is no such job.

        Raises:
            StoreUnreachableError: The durable store does not answer.
        """
        here = await self._queued.progress(job_id)
        if here is not None or not self._is_durable:
            return here
        return await self._durable.progress(job_id)

    async def get_result(self, job_id: str) -> list[IngestedChunk] | None:
        """Return the chunks of a completed job as a collection of ours holds them, in order.

        Returns:
            None where the job is not completed, or its chunks are in a store of other code.
        """
        if not self._into_ours:
            return None
        here = await self._queued.progress(job_id)
        if here is None:
            return await self._durable.chunks(job_id) if self._is_durable else None
        if here.status is not IngestionStatus.COMPLETED or job_id not in self._documents:
            return None
        return await asyncio.to_thread(stored_chunks, self._config, *self._documents[job_id])

    def get_stats(self) -> dict[str, Any]:
        """Return facts of this worker, and how many jobs are active, completed and failed.

        Raises:
            StoreUnreachableError: The durable store does not answer.
        """
        jobs = self.progress_tracker.get_stats()
        active = self._queued.pool.active
        if self._is_durable:
            durable = self._durable.stats()
            jobs = {name: count + durable[name] for name, count in jobs.items()}
            active += self._durable.work.active
        return {
            "worker_id": self.worker_id,
            "running": self._running,
            "concurrency": self.concurrency,
            "active_workers": active,
            **jobs,
        }

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        """Tell whether documents are being worked on, within `timeout` seconds.

        Healthy: started, and the store and the queue answer. Degraded: started, but one of them
        does not answer in time. Unhealthy: not started, or one of them fails.
        """
        looks: dict[str, Look] = {}
        if not self._is_durable:
            looks["queue"] = self._queued.queue.count
        store_check = getattr(self.vector_store, "health_check", None)
        if not self._into_ours and callable(store_check):
            looks["vector store"] = lambda: call(store_check)
        return await health_by(
            f"worker.document_ingestion.{self.worker_id}",
            running=self._running,
            stats=self.get_stats,
            looks=looks,
            timeout=timeout,
        )
