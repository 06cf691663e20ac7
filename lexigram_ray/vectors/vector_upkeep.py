"""One collection's vector index: what is due is done, and its recall is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.vectors.index_building import (
    VECTOR_INDEX,
    build_vector_index,
    fold_in_vectors,
    partitions_of,
    vector_index_of,
)
from lexigram_ray.vectors.index_plan import (
    IndexRules,
    IndexShape,
    VectorIndex,
    VectorPlan,
    VectorStep,
    plan_vector_index,
    shape_for,
)
from lexigram_ray.vectors.index_tuning import Trained, scaled_for, tune
from lexigram_ray.vectors.recall import Measured, Sample, measure
from lexigram_ray.vectors.search_tuning import SearchTuning, keep_tuning, read_tuning

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection

TIMED_QUERIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorUpkeep:
    """What was done for a vector index.

    Attributes:
        plan: What was due, and why.
        before: How searches did before, exact ones where there was no usable index; None where
            nothing was due.
        after: How they do now.
        tuning: How the index is used from now on; None where nothing was due.
        queries: Rows that stood for queries in these measurements.
    """

    plan: VectorPlan
    before: Measured | None = None
    after: Measured | None = None
    tuning: SearchTuning | None = None
    queries: int = 0


def plan_for(collection: Collection, rules: IndexRules) -> VectorPlan:
    """Return what is due for the vector index, at the version that `collection` holds."""
    return plan_vector_index(
        collection.count_rows(),
        collection.settings.dimension,
        vector_index_of(collection),
        rules,
    )


def keep_up_vector_index(
    collection: Collection,
    rules: IndexRules,
    *,
    draw: Callable[[], Sample],
    tell: Callable[[str], None],
) -> VectorUpkeep:
    """Build, train anew, fold in or measure the vector index, whichever is due.

    Args:
        collection: Is at the newest version afterwards.
        rules: From the configuration.
        draw: Takes a sample of the version that `collection` holds.
        tell: Is given a line when a step begins.

    Raises:
        WriteConflictError: A compaction came first; the next run goes on.
        WorkerError: Lance failed; the index stays as it was, or searches are exact.
    """
    collection.refresh()
    index = vector_index_of(collection)
    plan = plan_for(collection, rules)
    if plan.step is VectorStep.NOTHING:
        return VectorUpkeep(plan=plan)
    tell(f"{collection.name}: measuring exact search")
    before = _measured_now(collection, draw())
    _carry_out(collection, plan, index, tell)
    sample = draw()
    tuning, after = _tuned(collection, sample, rules, plan.shape)
    if not tuning.usable and plan.shape is None:
        # It was trained on other rows than those that are here now.
        shape = shape_for(collection.count_rows(), collection.settings.dimension)
        tell(f"{collection.name}: training the index anew, as it finds too little")
        _train(collection, shape, index)
        tuning, after = _tuned(collection, sample, rules, shape)
    return VectorUpkeep(plan=plan, before=before, after=after, tuning=tuning, queries=len(sample))


def _carry_out(
    collection: Collection,
    plan: VectorPlan,
    index: VectorIndex | None,
    tell: Callable[[str], None],
) -> None:
    if plan.shape is not None:
        tell(f"{collection.name}: training the vector index ({plan.reason})")
        _train(collection, plan.shape, index)
    elif plan.step is VectorStep.FOLD_IN and index is not None:
        tell(f"{collection.name}: adding {plan.reason} to the vector index")
        fold_in_vectors(collection, index)
    collection.refresh()


def _train(collection: Collection, shape: IndexShape, index: VectorIndex | None) -> None:
    tuning = read_tuning(collection.dataset)
    rows = collection.count_rows()
    if tuning is not None:
        # Searches use the new index from its commit on: until it is measured, with more effort.
        # Whoever comes after a kill sees that it never was.
        keep_tuning(collection, scaled_for(tuning, shape.partitions))
    build_vector_index(collection, shape, index.name if index else VECTOR_INDEX)
    tuning = read_tuning(collection.dataset)
    if tuning is not None:
        keep_tuning(collection, replace(tuning, trained_rows=rows))


def _tuned(
    collection: Collection, sample: Sample, rules: IndexRules, shape: IndexShape | None
) -> tuple[SearchTuning, Measured]:
    """Tune the index; `shape` says how it was built just now, None that it is an older one."""
    collection.refresh()
    index = vector_index_of(collection)
    if index is None:
        raise WriteConflictError(f"collection {collection.name}: its vector index was dropped")
    kept = read_tuning(collection.dataset)
    if shape is not None:
        partitions = shape.partitions
    elif kept is not None and kept.is_measured:
        partitions = kept.partitions
    else:
        partitions = partitions_of(collection, index.name)
    trained = Trained(
        kind=index.kind,
        partitions=partitions,
        rows=kept.trained_rows if kept else collection.count_rows(),
    )
    return tune(collection, sample, trained, target=rules.target_recall)


def _measured_now(collection: Collection, sample: Sample) -> Measured:
    tuning = read_tuning(collection.dataset)
    if tuning is None or not tuning.usable:
        # Exact search is what it would be held against: only its time is of interest.
        return measure(collection, sample.first(TIMED_QUERIES), None)
    return measure(collection, sample, tuning.effort)
