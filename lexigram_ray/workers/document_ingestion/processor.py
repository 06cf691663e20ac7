"""One document after the other, in this process: parsed, cut, embedded and stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.jobs.foreign_store import ForeignStore, is_foreign
from lexigram_ray.jobs.given_document import chunking_of
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.workers.document_ingestion._asked import Asked, Ended
from lexigram_ray.workers.document_ingestion._in_process import InProcess
from lexigram_ray.workers.document_ingestion._warm import WarmEmbedders
from lexigram_ray.workers.document_ingestion.parser import (
    DocumentParser,
    UniversalDocumentParser,
    allowed_path,
    is_own,
)
from lexigram_ray.workers.document_ingestion.progress import ProgressTracker
from lexigram_ray.workers.document_ingestion.types import (
    ChunkingConfigDict,
    Document,
    IngestionResult,
    IngestionStatus,
)

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.stages import Stage
    from lexigram_ray.workers.protocols import ChunkerProtocol, VectorStoreProtocol

__all__ = [
    "ChunkingConfigDict",
    "Document",
    "DocumentParser",
    "DocumentProcessor",
    "IngestionResult",
    "IngestionStatus",
    "UniversalDocumentParser",
]


class DocumentProcessor:
    """Ingests documents into a vector store of other code, or into a collection of ours.

    Args:
        vector_store: Where chunks go, with their vectors; None for our collections, where a durable
            job of the store writes them.
        progress_tracker: Is told how far each job is; None makes one.
        default_chunking_config: `chunk_size`, `overlap` and `strategy` (`characters` or `tokens`)
            of documents that bring none: 1000 and 200 characters for a store of other code, else
            what the configuration says.
        chunker: An object with `chunk(text, metadata)` that cuts instead.
        document_parser: An object with `parse(path)`; None for `UniversalDocumentParser`.
        allowed_root: Only files below this folder are read.
        embedding_provider: An object with `embed_texts` or `embed`; None for the configured model.
        config: The configuration, or its file instead of ./application.yaml.
        state: Where all state is kept.

    Raises:
        ConfigError: The chunking config has an unknown key, or the configuration is wrong.
    """

    def __init__(
        self,
        vector_store: VectorStoreProtocol | Any = None,
        progress_tracker: ProgressTracker | None = None,
        default_chunking_config: ChunkingConfigDict | dict[str, Any] | None = None,
        chunker: ChunkerProtocol | Any = None,
        document_parser: DocumentParser | Any = None,
        *,
        allowed_root: Path | None = None,
        embedding_provider: object | None = None,
        config: WorkersConfig | Path | str | None = None,
        state: Path | str | None = None,
    ) -> None:
        chunking_of(default_chunking_config)
        settings = settings_of(config, state)
        self.vector_store = vector_store
        self.progress_tracker = progress_tracker or ProgressTracker()
        self.default_chunking_config = dict(default_chunking_config or {})
        self.chunker = chunker
        self.document_parser = document_parser or UniversalDocumentParser(
            allowed_root, config=settings
        )
        self.allowed_root = allowed_root
        self._settings = settings
        self._warm = WarmEmbedders(settings)
        self._work = InProcess(
            settings,
            store=ForeignStore(vector_store) if is_foreign(vector_store) else None,
            provider=embedding_provider,
            warm=self._warm,
            on_stage=self._note,
        )

    async def process_document(
        self,
        document_id: str,
        file_path: str,
        collection_name: str,
        parser_name: str | None,
        metadata: dict[str, Any],
        batch_size: int = 50,
        *,
        job_id: str | None = None,
        chunking_config: ChunkingConfigDict | dict[str, Any] | None = None,
        parser: DocumentParser | Any = None,
    ) -> IngestionResult:
        """Ingest a document; a failure is the result's, never an exception.

        Args:
            document_id: The caller's own name of it; its earlier chunks are replaced.
            file_path: Where it is.
            collection_name: Where its chunks go.
            parser_name: Class of the parser that is wanted; must be the one that is here, if given.
            metadata: Added to that of each chunk.
            batch_size: Most chunks that are embedded, and stored in a store of other code, at once.
            job_id: What its progress is known by; unless given, the document's unfinished job, or
                else its id.
            chunking_config: How it is cut, instead of the default.
            parser: Parses it, instead of the processor's own.
        """
        started = time.monotonic()
        try:
            ended = await self.ingest(
                document_id,
                file_path,
                collection_name,
                parser_name=parser_name,
                metadata=metadata,
                batch_size=batch_size,
                job_id=job_id,
                chunking_config=chunking_config,
                parser=parser,
            )
        except Exception as error:  # noqa: BLE001 - it is the result
            return IngestionResult.failure_result(
                document_id, error_text(error), time.monotonic() - started
            )
        about: dict[str, Any] = {"collection": collection_name}
        if ended.note:
            about["note"] = ended.note
        return IngestionResult.success_result(
            document_id, ended.chunks, time.monotonic() - started, about
        )

    async def ingest(
        self,
        document_id: str,
        file_path: Path | str,
        collection_name: str,
        *,
        parser_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        batch_size: int = 50,
        job_id: str | None = None,
        chunking_config: Mapping[str, Any] | None = None,
        parser: DocumentParser | Any = None,
        is_last: bool = True,
    ) -> Ended:
        """Do what `process_document` does, and raise where that fails.

        Args:
            document_id: As for `process_document`, and so are the others.
            file_path: Where it is.
            collection_name: Where its chunks go.
            parser_name: Class of the parser that is wanted.
            metadata: Added to that of each chunk.
            batch_size: Most chunks at once.
            job_id: What its progress is known by.
            chunking_config: How it is cut.
            parser: Parses it.
            is_last: Whether a failure is the document's end; else somebody else says so.

        Raises:
            PathNotAllowedError: The file lies outside what may be read.
            DocumentError: It cannot be parsed.
            WorkerError: The machine, the model or the store is at fault.
            Exception: Whatever an object of other code raised.
        """
        job = job_id or self.progress_tracker.unfinished_job_of(document_id) or document_id
        self.progress_tracker.begin(job, document_id)
        try:
            wanted = parser if parser is not None else self.document_parser
            self._check_name(parser_name, wanted)
            foreign = None if is_own(wanted) else wanted
            asked = Asked(
                job_id=job,
                document_id=document_id,
                path=self._allowed(file_path, wanted),
                collection=collection_name,
                metadata=dict(metadata or {}),
                chunking=chunking_config or self.default_chunking_config or None,
                batch_size=batch_size,
                parser=foreign,
                chunker=self.chunker,
            )
            ended = await self._work.ingest(asked)
        except asyncio.CancelledError:
            self.progress_tracker.note(job, status=IngestionStatus.PENDING)
            raise
        except Exception as error:
            if is_last:
                self.progress_tracker.note(job, error=error_text(error))
            raise
        self.progress_tracker.note(
            job,
            status=IngestionStatus.COMPLETED,
            total_chunks=ended.chunks,
            chunks_processed=ended.chunks,
        )
        return ended

    def close(self) -> None:
        """Let go of the models and of the parser's process."""
        self._warm.close()
        if isinstance(self.document_parser, UniversalDocumentParser):
            self.document_parser.close()

    def _allowed(self, file_path: Path | str, parser: object) -> Path:
        path = allowed_path(file_path, self.allowed_root, self._settings)
        if isinstance(parser, UniversalDocumentParser):
            allowed_path(path, parser.allowed_root)
        return path

    def _note(self, job_id: str, stage: Stage) -> None:
        self.progress_tracker.note(
            job_id,
            status=IngestionStatus(stage.name),
            total_pages=stage.pages,
            pages_processed=stage.pages,
            total_chunks=stage.chunks,
            chunks_processed=stage.chunks_done,
        )

    @staticmethod
    def _check_name(name: str | None, parser: object) -> None:
        if name in (None, type(parser).__name__, UniversalDocumentParser.__name__):
            return
        raise ConfigError(
            f"the parser {name!r} is not here: this worker has {type(parser).__name__}",
            hint="give the worker that parser as document_parser",
        )
