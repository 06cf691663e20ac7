"""The nearest rows to a vector: exactly, or by the index with the effort that it was found to need.

An index is used only where its recall has been measured (`search_tuning`), and never for a
condition that few rows meet: those are compared one by one, which is exact and as quick.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.vectors.search_tuning import Effort, SearchTuning, read_tuning

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection

EXACT_ROWS = 20_000
"""So many rows are compared one by one in the time that an index takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a search wants of the index.

    Attributes:
        limit: How many rows.
        rows: Of the collection.
        matching: Of them, those that meet the condition; None without one.
    """

    limit: int
    rows: int
    matching: int | None = None


def effort_for(collection: Collection, limit: int, condition: str | None) -> Effort | None:
    """Return how to use the collection's index for one search; None to search exactly."""
    tuning = read_tuning(collection.dataset)
    if tuning is None or not tuning.usable:
        return None
    dataset = collection.dataset
    matching = None if condition is None else dataset.count_rows(condition)
    need = Need(limit=limit, rows=dataset.count_rows(), matching=matching)
    return scaled_effort(tuning, need)


def scaled_effort(tuning: SearchTuning, need: Need) -> Effort | None:
    """Return the effort for a search that asks for more than the one that was measured. Pure.

    A condition that a tenth of the rows meet leaves a tenth of the candidates in each partition,
    so ten times as many partitions are looked through. Lance compares so many times the wanted rows
    by their own vectors: who wants fewer has as many candidates compared all the same, or the rows
    that a shortened vector puts in a wrong place would be missed.

    Args:
        tuning: What was measured.
        need: Of this search.

    Returns:
        None where so few rows match that exact search is as quick.
    """
    share = 1.0
    if need.matching is not None:
        if need.matching <= EXACT_ROWS:
            return None
        share = need.matching / max(need.rows, 1)
    effort, deeper = tuning.effort, max(1.0, need.limit / tuning.depth)
    probes = min(tuning.partitions, math.ceil(effort.nprobes * deeper / share))
    ef = None if effort.ef is None else math.ceil(effort.ef * deeper)
    return replace(
        effort,
        nprobes=max(effort.nprobes, probes),
        refine_factor=math.ceil(effort.refine_factor * max(1.0, tuning.depth / need.limit)),
        ef=ef,
    )


def nearest_query(vector: NDArray[np.float32], limit: int, effort: Effort | None) -> dict[str, Any]:
    """Return what Lance's scanner takes as `nearest`.

    Rows that are in no index yet are compared one by one in either case.

    Args:
        vector: float32, shape `(dimension,)`.
        limit: The most rows.
        effort: How the index is used; None for exact search.
    """
    query = np.ascontiguousarray(vector, dtype=np.float32)
    nearest: dict[str, Any] = {"column": "vector", "q": query, "k": limit, "metric": "cosine"}
    if effort is None:
        return nearest | {"use_index": False}
    # No maximum: where too few rows are found, Lance looks through further partitions.
    nearest["minimum_nprobes"] = effort.nprobes
    if effort.refine_factor > 0:
        nearest["refine_factor"] = effort.refine_factor
    if effort.ef is not None:
        nearest["ef"] = max(effort.ef, limit)
    return nearest


def nearest_ids(
    collection: Collection, vector: NDArray[np.float32], limit: int, effort: Effort | None
) -> list[str]:
    """Return the ids of the rows nearest to a vector, nearest first."""
    scanner = collection.dataset.scanner(
        columns=["id", "_distance"],
        nearest=nearest_query(vector, limit, effort),
        disable_scoring_autoprojection=True,
    )
    return scanner.to_table().column("id").to_pylist()
