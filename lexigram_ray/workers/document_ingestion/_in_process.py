"""One document worked on in this process: what objects that live only here make necessary.

The functions are those of every other place: `execute` makes the rows, and where they go into a
collection of ours, a job of the store writes them with its intents, fences and checks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.errors import DocumentError, DocumentSkipped, UsageError, WorkerError
from lexigram_ray.core.types import FailureCategory, JobStatus, Outcome
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.stages import PARSING, STORING, Stage, Stages
from lexigram_ray.workers.document_ingestion._asked import Asked, Ended, identified, unidentified
from lexigram_ray.workers.document_ingestion._foreign_rows import only, row_batches
from lexigram_ray.workers.document_ingestion._warm import WarmEmbedders

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.protocols import EmbeddingProvider
    from lexigram_ray.core.types import ModelSpec, ParsedDocument
    from lexigram_ray.jobs.executor import Execution
    from lexigram_ray.jobs.foreign_store import ForeignStore
    from lexigram_ray.jobs.given_document import GivenDocument, GivenText
    from lexigram_ray.jobs.pool import WorkerPool
    from lexigram_ray.jobs.recipes import Recipe
    from lexigram_ray.jobs.report import IngestReport, IngestRequest, Progress
    from lexigram_ray.jobs.run import PoolFactory

USUAL_CHUNKING: Mapping[str, Any] = {"chunk_size": 1000, "overlap": 200}
"""How documents are cut for a store of other code, in characters, unless it is said."""

OnStage = Callable[[str, Stage], None]
"""Is given a job's id and how far it is, from any thread."""


class DocumentFailedError(DocumentError):
    """A document could not be ingested; `code` and `category` are those of what went wrong."""

    code = "document_failed"


