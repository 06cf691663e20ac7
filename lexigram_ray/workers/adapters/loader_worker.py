"""A document worker as a loader: a file in, its chunks out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.redaction import error_text

if TYPE_CHECKING:
    from lexigram_ray.workers.document_ingestion.worker import DocumentIngestionWorker
    from lexigram_ray.workers.protocols import ChunkProtocol

__all__ = ["LoaderWorkerBridge"]

logger = logging.getLogger("lexigram_ray")


class LoaderWorkerBridge:
    """Has a worker ingest a file, waits for that, and returns the chunks.

    Args:
        worker: Has `ingest_document`, `get_progress`, and, to return chunks, `get_result`. It must
            have been started.
        timeout: Seconds that a document may take.
        poll_interval: Seconds between two looks at its progress.
    """

    def __init__(
        self,
        worker: DocumentIngestionWorker | Any,
        *,
        timeout: float = 300.0,
        poll_interval: float = 1.0,
    ) -> None:
        self._worker = worker
        self._timeout = timeout
        self._poll_interval = poll_interval

    async def load(self, source: str | Path, **kwargs: Any) -> list[ChunkProtocol]:
        """Ingest a file, and return its chunks in order.

        Args:
            source: Where it is.
            kwargs: Of `ingest_document`: `document_id` (the file's name without its ending unless
                given), `collection_name` (`default` unless given), `metadata`, `priority`,
                `batch_size`, `parser`, `chunking_config`.

        Returns:
            Chunks with `text` and `metadata`; none where the worker does not keep them.

        Raises:
            WorkerError: The worker refused the file, failed on it, or took too long.
        """
        path = Path(source)
        job_id = await self._submitted(path, kwargs)
        await self._ended(path, job_id)
        chunks = await self._chunks(job_id)
        logger.info("%s was loaded as %d chunks by job %s", path, len(chunks), job_id)
        return chunks

    async def _submitted(self, path: Path, kwargs: dict[str, Any]) -> str:
        asked = {
            "document_id": path.stem,
            "file_path": path,
            "collection_name": "default",
            "metadata": None,
            "priority": 0,
            "batch_size": 50,
        }
        known = {*asked, "parser", "chunking_config"} - {"file_path"}
        asked |= {name: value for name, value in kwargs.items() if name in known}
        try:
            return str(await call(self._worker.ingest_document, **asked))
        except Exception as error:
            raise WorkerError(
                f"Worker failed to accept document {path}: {error_text(error)}",
                hint=getattr(error, "hint", None),
            ) from error

    async def _ended(self, path: Path, job_id: str) -> None:
        deadline = time.monotonic() + self._timeout
        while True:
            progress = await call(self._worker.get_progress, job_id)
            status = str(getattr(progress, "status", ""))
            if status == "completed":
                return
            if status == "failed":
                raise WorkerError(f"Worker ingestion failed for {path}: {progress.error}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise WorkerError(
                    f"Worker timed out after {self._timeout:g}s for source: {path}",
                    hint=f"no end of it was seen: job {job_id} may still end; "
                    "is the worker started?",
                )
            await asyncio.sleep(min(self._poll_interval, left))

    async def _chunks(self, job_id: str) -> list[ChunkProtocol]:
        get_result = getattr(self._worker, "get_result", None)
        if not callable(get_result):
            return []
        result = await call(get_result, job_id)
        chunks = result if isinstance(result, (list, tuple)) else getattr(result, "chunks", None)
        if not isinstance(chunks, (list, tuple)):
            return []
        return list(cast("Sequence[ChunkProtocol]", chunks))
