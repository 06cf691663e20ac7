"""Looking after one collection: merge fragments, keep the indexes up, measure, drop old versions.

Every step stands for itself: one that fails is reported, and the next is done all the same. Above
all the old versions go whatever else has failed, as a full disk is what most often fails it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lexigram_ray.core.errors import WorkerError, WriteConflictError
from lexigram_ray.vectors.compaction import Compacted, compact, planned_groups
from lexigram_ray.vectors.compaction_plan import CompactionRules
from lexigram_ray.vectors.index_building import (
    ScalarIndex,
    build_scalar_index,
    fold_in_scalars,
    missing_scalar_indexes,
    stale_scalar_indexes,
)
from lexigram_ray.vectors.index_plan import IndexRules, VectorPlan
from lexigram_ray.vectors.recall import SAMPLED_QUERIES, take_sample
from lexigram_ray.vectors.text_index import ensure_text_index
from lexigram_ray.vectors.vector_upkeep import VectorUpkeep, keep_up_vector_index, plan_for
from lexigram_ray.vectors.versions import Cleaned, DiskUse, clean_versions, disk_use

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepRules:
    """What is due when."""

    index: IndexRules = field(default_factory=IndexRules)
    compaction: CompactionRules = field(default_factory=CompactionRules)
    keep_versions: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What upkeep needs of the world.

    Attributes:
        turn: The turn of the collection's writers.
        now: The time, UTC.
        rng: Draws the rows by which an index is measured.
        queries: How many of them.
        cores: That building may use.
        tell: Is given a line when a step begins.
        should_stop: Asked between steps.
    """

    turn: Callable[[], AbstractContextManager[None]]
    now: Callable[[], datetime]
    rng: np.random.Generator
    cores: int
    tell: Callable[[str], None]
    should_stop: Callable[[], bool]
    queries: int = SAMPLED_QUERIES


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """What was done for a collection.

    Attributes:
        before, after: Its files.
        put_off: Steps that a writer has come before; the next run does them.
        failed: Steps that failed, with the reason.
    """

    before: DiskUse
    after: DiskUse
    compacted: Compacted = field(default_factory=Compacted)
    vector: VectorUpkeep | None = None
    scalars: list[ScalarIndex] = field(default_factory=list[ScalarIndex])
    cleaned: Cleaned = field(default_factory=Cleaned)
    put_off: list[str] = field(default_factory=list[str])
    failed: list[tuple[str, WorkerError]] = field(default_factory=list[tuple[str, WorkerError]])


def keep_up(collection: Collection, rules: UpkeepRules, around: Surroundings) -> Upkeep:
    """Do whatever is due for a collection, beside its readers and writers.

    Args:
        collection: Is at the newest version afterwards.
        rules: From the configuration.
        around: See there.

    Raises:
        WorkerError: The collection cannot be read at all.
    """
    collection.refresh()
    use = disk_use(collection)
    done = Upkeep(before=use, after=use)

    def merge() -> None:
        done.compacted = compact(
            collection, rules.compaction, turn=around.turn, should_stop=around.should_stop
        )

    def index_vectors() -> None:
        done.vector = keep_up_vector_index(
            collection,
            rules.index,
            draw=partial(take_sample, collection, around.rng, around.queries),
            tell=around.tell,
        )

    def clean() -> None:
        # In the writers' turn: none is between the version that it starts from and its commit.
        with around.turn():
            done.cleaned = clean_versions(collection, keep=rules.keep_versions, now=around.now())

    steps: list[tuple[str, Callable[[], None]]] = [
        ("merging fragments", merge),
        ("indexing texts", lambda: ensure_text_index(collection, cores=around.cores)),
        ("indexing vectors", index_vectors),
        ("indexing columns", lambda: done.scalars.extend(_index_columns(collection, rules.index))),
        ("removing old versions", clean),
    ]
    for what, step in steps:
        if around.should_stop():
            break
        around.tell(f"{collection.name}: {what}")
        _attempt(what, step, done)
    collection.refresh()
    done.after = disk_use(collection)
    return done


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUpkeep:
    """What is due for a collection.

    Attributes:
        merges: Groups of fragments.
        versions: That would go.
    """

    use: DiskUse
    merges: int
    versions: int
    vector: VectorPlan


def planned_upkeep(collection: Collection, rules: UpkeepRules, now: datetime) -> PlannedUpkeep:
    """Return what `keep_up` would do now; nothing is changed."""
    collection.refresh()
    expired = clean_versions(collection, keep=rules.keep_versions, now=now, dry_run=True)
    return PlannedUpkeep(
        use=disk_use(collection),
        merges=len(planned_groups(collection, rules.compaction)),
        versions=expired.versions,
        vector=plan_for(collection, rules.index),
    )


def _attempt(what: str, step: Callable[[], None], done: Upkeep) -> None:
    try:
        step()
    except WriteConflictError as error:
        logger.info("%s was put off: %s", what, error)
        done.put_off.append(what)
    except WorkerError as error:
        logger.warning("%s failed: %s", what, error)
        done.failed.append((what, error))


def _index_columns(collection: Collection, rules: IndexRules) -> list[ScalarIndex]:
    """Bring the indexes that conditions use up to date, and return those that were built."""
    rows = collection.count_rows()
    if rows < rules.min_rows:
        return []
    stale = stale_scalar_indexes(collection, min(rules.fold_in_rows, rows // 100))
    if stale:
        fold_in_scalars(collection, stale)
    missing = missing_scalar_indexes(collection)
    for index in missing:
        build_scalar_index(collection, index)
    return missing
