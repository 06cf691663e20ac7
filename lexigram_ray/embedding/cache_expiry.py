"""Which cached rows a clean-up removes. Pure: rows and limits in, rows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanLimits:
    """What may stay in the caches; repeated rows go in any case.

    Attributes:
        older_than_days: Rows made more days ago than this go.
        unused_for_days: Rows last used more days ago than this go.
        max_bytes: Then the least recently used rows of all caches go, until the others fit.
    """

    older_than_days: int | None = None
    unused_for_days: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{name} is {value}", hint="give 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAges:
    """The rows of one cache.

    Attributes:
        newest: Whether a row is the newest of its key, shape `(n,)`.
        created, last_used: Days since 1970, shape `(n,)`.
        row_bytes: What a row takes.
    """

    newest: NDArray[np.bool_]
    created: NDArray[np.int32]
    last_used: NDArray[np.int32]
    row_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """Which rows of one cache go, each for one reason only; shape `(n,)` each."""

    repeated: NDArray[np.bool_]
    expired: NDArray[np.bool_]
    too_much: NDArray[np.bool_]

    @property
    def rows(self) -> NDArray[np.bool_]:
        """All of them."""
        return self.repeated | self.expired | self.too_much


def doomed_rows(caches: Sequence[RowAges], limits: CleanLimits, *, today: int) -> list[Doomed]:
    """Decide on the rows of several caches together, which share `max_bytes`.

    Args:
        caches: In the order of the answer.
        limits: What may stay.
        today: Days since 1970.
    """
    expired = [_expired(cache, limits, today) & cache.newest for cache in caches]
    too_much = _too_much(
        caches,
        [cache.newest & ~gone for cache, gone in zip(caches, expired, strict=True)],
        limits.max_bytes,
    )
    return [
        Doomed(repeated=~cache.newest, expired=gone, too_much=beyond)
        for cache, gone, beyond in zip(caches, expired, too_much, strict=True)
    ]


def _expired(cache: RowAges, limits: CleanLimits, today: int) -> NDArray[np.bool_]:
    expired = np.zeros(len(cache.newest), np.bool_)
    if limits.older_than_days is not None:
        expired |= cache.created < today - limits.older_than_days
    if limits.unused_for_days is not None:
        expired |= cache.last_used < today - limits.unused_for_days
    return expired


def _too_much(
    caches: Sequence[RowAges], left: Sequence[NDArray[np.bool_]], max_bytes: int | None
) -> list[NDArray[np.bool_]]:
    beyond = [np.zeros(len(rows), np.bool_) for rows in left]
    if max_bytes is None or not caches:
        return beyond
    places = [np.flatnonzero(rows) for rows in left]
    last_used = np.concatenate([c.last_used[p] for c, p in zip(caches, places, strict=True)])
    created = np.concatenate([c.created[p] for c, p in zip(caches, places, strict=True)])
    sizes = np.concatenate(
        [np.full(len(p), c.row_bytes) for c, p in zip(caches, places, strict=True)]
    )
    latest_first = np.lexsort((-created, -last_used))
    goes = np.empty(len(sizes), np.bool_)
    goes[latest_first] = np.cumsum(sizes[latest_first]) > max_bytes
    ends = np.cumsum([len(p) for p in places])[:-1]
    for mask, rows, gone in zip(beyond, places, np.split(goes, ends), strict=True):
        mask[rows[gone]] = True
    return beyond
