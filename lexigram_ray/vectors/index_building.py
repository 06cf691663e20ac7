"""The indexes of a collection as they stand, and how each step of a plan is done.

Lance lets an index's commit and a writer's pass beside each other, whichever comes first: a
build takes no turn, however long it runs. `id` never gets an index of its own: a second look at
the key would take another way through Lance than the one whose safety was measured.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from lexigram_ray.vectors.index_plan import IndexShape, VectorIndex, segments_to_merge
from lexigram_ray.vectors.search_tuning import read_tuning
from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lance import LanceDataset
    from lance.lance.indices import IndexDescription

    from lexigram_ray.vectors.collection import Collection

VECTOR_INDEX: Final = "vector_idx"
ScalarKind = Literal["BITMAP", "BTREE"]

FILTERED_COLUMNS: Final = ("source", "page", "job_id")
"""Columns that conditions are about. `title` has a full-text index of its own already."""

# Of Lance's 256 samples a partition and 50 rounds, a quarter trains in a third of the time, and
# two partitions more find as much (200,000 rows of 384 numbers).
_TRAINING: Final[dict[str, Any]] = {"sample_rate": 64, "max_iters": 20}

_JUDGED_ROWS = 20_000
FEW_VALUES = 1_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarIndex:
    """An index over one column's values, present or planned."""

    column: str
    kind: ScalarKind

    @property
    def name(self) -> str:
        """As LanceDB would name it."""
        return f"{self.column}_idx"


def vector_index_of(collection: Collection) -> VectorIndex | None:
    """Return the index over the vectors; None where there is none."""
    with lance_errors(collection.name, collection.path):
        found = _described(collection.dataset, "vector")
        tuning = read_tuning(collection.dataset)
    if found is None:
        return None
    return VectorIndex(
        name=found.name,
        kind=found.index_type,
        indexed_rows=found.num_rows_indexed,
        segments=len(found.segments),
        trained_rows=tuning.trained_rows if tuning else 0,
        is_tuned=tuning is not None and tuning.is_measured,
    )


def build_vector_index(collection: Collection, shape: IndexShape, name: str = VECTOR_INDEX) -> None:
    """Train and build the index over every row, in place of the one that is there.

    Searches go on by the older one, or exactly, until the new one is committed.

    Raises:
        DiskFullError: No space is left; the older one stays.
        WriteConflictError: A compaction came first; calling again later is enough.
    """
    options: dict[str, Any] = {"num_partitions": shape.partitions, **_TRAINING}
    if shape.sub_vectors:
        options["num_sub_vectors"] = shape.sub_vectors
    with lance_errors(collection.name, collection.path):
        collection.dataset.checkout_latest()
        collection.dataset.create_index(
            "vector", shape.kind, name=name, metric="cosine", replace=True, **options
        )


def fold_in_vectors(collection: Collection, index: VectorIndex) -> None:
    """Add the rows that came since to the index, without training it."""
    with lance_errors(collection.name, collection.path):
        collection.dataset.checkout_latest()
        collection.dataset.optimize.optimize_indices(
            index_names=[index.name], num_indices_to_merge=segments_to_merge(index.segments)
        )


def partitions_of(collection: Collection, name: str) -> int:
    """Return how many partitions an index has."""
    with lance_errors(collection.name, collection.path):
        described = collection.dataset.stats.index_stats(name)["indices"]
    return max(int(each.get("num_partitions", 1)) for each in described)


def missing_scalar_indexes(collection: Collection) -> list[ScalarIndex]:
    """Return the columns that should have an index and have none, judged by some of their rows."""
    with lance_errors(collection.name, collection.path):
        dataset = collection.dataset
        columns = [each for each in FILTERED_COLUMNS if _described(dataset, each) is None]
        if not columns:
            return []
        rows = dataset.count_rows()
        step = max(1, rows // _JUDGED_ROWS)
        sample = dataset.take(list(range(0, rows, step))[:_JUDGED_ROWS], columns=columns)
    values = {each: len(sample[each].unique()) for each in columns}
    return scalar_indexes_for(values)


def scalar_indexes_for(values: Mapping[str, int]) -> list[ScalarIndex]:
    """Return which columns are worth an index, given how many values each was seen to have. Pure.

    A column of a single value tells no rows apart, and one of many is what BTREE is for: neither
    gets a bitmap.
    """
    return [
        ScalarIndex(column=column, kind="BITMAP")
        for column, count in values.items()
        if 1 < count <= FEW_VALUES
    ]


def build_scalar_index(collection: Collection, index: ScalarIndex) -> None:
    """Build an index over one column."""
    with lance_errors(collection.name, collection.path):
        collection.dataset.checkout_latest()
        collection.dataset.create_scalar_index(
            index.column, index.kind, name=index.name, replace=True
        )


def stale_scalar_indexes(collection: Collection, rows_behind: int) -> list[str]:
    """Return the names of scalar indexes that lack more than so many rows."""
    with lance_errors(collection.name, collection.path):
        dataset = collection.dataset
        rows = dataset.count_rows()
        return [
            index.name
            for index in dataset.describe_indices()
            if index.field_names[0] in FILTERED_COLUMNS
            and index.index_type.upper() in ("BITMAP", "BTREE")
            and rows - index.num_rows_indexed > rows_behind
        ]


def fold_in_scalars(collection: Collection, names: list[str]) -> None:
    """Add the rows that came since to some scalar indexes."""
    with lance_errors(collection.name, collection.path):
        collection.dataset.checkout_latest()
        collection.dataset.optimize.optimize_indices(index_names=names)


def _described(dataset: LanceDataset, column: str) -> IndexDescription | None:
    return next(
        (
            index
            for index in dataset.describe_indices()
            if index.field_names == [column] and index.index_type != "Inverted"
        ),
        None,
    )
