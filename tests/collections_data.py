"""Small collections for tests: settings, rows and vectors that can be told apart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.core.ids import chunk_id, digest, hash_text
from lexigram_ray.core.types import CollectionSettings
from lexigram_ray.vectors.schema import collection_schema

DIMENSION = 8
SETTINGS = CollectionSettings(
    model="sentence-transformers/all-MiniLM-L6-v2",
    revision="c9745ed1d9f2",
    dimension=DIMENSION,
    pooling="mean",
    precision="bf16",
    chunker="tokens:254:0",
)
STORE_ID = "0193-store"


def row(document: str, index: int, **values: Any) -> dict[str, Any]:
    """Return one row; `values` go over the plain ones."""
    text = values.get("text", f"passage {index} of {document}")
    return {
        "id": chunk_id(document, index),
        "document_id": document,
        "source": f"/docs/{document}.txt",
        "title": "",
        "text": text,
        "vector": axis(index),
        "chunk_index": index,
        "page": None,
        "char_start": 0,
        "char_end": len(text),
        "headings": [],
        "content_hash": hash_text(text),
        "metadata": "{}",
        "job_id": "job",
        "created_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        **values,
    }


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a collection's table."""
    return pa.Table.from_pylist(list(rows), schema=collection_schema(DIMENSION))


def documents(counts: Mapping[str, int], version: str = "first") -> pa.Table:
    """Return whole documents, of so many chunks each; the text names the version."""
    return table_of(
        [
            row(document, index, text=text_of(document, index, version))
            for document, count in counts.items()
            for index in range(count)
        ]
    )


def text_of(document: str, index: int, version: str) -> str:
    """Return the text that `documents` gives a chunk."""
    return f"{version} passage {index} of {document}"


def digest_of(document: str, count: int, version: str = "first") -> str:
    """Return the digest that a document of `documents` must have."""
    return digest(hash_text(text_of(document, index, version)) for index in range(count))


def axis(index: int) -> NDArray[np.float32]:
    """Return a unit vector: different ones are orthogonal, as far as there are dimensions."""
    return np.eye(DIMENSION, dtype=np.float32)[index % DIMENSION]
