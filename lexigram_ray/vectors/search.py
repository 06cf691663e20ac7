"""Search: by vector, by words, and by both."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import CollectionMismatchError, UsageError
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.condition import checked_condition, condition_errors
from lexigram_ray.vectors.nearest import effort_for, nearest_query
from lexigram_ray.vectors.text_index import text_query
from lexigram_ray.vectors.translate import lance_errors

_T = TypeVar("_T")

SearchMode = Literal["vector", "text", "hybrid"]

RRF_K = 2
"""As in Qdrant: the first places of each side count most. With 60, a passage that both sides have
in the middle goes before one that either side is sure of."""

HYBRID_DEPTH = 50

_COLUMNS = [
    "id",
    "text",
    "document_id",
    "source",
    "title",
    "page",
    "chunk_index",
    "char_start",
    "char_end",
    "metadata",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage that was found; a higher score is better."""

    id: str
    score: float
    text: str
    document_id: str
    source: str
    title: str
    page: int | None
    chunk_index: int
    char_start: int
    char_end: int
    metadata: dict[str, object] = field(default_factory=dict[str, object])

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object."""
        return asdict(self)


def search(
    collection: Collection,
    *,
    mode: SearchMode,
    text: str | None,
    vector: NDArray[np.float32] | None,
    limit: int,
    where: str | None,
) -> list[Hit]:
    """Find the passages nearest to a query, best first.

    Args:
        collection: Where.
        mode: `vector` scores by cosine similarity, `text` by BM25, `hybrid` by reciprocal rank
            fusion of both.
        text: The words; needed by `text` and `hybrid`. Never read as a query language.
        vector: float32, shape `(dimension,)`; needed by `vector` and `hybrid`.
        limit: The most hits.
        where: A SQL condition over the columns, applied before the search; None or blank for all.

    Raises:
        UsageError: The condition is not SQL over these columns, or an argument is missing.
        CollectionMismatchError: The vector has another dimension.
        CollectionNotFoundError: The collection was dropped meanwhile.
    """
    if limit < 1:
        raise UsageError(f"the limit must be 1 or more, not {limit}")
    if mode not in get_args(SearchMode):
        raise UsageError(f"there is no search mode {mode!r}", hint="hybrid, vector or text")
    condition = checked_condition(collection, where)
    with lance_errors(collection.name, collection.path), condition_errors(collection, where):
        if mode == "vector":
            return _by_vector(collection, _needed(vector, mode, "vector"), limit, condition)
        if mode == "text":
            return _by_text(collection, _needed(text, mode, "text"), limit, condition)
        depth = max(HYBRID_DEPTH, 5 * limit)
        return fuse(
            (
                _by_vector(collection, _needed(vector, mode, "vector"), depth, condition),
                _by_text(collection, _needed(text, mode, "text"), depth, condition),
            )
        )[:limit]


def fuse(sides: Iterable[list[Hit]]) -> list[Hit]:
    """Join ranked lists by reciprocal rank: a hit's score is the sum of 1 / (`RRF_K` + rank)."""
    scores: dict[str, float] = {}
    hits: dict[str, Hit] = {}
    for side in sides:
        for rank, hit in enumerate(side, start=1):
            scores[hit.id] = scores.get(hit.id, 0.0) + 1.0 / (RRF_K + rank)
            hits.setdefault(hit.id, hit)
    fused = (replace(hits[row_id], score=score) for row_id, score in scores.items())
    return sorted(fused, key=_best_first)


def _by_vector(
    collection: Collection, vector: NDArray[np.float32], limit: int, condition: str | None
) -> list[Hit]:
    dimension = collection.settings.dimension
    if vector.shape != (dimension,):
        raise CollectionMismatchError(
            f"collection {collection.name} holds vectors of {dimension} numbers,"
            f" and the query's has the shape {vector.shape}",
            hint=f"embed the query with {collection.settings.model}",
        )
    effort = effort_for(collection, limit, condition)
    nearest = nearest_query(vector, limit, effort)
    rows = _scan(collection, "_distance", condition, nearest=nearest)
    return _ranked((row, 1.0 - row["_distance"]) for row in rows)


def _by_text(collection: Collection, text: str, limit: int, condition: str | None) -> list[Hit]:
    query = text_query(collection.dataset, text)
    rows = _scan(collection, "_score", condition, full_text_query=query, limit=limit)
    return _ranked((row, row["_score"]) for row in rows)


def _scan(
    collection: Collection, score: str, condition: str | None, **query: Any
) -> list[dict[str, Any]]:
    scanner = collection.dataset.scanner(
        columns=[*_COLUMNS, score],
        filter=condition,
        prefilter=True,
        disable_scoring_autoprojection=True,
        **query,
    )
    return scanner.to_table().to_pylist()


def _ranked(scored: Iterable[tuple[dict[str, Any], float]]) -> list[Hit]:
    return sorted((_hit(row, score) for row, score in scored), key=_best_first)


def _best_first(hit: Hit) -> tuple[float, str]:
    return -hit.score, hit.id


def _hit(row: dict[str, Any], score: float) -> Hit:
    # Other programs may write to the table: of these columns, only `id` can never be null.
    return Hit(
        id=row["id"],
        score=score,
        text=row["text"] or "",
        document_id=row["document_id"] or "",
        source=row["source"] or "",
        title=row["title"] or "",
        page=row["page"],
        chunk_index=row["chunk_index"] or 0,
        char_start=row["char_start"] or 0,
        char_end=row["char_end"] or 0,
        metadata=_parsed(row["metadata"]),
    )


def _parsed(metadata: str | None) -> dict[str, object]:
    if not metadata:
        return {}
    try:
        value: object = json.loads(metadata)
    except json.JSONDecodeError:
        return {"raw": metadata}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {"raw": metadata}


def _needed(value: _T | None, mode: SearchMode, what: str) -> _T:
    if value is None:
        raise UsageError(f"{mode} search needs a {what}")
    return value
