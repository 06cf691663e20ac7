"""Cleaning the caches beside whoever uses them."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import DiskFullError, EmbeddingError, WriteConflictError
from lexigram_ray.embedding.cache import days_now
from lexigram_ray.embedding.cache_clearing import sweep, upkeep_lock
from lexigram_ray.embedding.cache_contents import (
    CacheContents,
    bytes_on_disk,
    cache_paths,
    is_folder,
    read_contents,
)
from lexigram_ray.embedding.cache_edge import cache_errors
from lexigram_ray.embedding.cache_expiry import CleanLimits, Doomed, RowAges, doomed_rows
from lexigram_ray.embedding.key_index import KeyIndex
from lexigram_ray.embedding.use_notes import fold_notes, notes_folder

if TYPE_CHECKING:
    import lance

# Readers go on with the version that they opened; without its files they would open anew.
KEEP_VERSIONS = dt.timedelta(hours=1)
FRAGMENT_ROWS = 65_536
DELETE_ROWS = 100_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCleaned:
    """What a clean-up did to one cache, or would do.

    Attributes:
        model: Its name; empty where an earlier version of this package made the table.
        repeated: Rows that stood in for no text: a newer one has the same key.
        expired: Rows too old, or unused for too long.
        too_much: Rows beyond the size allowed.
        bytes_before, bytes_after: Of the rows.
        bytes_waiting: Of old versions, freed by a clean-up in an hour or later.
    """

    model: str
    fingerprint: str
    rows_before: int
    rows_after: int
    repeated: int
    expired: int
    too_much: int
    bytes_before: int
    bytes_after: int
    bytes_waiting: int


def clean_cache(
    root: Path,
    limits: CleanLimits | None = None,
    *,
    today: int | None = None,
    dry_run: bool = False,
) -> list[CacheCleaned]:
    """Remove repeated rows and what the limits say, compact, and free old versions.

    Users of the caches go on meanwhile. A cache that cannot be read or changed now is named in the
    log and left as it is.

    Args:
        root: The caches' folder; may be missing.
        limits: What may stay; everything unless given.
        today: Days since 1970; the present day unless given.
        dry_run: Only say what would be done; sizes are then estimated.

    Raises:
        DiskFullError: No space is left to compact; every cache was tried, and what old versions
            took is free.
        EmbeddingError: The folder cannot be used, or another process cleans or clears it.
    """
    if not is_folder(root):
        return []
    with upkeep_lock(root):
        caches = _read_all(root)
        ages = [_ages(contents) for contents in caches]
        doomed = doomed_rows(
            ages, limits or CleanLimits(), today=days_now() if today is None else today
        )
        if dry_run:
            return [_estimated(*each) for each in zip(caches, doomed, strict=True)]
        sweep(root)
        return _all_cleaned(caches, doomed)


def _read_all(root: Path) -> list[CacheContents]:
    caches: list[CacheContents] = []
    for path in cache_paths(root):
        try:
            caches.append(read_contents(path))
        except EmbeddingError as error:
            logger.warning("not cleaned: the embedding cache %s: %s", path, error)
    return caches


def _all_cleaned(caches: list[CacheContents], doomed: list[Doomed]) -> list[CacheCleaned]:
    cleaned: list[CacheCleaned] = []
    full: DiskFullError | None = None
    for contents, going in zip(caches, doomed, strict=True):
        try:
            cleaned.append(_cleaned(contents, going))
        except DiskFullError as error:
            # The next ones may free what this one lacks.
            full = full or error
    if full is not None:
        raise full
    return cleaned


def _ages(contents: CacheContents) -> RowAges:
    return RowAges(
        newest=contents.newest(),
        created=contents.created,
        last_used=contents.last_used,
        row_bytes=contents.row_bytes,
    )


def _cleaned(contents: CacheContents, going: Doomed) -> CacheCleaned:
    import lance

    path = contents.path
    try:
        with cache_errors(path):
            # First, for removing and compacting need space themselves.
            contents.table.cleanup_old_versions(older_than=KEEP_VERSIONS)
            _delete(contents.table, contents.row_ids[going.rows])
            contents.table.optimize.compact_files(
                target_rows_per_fragment=FRAGMENT_ROWS, materialize_deletions_threshold=0.01
            )
            lance.dataset(str(path)).cleanup_old_versions(older_than=KEEP_VERSIONS)
        after = read_contents(path)
        _fold(after)
    except WriteConflictError as error:
        logger.warning("not cleaned now: %s", error)
        return _unchanged(contents)
    except EmbeddingError as error:
        # It may have been cleared meanwhile.
        logger.warning("not cleaned: the embedding cache %s: %s", path, error)
        return _unchanged(contents)
    return _result(contents, going, rows_after=len(after.keys), bytes_after=after.bytes)


def _delete(table: lance.LanceDataset, row_ids: NDArray[np.uint64]) -> None:
    for start in range(0, len(row_ids), DELETE_ROWS):
        listed = ",".join(map(str, row_ids[start : start + DELETE_ROWS].tolist()))
        # Row ids hold for the version that was read: no second try on a later one.
        table.delete(f"_rowid IN ({listed})", conflict_retries=0)


def _fold(after: CacheContents) -> None:
    index = KeyIndex()
    index.append(after.keys)
    try:
        fold_notes(notes_folder(after.path), keep=lambda keys: index.find(keys) >= 0)
    except (OSError, EmbeddingError) as error:
        logger.warning("the use notes of %s were not folded: %s", after.path, error)


def _estimated(contents: CacheContents, going: Doomed) -> CacheCleaned:
    rows_after = len(contents.keys) - int(np.count_nonzero(going.rows))
    share = rows_after / max(1, len(contents.keys))
    return _result(
        contents, going, rows_after=rows_after, bytes_after=round(contents.bytes * share)
    )


def _unchanged(contents: CacheContents) -> CacheCleaned:
    nothing = np.zeros(len(contents.keys), np.bool_)
    return _result(
        contents,
        Doomed(repeated=nothing, expired=nothing, too_much=nothing),
        rows_after=len(contents.keys),
        bytes_after=contents.bytes,
    )


def _result(
    contents: CacheContents, going: Doomed, *, rows_after: int, bytes_after: int
) -> CacheCleaned:
    return CacheCleaned(
        model=contents.model,
        fingerprint=contents.fingerprint,
        rows_before=len(contents.keys),
        rows_after=rows_after,
        repeated=int(np.count_nonzero(going.repeated)),
        expired=int(np.count_nonzero(going.expired)),
        too_much=int(np.count_nonzero(going.too_much)),
        bytes_before=contents.bytes,
        bytes_after=bytes_after,
        bytes_waiting=max(0, bytes_on_disk(contents.path) - bytes_after),
    )
