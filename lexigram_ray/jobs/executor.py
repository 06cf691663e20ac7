"""Executing units: the one way in which documents become rows, wherever it runs.

Ray's ingestion workers and the in-process pool both call `execute`; they differ only in the
`Tools` that they bring.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.core.errors import DocumentSkipped, EmbeddingError
from lexigram_ray.core.ids import chunk_id, digest
from lexigram_ray.core.protocols import DocumentParser
from lexigram_ray.core.types import Chunk, Document, Failure, Outcome, ParsedDocument
from lexigram_ray.embedding.cached import Embedded
from lexigram_ray.ingestion.chunker import Chunker
from lexigram_ray.jobs.failures import failure_of, raise_if_machine_wide
from lexigram_ray.vectors.schema import collection_schema

SPILL_AFTER_CHUNKS = 8_192
"""A document of more chunks than this goes through a file, so that memory stays flat."""

WINDOW_CHUNKS = 2_048
NO_TEXT = DocumentSkipped("the document has no text", code="no_text")


class Embedder(Protocol):
    """Where vectors come from: cache and model, in this process or in an actor."""

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed documents in order; `hashes` are the cache's keys."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What executing needs; `scratch` is a folder that reader and writer share."""

    parser: DocumentParser
    chunker: Chunker
    embedder: Embedder
    dimension: int
    job_id: str
    scratch: Path


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
            parsed = tools.parser.parse(document)
            chunks = tools.chunker.chunks(parsed)
            head = list(islice(chunks, SPILL_AFTER_CHUNKS))
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
    embedded = tools.embedder.embed(
        [chunk.text for chunk in chunks], [chunk.content_hash for chunk in chunks]
    )
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
        rows = _rows(item.document, item.parsed, item.chunks, embedded.vectors[start:stop], tools)
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
    path = tools.scratch / f"{document.document_id}-{uuid.uuid4().hex}.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes: list[str] = []
    computed = 0
    try:
        with (
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, collection_schema(tools.dimension)) as writer,
        ):
            while window := list(islice(chunks, WINDOW_CHUNKS)):
                keys = [chunk.content_hash for chunk in window]
                embedded = tools.embedder.embed([chunk.text for chunk in window], keys)
                _raise_refusal(embedded, len(window))
                computed += int(np.count_nonzero(embedded.fresh))
                hashes.extend(keys)
                writer.write_table(_rows(document, parsed, window, embedded.vectors, tools))
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


def _rows(
    document: Document,
    parsed: ParsedDocument,
    chunks: Sequence[Chunk],
    vectors: NDArray[np.float32],
    tools: Tools,
) -> pa.Table:
    schema = collection_schema(tools.dimension)
    count = len(chunks)
    metadata = json.dumps({"mime": parsed.mime, **parsed.metadata}, ensure_ascii=False)
    columns = {
        "id": [chunk_id(document.document_id, chunk.index) for chunk in chunks],
        "document_id": [document.document_id] * count,
        "source": [document.source] * count,
        "title": [parsed.title] * count,
        "text": [chunk.text for chunk in chunks],
        "vector": pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(vectors).reshape(-1)), tools.dimension
        ),
        "chunk_index": [chunk.index for chunk in chunks],
        "page": [chunk.page for chunk in chunks],
        "char_start": [chunk.char_start for chunk in chunks],
        "char_end": [chunk.char_end for chunk in chunks],
        "headings": [list(chunk.headings) for chunk in chunks],
        "content_hash": [chunk.content_hash for chunk in chunks],
        "metadata": [metadata] * count,
        "job_id": [tools.job_id] * count,
        "created_at": [datetime.now(UTC)] * count,
    }
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
