"""Finding out how a vector index must be searched, and whether it can be trusted at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lexigram_ray.vectors.recall import DEPTH, Measured, Sample, measure
from lexigram_ray.vectors.search_tuning import Effort, SearchTuning, keep_tuning, least_effort

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection

MARGIN = 0.02
"""Sampled rows lie nearer to their neighbours than questions do: a little more is aimed at."""

LEAST_SHARE = 1 / 32
"""Of the partitions, searched in any case: a question may lie between some, a sampled row does not.
"""

MOST_REFINED = 16
_REFINE_FACTORS = (8, 12)
"""Fewer are enough for sampled rows and not for questions: of a million rows, 4 found 93 % of what
twenty questions look for, 8 found more than 95 %, at a millisecond's cost."""
_EFS = (100, 200, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The facts of an index that a tuning is kept with.

    Attributes:
        kind: As Lance names it.
        partitions: Of the index.
        rows: Of the table when it was trained.
    """

    kind: str
    partitions: int
    rows: int


def tune(
    collection: Collection, sample: Sample, trained: Trained, *, target: float
) -> tuple[SearchTuning, Measured]:
    """Find the least effort whose recall reaches the target, and keep it with the table.

    The partitions are found first, with more rows refined than is ever needed; then how few rows
    refined are enough. Takes seconds. An index that cannot reach the target is kept as unusable.

    Args:
        collection: Holds the newest version.
        sample: Of this collection.
        trained: What the index is.
        target: The recall that a search must have, of the ten nearest and of the fifty nearest.

    Returns:
        What is kept, and how it has done on the sample.
    """
    seen: dict[Effort, Measured] = {}

    def recall_of(effort: Effort) -> float:
        seen[effort] = measure(collection, sample, effort)
        return seen[effort].lowest

    effort, recall = _least(trained, recall_of, min(1.0, target + MARGIN))
    tuning = SearchTuning(
        usable=recall >= target,
        effort=effort,
        depth=DEPTH,
        recall_at_10=seen[effort].recall_at_10,
        partitions=trained.partitions,
        trained_rows=trained.rows,
    )
    keep_tuning(collection, tuning)
    return tuning, seen[effort]


def _least(
    trained: Trained, recall_of: Callable[[Effort], float], aim: float
) -> tuple[Effort, float]:
    first = Effort(
        nprobes=1,
        refine_factor=MOST_REFINED if _is_quantized(trained.kind) else 0,
        ef=_EFS[0] if "HNSW" in trained.kind else None,
    )
    fewest = math.ceil(trained.partitions * LEAST_SHARE)
    probes = [each for each in probes_up_to(trained.partitions) if each >= fewest]
    ladder = [replace(first, nprobes=each) for each in probes]
    effort, recall = least_effort(ladder, recall_of, aim)
    if recall < aim and effort.ef is not None:
        wider = [replace(effort, ef=ef) for ef in _EFS[1:]]
        effort, recall = max(
            (effort, recall), least_effort(wider, recall_of, aim), key=lambda each: each[1]
        )
    if recall < aim or not effort.refine_factor:
        return effort, recall
    fewer = [replace(effort, refine_factor=each) for each in _REFINE_FACTORS]
    refined, with_fewer = least_effort(fewer, recall_of, aim)
    return (refined, with_fewer) if with_fewer >= aim else (effort, recall)


def probes_up_to(partitions: int) -> list[int]:
    """Return growing numbers of partitions to try, the last being all of them. Pure."""
    steps = [base << exponent for exponent in range(13) for base in (2, 3)]
    return [1, *(each for each in steps if each < partitions), partitions]


def scaled_for(tuning: SearchTuning, partitions: int) -> SearchTuning:
    """Return a tuning for an index of more partitions, to be used until that is measured. Pure."""
    factor = max(1.0, partitions / max(tuning.partitions, 1))
    probes = math.ceil(tuning.effort.nprobes * factor)
    return replace(tuning, effort=replace(tuning.effort, nprobes=probes), is_measured=False)


def _is_quantized(kind: str) -> bool:
    return kind.endswith(("PQ", "SQ", "RQ"))