class InProcess:
    """Ingests documents, into a store of other code or into a collection of ours.

    Args:
        config: Where state lies, and how documents are parsed, cut and embedded.
        store: None for our collections.
        provider: Makes the vectors; None for the configured model.
        warm: Keeps the models.
        on_stage: Is told how far each job is.
    """

    def __init__(
        self,
        config: WorkersConfig,
        *,
        store: ForeignStore | None,
        provider: object | None,
        warm: WarmEmbedders,
        on_stage: OnStage,
    ) -> None:
        self._config = config
        self._store = store
        self._given_provider = provider
        self._warm = warm
        self._on_stage = on_stage
        self._describing = threading.Lock()
        self._spec: ModelSpec | None = None

    async def ingest(self, asked: Asked) -> Ended:
        """Ingest a document.

        Raises:
            DocumentError: It cannot be parsed, or has nothing that could be.
            WorkerError: The machine, the model or the store is at fault.
            Exception: Whatever an object of other code raised.
        """
        from lexigram_ray.jobs.document_verdict import NO_TEXT_CODES
        from lexigram_ray.jobs.given_document import given_document

        stages = Stages(partial(self._on_stage, asked.job_id))
        stages.enter(PARSING)
        chunking = asked.chunking or (None if self._store is None else USUAL_CHUNKING)
        given = given_document(
            asked.document_id,
            metadata=asked.metadata,
            chunking=chunking,
            batch_chunks=asked.batch_size,
        )
        loop, stop = asyncio.get_running_loop(), threading.Event()
        try:
            given = replace(given, text=await self._text(asked))
            provider = await call(self._provider_on, loop, asked, stop)
            request = _request(asked, given, provider, stages)
            if self._store is None:
                return await call(self._as_job, asked, request, stop)
            return await self._into(self._store, asked, request)
        except DocumentSkipped as error:
            if error.code not in NO_TEXT_CODES:
                raise
            return Ended(chunks=0, note=error.message)
        finally:
            # Whoever waits may be ended: then the job is given back.
            stop.set()

    # -- Parsing and cutting by objects of other code ----------------------------------------------

    async def _text(self, asked: Asked) -> GivenText | None:
        from lexigram_ray.jobs.given_document import GivenText
        from lexigram_ray.workers.document_ingestion._foreign_text import cut_by, parsed_by

        objects = [each for each in (asked.parser, asked.chunker) if each is not None]
        if not objects:
            return None
        name = " and ".join(type(each).__qualname__ for each in objects)
        try:
            if asked.parser is not None:
                parsed = await parsed_by(asked.parser, asked.path)
            else:
                parsed = await call(self._parsed_here, asked)
            passages = None
            if asked.chunker is not None:
                passages = await cut_by(asked.chunker, parsed)
        except Exception as error:
            if self._store is not None or isinstance(error, UsageError):
                raise
            # The store's job records it as the document's failure.
            return GivenText(parser=name, error=error)
        return GivenText(parser=name, parsed=parsed, passages=passages)

    def _parsed_here(self, asked: Asked) -> ParsedDocument:
        from lexigram_ray.ingestion.parsed_store import ParsedStore
        from lexigram_ray.ingestion.sandbox import SandboxedParser

        with SandboxedParser(self._config.parser, ParsedStore(self._config.paths.parsed)) as parser:
            return parser.parse(identified(asked))

    # -- Into a store of other code ----------------------------------------------------------------

    async def _into(self, store: ForeignStore, asked: Asked, request: IngestRequest) -> Ended:
        execution = await call(self._executed, asked, request)
        executed = only(execution)
        failure = executed.failure
        if failure is not None:
            raise _failed(failure.reason, failure.code, failure.category, executed.outcome)
        stages = request.stages or Stages()
        stages.enter(STORING, chunks=executed.chunks, chunks_done=executed.chunks)
        try:
            # Chunks that the document had before, and has no more, would stay behind.
            await store.delete_documents(asked.collection, [asked.document_id])
            for rows in row_batches(execution, asked.batch_size):
                await store.write(rows, asked.collection)
        finally:
            for spilled in execution.spilled:
                Path(spilled.path).unlink(missing_ok=True)
        return Ended(chunks=executed.chunks, pages=stages.now.pages)

    def _executed(self, asked: Asked, request: IngestRequest) -> Execution:
        from lexigram_ray.jobs.executor import execute
        from lexigram_ray.jobs.toolbox import make_tools, read_recipe

        named = request.document
        recipe = read_recipe(self._config, request)
        # Text that is there already needs no file.
        has_text = named is not None and named.text is not None
        document = unidentified(asked.path, asked.document_id) if has_text else identified(asked)
        metadata = "" if named is None else named.metadata
        with self._warm.embedder(recipe) as embedder:
            tools = make_tools(self._config, recipe, embedder, asked.job_id, request=request)
            try:
                return execute([replace(document, metadata=metadata)], tools)
            finally:
                tools.parser.close()

    # -- Into a collection of ours -----------------------------------------------------------------

    def _as_job(self, asked: Asked, request: IngestRequest, stop: threading.Event) -> Ended:
        from lexigram_ray.jobs.ingest import ingest

        report = ingest(self._config, request, self._pool_of(request), _tell_nobody, stop)
        for problem in report.problems:
            raise _failed(problem.reason, problem.code, problem.category, problem.outcome)
        if report.status is not JobStatus.COMPLETED:
            raise WorkerError(report.error or f"job {report.job_id} is {report.status.value}")
        pages = 0 if request.stages is None else request.stages.now.pages
        return Ended(chunks=self._stored_chunks(asked, report), pages=pages)

    def _stored_chunks(self, asked: Asked, report: IngestReport) -> int:
        if report.chunks_written:
            return report.chunks_written
        from lexigram_ray.jobs.store import Store

        with Store.open(self._config.paths.store_url) as store:
            entries = store.ledger_entries(asked.collection, [asked.document_id])
        return sum(entry.chunks for entry in entries.values())

    def _pool_of(self, request: IngestRequest) -> PoolFactory:
        from lexigram_ray.jobs.pool import LocalPool
        from lexigram_ray.jobs.toolbox import make_tools

        @contextmanager
        def make_pool(recipe: Recipe, job_id: str, _: int) -> Generator[WorkerPool]:
            with self._warm.embedder(recipe) as embedder:
                pool = LocalPool(
                    lambda: make_tools(self._config, recipe, embedder, job_id, request=request)
                )
                try:
                    yield pool
                finally:
                    pool.close()

        return make_pool

    def _provider_on(
        self, loop: asyncio.AbstractEventLoop, asked: Asked, stop: threading.Event
    ) -> EmbeddingProvider | None:
        """Return the caller's provider, whose coroutines run on the caller's own event loop."""
        if self._given_provider is None:
            return None
        from lexigram_ray.embedding.adapters import as_provider
        from lexigram_ray.jobs.foreign_jobs import ProviderOnLoop

        given = ProviderOnLoop(self._given_provider, loop, batch_size=asked.batch_size, stop=stop)
        # What it is, is asked once.
        with self._describing:
            provider = as_provider(given, self._spec)
            self._spec = provider.spec
        return provider


def _request(
    asked: Asked, given: GivenDocument, provider: EmbeddingProvider | None, stages: Stages
) -> IngestRequest:
    from lexigram_ray.jobs.report import IngestRequest

    return IngestRequest(
        paths=(asked.path,),
        collection=asked.collection,
        retry_failed=True,
        document=given,
        provider=provider,
        stages=stages,
    )


def _failed(reason: str, code: str, category: FailureCategory, outcome: Outcome) -> DocumentError:
    if outcome is Outcome.SKIPPED:
        return DocumentSkipped(reason, code=code)
    error = DocumentFailedError(reason)
    error.code, error.category = code, category
    return error


def _tell_nobody(_: Progress) -> None:
    """Stages tell how far it is."""
