"""What an embedding job has to do: its units against the collection and the cache as they are."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.jobs.staged import StagedTable, StagedUnit, read_staged
from lexigram_ray.jobs.standing import SHOWN_COLUMNS, Standing, standing_of
from lexigram_ray.vectors.collection import Collection

CHARACTERS_PER_TOKEN = 8
"""More than any language's mean; a guess that is only used where a text is cut anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedPlan:
    """Units by what they need; each unit is in one of the lists.

    Attributes:
        done: Committed by an earlier attempt at this job.
        held: The collection has all their rows, as they are.
        cached: Only a commit: every vector is in the cache.
        todo: The model.
        unknown_characters: In those texts of `todo` that neither collection nor cache holds.
        before: How all staged rows stood in the collection.
    """

    done: list[StagedUnit] = field(default_factory=list[StagedUnit])
    held: list[StagedUnit] = field(default_factory=list[StagedUnit])
    cached: list[StagedUnit] = field(default_factory=list[StagedUnit])
    todo: list[StagedUnit] = field(default_factory=list[StagedUnit])
    unknown_characters: int
    before: Standing

    def done_rows(self, rows: int) -> NDArray[np.bool_]:
        """Return which of the staged rows are of units that were done before, shape `(rows,)`."""
        flags = np.zeros(rows, np.bool_)
        begin = 0
        done = {unit.index for unit in self.done}
        everything = (*self.done, *self.held, *self.cached, *self.todo)
        for unit in sorted(everything, key=lambda each: each.index):
            flags[begin : begin + unit.rows] = unit.index in done
            begin += unit.rows
        return flags


def make_plan(
    staged: StagedTable,
    collection: Collection,
    *,
    job_id: str,
    done: Set[str],
    cache: EmbeddingCache | None,
    most_tokens: int,
) -> EmbedPlan:
    """Divide the units of a staged table.

    Args:
        done: Names of the units that an earlier attempt at this job has committed.
        cache: None where no vectors are kept.
        most_tokens: The model's limit: what stands beyond it in a text is no work.
    """
    before = _standing(staged, collection, job_id)
    held = before.same & (before.count == 1)
    known = held | _cached(staged, cache)
    lengths = np.minimum(_lengths(staged), most_tokens * CHARACTERS_PER_TOKEN)
    unknown = 0
    lists: dict[str, list[StagedUnit]] = {"done": [], "held": [], "cached": [], "todo": []}
    for unit, rows in zip(staged.units, _ranges(staged.units), strict=True):
        if unit.unit_id in done:
            lists["done"].append(unit)
        elif held[rows].all():
            lists["held"].append(unit)
        elif known[rows].all():
            lists["cached"].append(unit)
        else:
            lists["todo"].append(unit)
            unknown += int(lengths[rows][~known[rows]].sum())
    return EmbedPlan(**lists, unknown_characters=unknown, before=before)


def _standing(staged: StagedTable, collection: Collection, job_id: str) -> Standing:
    if not staged.rows or collection.count_rows() == 0:
        return Standing.of_nothing(staged.rows)
    return standing_of(read_staged(staged.path), collection, job_id=job_id, compare=SHOWN_COLUMNS)


def _cached(staged: StagedTable, cache: EmbeddingCache | None) -> NDArray[np.bool_]:
    if not staged.rows or cache is None or not len(cache):
        return np.zeros(staged.rows, np.bool_)
    return cache.contains(read_staged(staged.path).column("content_hash").to_pylist())


def _lengths(staged: StagedTable) -> NDArray[np.int64]:
    if not staged.rows:
        return np.zeros(0, np.int64)
    lengths = pc.call_function("utf8_length", [read_staged(staged.path).column("text")])
    return lengths.to_numpy().astype(np.int64)


def _ranges(units: Sequence[StagedUnit]) -> list[slice]:
    ends = np.cumsum([0, *(unit.rows for unit in units)]).tolist()
    return [slice(begin, end) for begin, end in pairwise(ends)]
