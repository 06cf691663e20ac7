"""What to do about the indexes of a collection: decisions, from figures alone. Pure.

Below some ten thousand rows a scan is exact and quick, and there is no vector index. Above, an
index is trained once, takes in new rows cheaply from then on, and is trained anew when it stands
for a table that has outgrown it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

IVF_PQ = "IVF_PQ"
IVF_HNSW_SQ = "IVF_HNSW_SQ"

FEWEST_PARTITIONS = 4
MOST_PARTITIONS = 4_096

# Sub-vectors are read with SIMD in groups of eight numbers; eight numbers in a byte is a thirty-
# second of the vector, whose loss is made good by reading the best rows' own vectors.
NUMBERS_PER_SUB_VECTOR = 8

MOST_SEGMENTS = 4
"""Every segment of a vector index is searched apart, each with as many partitions."""


class VectorStep(StrEnum):
    """What is due for a collection's vector index."""

    NOTHING = "nothing"
    BUILD = "build"
    TRAIN_ANEW = "train_anew"
    FOLD_IN = "fold_in"
    TUNE = "tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRules:
    """When an index is worth it, and when it is out of date.

    Attributes:
        min_rows: Collections with fewer rows have no vector index.
        retrain_share: Trained anew when more than this share of the rows is not in it.
        retrain_growth: Trained anew when the rows are so many times those that it was trained on.
        fold_in_share: New rows are folded in when they are more than this share of the rows.
        fold_in_rows: New rows are folded in at the latest when they are as many.
        target_recall: Of the ten nearest rows, the share that a search must find.
    """

    min_rows: int = 50_000
    retrain_share: float = 0.2
    retrain_growth: float = 4.0
    fold_in_share: float = 0.01
    fold_in_rows: int = 5_000
    target_recall: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """A vector index as it stands.

    Attributes:
        kind: As Lance names it, such as `IVF_PQ`.
        indexed_rows: Rows that are in it.
        segments: It consists of so many parts.
        trained_rows: Rows of the table when it was trained; 0 when nobody has written it down.
        is_tuned: Whether it has been measured how a search must use it.
    """

    name: str
    kind: str
    indexed_rows: int
    segments: int
    trained_rows: int
    is_tuned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexShape:
    """How a vector index is built.

    Attributes:
        sub_vectors: Of a product quantizer; 0 for kinds that have none.
    """

    kind: str
    partitions: int
    sub_vectors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPlan:
    """What to do about the vector index, and why.

    Attributes:
        shape: Of the index that is to be built; None unless one is.
    """

    step: VectorStep
    reason: str
    shape: IndexShape | None = None


def plan_vector_index(
    rows: int, dimension: int, index: VectorIndex | None, rules: IndexRules
) -> VectorPlan:
    """Decide what is due for a collection's vector index.

    Args:
        rows: Of the collection.
        dimension: Of its vectors.
        index: The one that is there.
        rules: From the configuration.
    """
    if rows < rules.min_rows:
        return _plan(VectorStep.NOTHING, f"{rows:,} rows are scanned quickly enough")
    if index is None:
        reason = f"{rows:,} rows and no vector index"
        return _plan(VectorStep.BUILD, reason, shape_for(rows, dimension))
    return _plan_present(rows, dimension, index, rules)


def _plan_present(rows: int, dimension: int, index: VectorIndex, rules: IndexRules) -> VectorPlan:
    unindexed = max(0, rows - index.indexed_rows)
    if unindexed > rules.retrain_share * rows:
        reason = f"{unindexed:,} of {rows:,} rows are not in it"
        return _plan(VectorStep.TRAIN_ANEW, reason, shape_for(rows, dimension))
    if index.trained_rows and rows >= rules.retrain_growth * index.trained_rows:
        reason = f"trained on {index.trained_rows:,} rows, and there are {rows:,}"
        return _plan(VectorStep.TRAIN_ANEW, reason, shape_for(rows, dimension))
    if unindexed > min(rules.fold_in_rows, rules.fold_in_share * rows):
        return _plan(VectorStep.FOLD_IN, f"{unindexed:,} new rows")
    if not index.is_tuned:
        return _plan(VectorStep.TUNE, "it is not known how well it finds")
    return _plan(VectorStep.NOTHING, f"{unindexed:,} new rows are scanned quickly enough")


def shape_for(rows: int, dimension: int) -> IndexShape:
    """Return how to build an index over so many vectors."""
    sub_vectors = sub_vectors_for(dimension)
    kind = IVF_PQ if sub_vectors else IVF_HNSW_SQ
    return IndexShape(kind=kind, partitions=partitions_for(rows), sub_vectors=sub_vectors)


def partitions_for(rows: int) -> int:
    """Return the square root of the rows: as many partitions to choose from as rows in each."""
    return min(MOST_PARTITIONS, max(FEWEST_PARTITIONS, round(math.sqrt(rows))))


def sub_vectors_for(dimension: int) -> int:
    """Return how many bytes a vector is shortened to; 0 where it cannot be divided evenly.

    The largest division into parts of at least eight numbers, else of four.
    """
    for numbers in (NUMBERS_PER_SUB_VECTOR, NUMBERS_PER_SUB_VECTOR // 2):
        if dimension % numbers == 0 and dimension >= 2 * numbers:
            return dimension // numbers
    return 0


def segments_to_merge(segments: int) -> int:
    """Return how many segments of a vector index to rewrite together with new rows."""
    return segments if segments >= MOST_SEGMENTS else 0


def _plan(step: VectorStep, reason: str, shape: IndexShape | None = None) -> VectorPlan:
    return VectorPlan(step=step, reason=reason, shape=shape)
