"""Executing units: the one way in which documents become rows, wherever it runs.

Ray's ingestion workers and the in-process pool both call `execute`; they differ only in the
`Tools` that they bring.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from lexigram_ray.core.errors import DocumentSkipped, EmbeddingError
from lexigram_ray.core.ids import digest
from lexigram_ray.core.protocols import DocumentParser
from lexigram_ray.core.tracing import span
from lexigram_ray.core.types import Chunk, Document, Failure, Outcome, ParsedDocument
from lexigram_ray.embedding.cached import Embedded, joined
from lexigram_ray.jobs.document_rows import document_rows
from lexigram_ray.jobs.failures import failure_of, raise_if_machine_wide
from lexigram_ray.jobs.stages import CHUNKING, EMBEDDING, Stages
from lexigram_ray.vectors.schema import collection_schema

SPILL_AFTER_CHUNKS = 8_192
"""A document of more chunks than this goes through a file, so that memory stays flat."""

WINDOW_CHUNKS = 2_048
LONGEST_STEM = 64
NO_TEXT = DocumentSkipped("the document has no text", code="no_text")


class PassageMaker(Protocol):
    """Cuts documents."""

    def chunks(self, parsed: ParsedDocument) -> Iterator[Chunk]:
        """Yield the chunks of a document, in order."""
        ...


class Embedder(Protocol):
    """Where vectors come from: cache and model, in this process or in an actor."""

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed documents in order; `hashes` are the cache's keys."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What executing needs.

    Attributes:
        scratch: A folder that reader and writer share.
        batch_chunks: Most chunks in one call for vectors; None for as many as there are.
        stages: Is told how far the one document of a job is.
    """

    parser: DocumentParser
    chunker: PassageMaker
    embedder: Embedder
    dimension: int
    job_id: str
    scratch: Path
    batch_chunks: int | None = None
    stages: Stages | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """How one document ended.

    Attributes:
        digest: One hash over its chunks' hashes, in order; what a commit is verified against.
        computed, cached: Where its vectors came from.
    """

    document: Document
    outcome: Outcome
    chunks: int = 0
    digest: str = ""
    computed: int = 0
    cached: int = 0
    failure: Failure | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spilled:
    """Rows of one large document, in an Arrow IPC file of record batches."""

    executed: Executed
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Rows out, failures out: every document given is in `units` or in `spilled` once.

    Attributes:
        rows: Rows of all ingested `units`; None where there are none.
    """

    units: tuple[Executed, ...]
    rows: pa.Table | None = None
    spilled: tuple[Spilled, ...] = ()


@dataclass(frozen=True, slots=True)
class _Chunked:
    document: Document
    parsed: ParsedDocument
    chunks: list[Chunk]
    started: float


def execute(documents: Sequence[Document], tools: Tools) -> Execution:
    """Parse, chunk and embed documents.

    A document that fails is a row of the result, never an exception.

    Raises:
        DiskFullError: No space is left; no document is to blame.
        MemoryError: This worker is out of memory.
    """
    units: list[Executed] = []
    small: list[_Chunked] = []
    spilled: list[Spilled] = []
    for document in documents:
        started = time.monotonic()
        try:
            with span("parse", source=document.source):
                parsed = tools.parser.parse(document)
            _note(tools, CHUNKING, pages=len(parsed.pages))
            chunks = tools.chunker.chunks(parsed)
            head = list(islice(chunks, SPILL_AFTER_CHUNKS))
            _note(tools, EMBEDDING, chunks=len(head))
            if not head:
                units.append(_ended(document, NO_TEXT, started))
            elif len(head) == SPILL_AFTER_CHUNKS:
                spilled.append(_spill(document, parsed, chain(head, chunks), tools, started))
            else:
                small.append(_Chunked(document, replace(parsed, text=""), head, started))
        except Exception as error:  # noqa: BLE001 - a record's failure is a row
            raise_if_machine_wide(error)
            units.append(_ended(document, error, started))
    tables: list[pa.Table] = []
    for executed, table in _embed_each(small, tools):
        units.append(executed)
        if table is not None:
            tables.append(table)
    rows = pa.concat_tables(tables) if tables else None
    return Execution(units=tuple(units), rows=rows, spilled=tuple(spilled))


def _embed_each(small: list[_Chunked], tools: Tools) -> list[tuple[Executed, pa.Table | None]]:
    if not small:
        return []
    try:
        return _embed_together(small, tools)
    except Exception as error:  # noqa: BLE001 - a record's failure is a row
        raise_if_machine_wide(error)
        if len(small) == 1:
            return [(_ended(small[0].document, error, small[0].started), None)]
    # One text that the model cannot take must not cost its neighbours.
    return [result for one in small for result in _embed_each([one], tools)]


def _embed_together(small: list[_Chunked], tools: Tools) -> list[tuple[Executed, pa.Table | None]]:
    chunks = [chunk for item in small for chunk in item.chunks]
    embedded = _embedded(chunks, tools)
    results: list[tuple[Executed, pa.Table | None]] = []
    start = 0
    for item in small:
        stop = start + len(item.chunks)
        refusal = _refusal(embedded, start, stop)
        if refusal is not None:
            results.append((_ended(item.document, refusal, item.started), None))
            start = stop
            continue
        fresh = int(np.count_nonzero(embedded.fresh[start:stop]))
        rows = document_rows(
            item.document,
            item.parsed,
            item.chunks,
            embedded.vectors[start:stop],
            job_id=tools.job_id,
        )
        executed = Executed(
            document=item.document,
            outcome=Outcome.INGESTED,
            chunks=len(item.chunks),
            digest=digest(chunk.content_hash for chunk in item.chunks),
            computed=fresh,
            cached=len(item.chunks) - fresh,
            seconds=time.monotonic() - item.started,
        )
        results.append((executed, rows))
        start = stop
    return results


def _spill(
    document: Document,
    parsed: ParsedDocument,
    chunks: Iterator[Chunk],
    tools: Tools,
    started: float,
) -> Spilled:
    # A caller's own id may be no file name.
    stem = re.sub(r"[^\w-]", "_", document.document_id, flags=re.ASCII)[:LONGEST_STEM]
    path = tools.scratch / f"{stem}-{uuid.uuid4().hex}.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes: list[str] = []
    computed = 0
    try:
        with (
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, collection_schema(tools.dimension)) as writer,
        ):
            while window := list(islice(chunks, WINDOW_CHUNKS)):
                embedded = _embedded(window, tools, before=len(hashes))
                _raise_refusal(embedded, len(window))
                computed += int(np.count_nonzero(embedded.fresh))
                hashes.extend(chunk.content_hash for chunk in window)
                vectors = embedded.vectors
                writer.write_table(
                    document_rows(document, parsed, window, vectors, job_id=tools.job_id)
                )
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    executed = Executed(
        document=document,
        outcome=Outcome.INGESTED,
        chunks=len(hashes),
        digest=digest(hashes),
        computed=computed,
        cached=len(hashes) - computed,
        seconds=time.monotonic() - started,
    )
    return Spilled(executed=executed, path=str(path))


def _embedded(chunks: Sequence[Chunk], tools: Tools, *, before: int = 0) -> Embedded:
    """Embed chunks, in calls of a job's batch size where it has one.

    Args:
        before: Chunks of the document that were embedded already.
    """
    most = tools.batch_chunks or len(chunks)
    parts: list[Embedded] = []
    for start in range(0, len(chunks), most):
        part = chunks[start : start + most]
        texts, keys = [chunk.text for chunk in part], [chunk.content_hash for chunk in part]
        with span("embed", texts=len(texts)):
            parts.append(tools.embedder.embed(texts, keys))
        _note(tools, EMBEDDING, chunks_done=before + start + len(part))
    return joined(parts)


def _note(tools: Tools, stage: str, **found: int) -> None:
    if tools.stages is not None:
        tools.stages.enter(stage, **found)


def _refusal(embedded: Embedded, start: int, stop: int) -> EmbeddingError | None:
    """Return the error of a document whose chunks stand at these places, if one has no vector."""
    refused = [place for place in embedded.refused if start <= place < stop]
    if not refused:
        return None
    first = min(refused)
    return EmbeddingError(
        f"chunk {first - start} of {stop - start} has no vector: {embedded.refused[first]}"
    )


def _raise_refusal(embedded: Embedded, count: int) -> None:
    refusal = _refusal(embedded, 0, count)
    if refusal is not None:
        raise refusal


def _ended(document: Document, error: BaseException, started: float) -> Executed:
    skipped = isinstance(error, DocumentSkipped)
    return Executed(
        document=document,
        outcome=Outcome.SKIPPED if skipped else Outcome.FAILED,
        failure=failure_of(error),
        seconds=time.monotonic() - started,
    )
