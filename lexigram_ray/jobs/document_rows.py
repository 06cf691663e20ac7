"""From a document's chunks and vectors to the rows of a collection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.core.ids import chunk_id
from lexigram_ray.core.types import Chunk, Document, ParsedDocument
from lexigram_ray.vectors.schema import collection_schema


def document_rows(
    document: Document,
    parsed: ParsedDocument,
    chunks: Sequence[Chunk],
    vectors: NDArray[np.float32],
    *,
    job_id: str,
) -> pa.Table:
    """Return rows with the collection's columns.

    Args:
        document: Its own metadata goes over what the parser found.
        parsed: Title, format and metadata; its text does not matter.
        chunks: Some of the document's, in order.
        vectors: float32, shape `(len(chunks), dim)`, rows L2-normalised.
        job_id: Of the job that makes them.
    """
    dimension = vectors.shape[1]
    schema = collection_schema(dimension)
    count = len(chunks)
    given = json.loads(document.metadata) if document.metadata else {}
    about: dict[str, object] = {"mime": parsed.mime, **parsed.metadata, **given}
    metadata = _json(about)
    columns = {
        "id": [chunk_id(document.document_id, chunk.index) for chunk in chunks],
        "document_id": [document.document_id] * count,
        "source": [document.source] * count,
        "title": [parsed.title] * count,
        "text": [chunk.text for chunk in chunks],
        "vector": pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(vectors).reshape(-1)), dimension
        ),
        "chunk_index": [chunk.index for chunk in chunks],
        "page": [chunk.page for chunk in chunks],
        "char_start": [chunk.char_start for chunk in chunks],
        "char_end": [chunk.char_end for chunk in chunks],
        "headings": [list(chunk.headings) for chunk in chunks],
        "content_hash": [chunk.content_hash for chunk in chunks],
        "metadata": [_own(about, chunk) if chunk.metadata else metadata for chunk in chunks],
        "job_id": [job_id] * count,
        "created_at": [datetime.now(UTC)] * count,
    }
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _own(about: dict[str, object], chunk: Chunk) -> str:
    return _json(about | json.loads(chunk.metadata))


def _json(metadata: dict[str, object]) -> str:
    return json.dumps(metadata, ensure_ascii=False)
