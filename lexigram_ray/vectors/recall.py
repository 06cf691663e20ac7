"""How well a collection's vector index finds: held against exact search over the same rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.vectors.nearest import Effort, nearest_ids
from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection

SAMPLED_QUERIES = 100
NEIGHBOURS = 10
DEPTH = 50
"""Hybrid search asks for so many: an index must find these as well as the first ten."""

_SCANNED_AT_ONCE = 16_384
_WITH_VECTOR = "vector IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows of a collection that stand for queries, and what exact search finds for each.

    Attributes:
        vectors: float32, shape `(queries, dimension)`, L2-normalised.
        nearest: For each query the ids of its `DEPTH` nearest rows, nearest first; the row that
            the query was taken from is not among them.
        own: The ids of the rows that the queries were taken from.
    """

    vectors: NDArray[np.float32]
    nearest: tuple[tuple[str, ...], ...]
    own: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.own)

    def first(self, count: int) -> Sample:
        """Return a sample of the first queries only."""
        return Sample(
            vectors=self.vectors[:count], nearest=self.nearest[:count], own=self.own[:count]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How a way of searching has done on a sample.

    Attributes:
        recall_at_10, recall_at_50: The share of the nearest rows that were found.
        p50_ms: Median milliseconds of a search.
    """

    recall_at_10: float
    recall_at_50: float
    p50_ms: float

    @property
    def lowest(self) -> float:
        """The lower of both recalls."""
        return min(self.recall_at_10, self.recall_at_50)


def take_sample(
    collection: Collection, rng: np.random.Generator, queries: int = SAMPLED_QUERIES
) -> Sample:
    """Draw rows of a collection as queries, and find their nearest rows by a scan of all.

    It reads every vector once. Rows without a usable vector are never drawn.

    Args:
        collection: At the version that it holds.
        rng: Draws the rows.
        queries: How many; fewer where the collection has fewer rows.

    Raises:
        WorkerError: Lance failed.
    """
    with lance_errors(collection.name, collection.path):
        dataset = collection.dataset
        rows = dataset.count_rows()
        places = np.sort(rng.choice(rows, size=min(queries, rows), replace=False))
        drawn = dataset.take(places.tolist(), columns=["id", "vector"])
        drawn = drawn.filter(drawn["vector"].is_valid())
        vectors = _matrix(drawn.column("vector").combine_chunks(), collection.settings.dimension)
        usable = np.isfinite(vectors).all(axis=1) & (np.linalg.norm(vectors, axis=1) > 0)
        ids = [each for each, good in zip(drawn["id"].to_pylist(), usable, strict=True) if good]
        normal = _normalised(vectors[usable])
        nearest = _exact(collection, normal, depth=DEPTH + 1)
    others = tuple(
        tuple(each for each in found if each != own)[:DEPTH]
        for own, found in zip(ids, nearest, strict=True)
    )
    return Sample(vectors=normal, nearest=others, own=tuple(ids))


def measure(collection: Collection, sample: Sample, effort: Effort | None) -> Measured:
    """Search for each query of a sample, and say how much of what is right was found.

    Args:
        collection: At the version that it holds.
        sample: From `take_sample`.
        effort: How the index is used; None for exact search.
    """
    tens: list[float] = []
    fifties: list[float] = []
    seconds: list[float] = []
    for vector, own, right in zip(sample.vectors, sample.own, sample.nearest, strict=True):
        began = time.perf_counter()
        nearest = nearest_ids(collection, vector, DEPTH + 1, effort)
        seconds.append(time.perf_counter() - began)
        found = [each for each in nearest if each != own]
        tens.append(share_found(right[:NEIGHBOURS], found[:NEIGHBOURS]))
        fifties.append(share_found(right, found))
    return Measured(
        recall_at_10=float(np.mean(tens)),
        recall_at_50=float(np.mean(fifties)),
        p50_ms=1000 * median(seconds),
    )


def share_found(right: Sequence[str], found: Sequence[str]) -> float:
    """Return the share of the right ids that were found; 1 where there are none. Pure."""
    return len(set(right).intersection(found)) / len(right) if right else 1.0


def _exact(collection: Collection, queries: NDArray[np.float32], depth: int) -> list[list[str]]:
    """Return each query's nearest ids by cosine, reading the vectors of all rows once."""
    best = np.empty((len(queries), 0), np.float32)
    ids = np.empty((len(queries), 0), object)
    scanner = collection.dataset.scanner(
        columns=["id", "vector"], filter=_WITH_VECTOR, batch_size=_SCANNED_AT_ONCE
    )
    for batch in scanner.to_batches():
        vectors = _normalised(_matrix(batch.column("vector"), queries.shape[1]))
        cosines = queries @ vectors.T
        names = np.asarray(batch.column("id").to_pylist(), object)
        among = _highest(cosines, depth)
        best = np.hstack([best, np.take_along_axis(cosines, among, axis=1)])
        ids = np.hstack([ids, names[among]])
        kept = _highest(best, depth)
        best, ids = np.take_along_axis(best, kept, axis=1), np.take_along_axis(ids, kept, axis=1)
    return [[str(each) for each in row] for row in ids]


def _highest(cosines: NDArray[np.float32], depth: int) -> NDArray[np.int64]:
    """Return the places of each row's highest numbers, highest first."""
    if depth < cosines.shape[1]:
        among = np.argpartition(-cosines, depth, axis=1)[:, :depth]
    else:
        among = np.broadcast_to(np.arange(cosines.shape[1]), cosines.shape)
    order = np.argsort(-np.take_along_axis(cosines, among, axis=1), axis=1, kind="stable")
    return np.take_along_axis(among, order, axis=1)


def _matrix(column: pa.Array, dimension: int) -> NDArray[np.float32]:
    """Return vectors, of which none is null, as rows."""
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension)


def _normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    good = np.isfinite(norms) & (norms > 0)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=good)
