"""As many rows as wanted, from some thousand real chunks: their vectors, moved a little."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.core.types import DEFAULT_MODEL, CollectionSettings
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.models import describe_model
from lexigram_ray.vectors.schema import collection_schema
from tests.benchmarks.chunk_set import evenly, real_chunks
from tests.corpus import questions

REAL_CHUNKS = 3_000
DIMENSION = 384
SETTINGS = CollectionSettings(
    model=DEFAULT_MODEL,
    revision="resampled",
    dimension=DIMENSION,
    pooling="mean",
    precision="bf16",
    chunker="tokens:254:0",
)
PAGES = 50
TEXT_CHARACTERS = 60

# A new vector is a real one, moved by a third of the difference of two others: noise that lies in
# the directions in which real vectors differ, which even noise in all 384 would not.
MOVED = 0.35
EVEN_NOISE = 0.01


class Resampled:
    """Draws vectors and rows; the same seed draws the same.

    Args:
        folder: The real chunks and their vectors are kept here.
        seed: Of everything that is drawn.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        chunks = evenly(real_chunks(folder), REAL_CHUNKS)
        self._texts = [text[:TEXT_CHARACTERS] for text in chunks["text"].to_pylist()]
        self._real = _vectors_of(chunks, folder)
        self._rng = np.random.default_rng(seed)

    def vectors(self, count: int) -> NDArray[np.float32]:
        """Draw vectors: float32, shape `(count, 384)`, L2-normalised."""
        near, one, other = self._rng.integers(len(self._real), size=(3, count))
        even = self._rng.standard_normal((count, DIMENSION), dtype=np.float32)
        moved = self._real[near] + MOVED * (self._real[one] - self._real[other]) + EVEN_NOISE * even
        return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)

    def segments(self, rows: int, at_once: int) -> Iterator[pa.Table]:
        """Draw rows of a collection, in tables of so many; ten rows are a document."""
        for start in range(0, rows, at_once):
            yield self._rows(start, min(at_once, rows - start))

    def _rows(self, start: int, count: int) -> pa.Table:
        numbers = np.arange(start, start + count)
        documents = [f"document-{number // 10}" for number in numbers]
        schema = collection_schema(DIMENSION)
        columns = {field.name: pa.nulls(count, field.type) for field in schema}
        columns |= {
            "id": pa.array([f"{d}:{n % 10}" for d, n in zip(documents, numbers, strict=True)]),
            "document_id": pa.array(documents),
            "source": pa.array([f"/documents/{each}.txt" for each in documents]),
            "text": pa.array([self._texts[number % len(self._texts)] for number in numbers]),
            "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(self.vectors(count).ravel()), DIMENSION
            ),
            "chunk_index": pa.array(numbers % 10, pa.int32()),
            "page": pa.array(numbers % PAGES, pa.int32()),
            "job_id": pa.array(["resampled"] * count),
        }
        return pa.table([columns[field.name] for field in schema], schema=schema)


def question_vectors(folder: Path) -> NDArray[np.float32]:
    """Return the vectors of the twenty questions over the same documents, float32 `(20, 384)`."""
    return _embedded([each.text for each in questions()], folder)


def _vectors_of(chunks: pa.Table, folder: Path) -> NDArray[np.float32]:
    file = folder / f"real_vectors_{len(chunks)}.npy"
    if not file.is_file():
        np.save(file, _embedded(chunks["text"].to_pylist(), folder))
    return np.load(file)


def _embedded(texts: list[str], folder: Path) -> NDArray[np.float32]:
    models = folder / "models"
    model = describe_model(DEFAULT_MODEL, precision="auto", models_dir=models)
    return load_provider(model, models_dir=models).embed_texts(texts)
