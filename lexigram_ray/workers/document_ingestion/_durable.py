"""Ingestions as durable jobs of the store: what the worker does where no object is foreign."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import JobStatus
from lexigram_ray.workers._durable_queue import DurableTaskQueue
from lexigram_ray.workers.document_ingestion._job_progress import document_of, ingestion_progress
from lexigram_ray.workers.document_ingestion.types import IngestionProgress

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job, LedgerEntry
    from lexigram_ray.runtime.durable_work import DurableWork


@dataclass(frozen=True, slots=True)
class IngestedChunk:
    """A chunk as it is stored.

    Attributes:
        text: What was embedded.
        metadata: Of the document, and `document_id`, `chunk_index`, `page`, `char_start`,
            `char_end`, `title` and `source` of the chunk.
        score: None: it was not searched for.
    """

    text: str
    metadata: dict[str, Any]
    score: float | None = None


class DurableIngestions:
    """Records ingestions of single files, works on those that wait, and tells how far they are.

    Args:
        config: Says where the store is.
        worker_id: Of the worker that this belongs to.
    """

    def __init__(self, config: WorkersConfig, worker_id: str) -> None:
        self._config = config
        self._worker_id = worker_id
        self._made: DurableWork | None = None
        self._pages: dict[str, int] = {}

    @property
    def work(self) -> DurableWork:
        """The threads that work on jobs, and the store that they look into."""
        if self._made is None:
            from lexigram_ray.jobs.requests import INGEST
            from lexigram_ray.runtime.durable_work import DurableWork

            self._made = DurableWork(self._config, INGEST, self._worker_id)
        return self._made

    async def submit(
        self,
        document_id: str,
        path: Path,
        collection: str,
        *,
        chunking: Mapping[str, Any] | None,
        metadata: Mapping[str, Any] | None,
        priority: int,
        batch_size: int,
    ) -> str:
        """Record a job, and return its id once it is durable.

        Raises:
            UsageError: The id, the file, the chunking or the collection does not fit.
            StoreUnreachableError: The store cannot be opened.
        """
        from lexigram_ray.jobs.given_document import document_request
        from lexigram_ray.jobs.submitting import SubmitOptions, submit_ingest

        request = document_request(
            document_id,
            path,
            collection,
            metadata=metadata,
            chunking_config=chunking,
            batch_size=batch_size,
        )
        options = SubmitOptions(priority=priority)
        job, _ = await asyncio.to_thread(submit_ingest, self._config, request, options=options)
        await asyncio.to_thread(self.work.submitted, job.id)
        return job.id

    async def progress(self, job_id: str) -> IngestionProgress | None:
        """Return how far a job is, whoever works on it; None of an unknown one."""
        return await asyncio.to_thread(self._progress, job_id)

    async def chunks(self, job_id: str) -> list[IngestedChunk] | None:
        """Return the stored chunks of a job's document, in order; None before it is completed."""
        return await asyncio.to_thread(self._chunks, job_id)

    def stop(self, drain_seconds: float) -> None:
        """Begin no job any more, wait for those under way, and let go of the store."""
        self.work.stop(drain_seconds)
        self.work.close()

    def stats(self) -> dict[str, int]:
        """Return how many jobs are active, completed and failed, whoever works on them."""
        counts = self.work.counts()
        unfinished = (JobStatus.PENDING, JobStatus.RUNNING)
        ended_badly = (JobStatus.FAILED, JobStatus.CANCELLED)
        return {
            "active_jobs": sum(counts.get(status, 0) for status in unfinished),
            "completed_jobs": counts.get(JobStatus.COMPLETED, 0),
            "failed_jobs": sum(counts.get(status, 0) for status in ended_badly),
        }

    def _progress(self, job_id: str) -> IngestionProgress | None:
        job = self.work.progress_of(job_id)
        if job is None:
            return None
        entry = self._entry(job) if job.status is JobStatus.COMPLETED else None
        return ingestion_progress(job, entry, self._pages_of(job, entry))

    def _entry(self, job: Job) -> LedgerEntry | None:
        document = document_of(job)
        return self.work.store.ledger_entries(job.collection, [document]).get(document)

    def _pages_of(self, job: Job, entry: LedgerEntry | None) -> int:
        """Return the pages of a document that this job did not have to parse."""
        if entry is None or job.progress.get("document"):
            return 0
        if job.id not in self._pages:
            from lexigram_ray.core.ids import source_path
            from lexigram_ray.ingestion.parsed_store import ParsedStore, parser_fingerprint

            fingerprint = parser_fingerprint(self._config.parser)
            kept = ParsedStore(self._config.paths.parsed, fingerprint=fingerprint)
            parsed = kept.get(entry.content_hash, source_path(entry.source))
            self._pages[job.id] = 0 if parsed is None else len(parsed.pages)
        return self._pages[job.id]

    def _chunks(self, job_id: str) -> list[IngestedChunk] | None:
        job = self.work.progress_of(job_id)
        if job is None or job.status is not JobStatus.COMPLETED:
            return None
        return stored_chunks(self._config, job.collection, document_of(job))


def config_of_durable(queue: object) -> WorkersConfig | None:
    """Return the configuration of a queue that is the durable store; None of any other."""
    return queue.config if isinstance(queue, DurableTaskQueue) else None


def stored_chunks(config: WorkersConfig, collection: str, document_id: str) -> list[IngestedChunk]:
    """Return a document's chunks as a collection of ours holds them, in order.

    Raises:
        CollectionNotFoundError: There is no such collection.
    """
    import json

    from lexigram_ray.vectors.collections import Collections
    from lexigram_ray.vectors.sql import is_any_of

    opened = Collections(config.paths.lancedb).open(collection)
    known = ("document_id", "chunk_index", "page", "char_start", "char_end", "title", "source")
    rows = opened.dataset.to_table(
        columns=["text", "metadata", *known], filter=is_any_of("document_id", [document_id])
    ).sort_by("chunk_index")
    return [
        IngestedChunk(
            text=row["text"],
            metadata=json.loads(row["metadata"] or "{}") | {name: row[name] for name in known},
        )
        for row in rows.to_pylist()
    ]
