"""Old versions of a table: what they hold, and their end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lance import LanceDataset

    from lexigram_ray.vectors.collection import Collection

LEAST_KEPT = timedelta(hours=1)
"""A late writer is refused only while the version that it started from is still there."""

REPEATED_HOUR = timedelta(hours=1)
"""Lance writes down local time without a zone: in autumn, an hour of it may be an hour older."""

_LARGEST_VERSION = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """What a collection takes on the disk.

    Attributes:
        live_bytes: Of files that the newest version reads.
        dead_bytes: Of all others: old versions', and what writers have begun or left behind.
        versions: That are kept.
        fragments: Of the newest version; each is one commit's rows until they are merged.
    """

    live_bytes: int
    dead_bytes: int
    versions: int
    fragments: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.live_bytes + self.dead_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """What a clean-up has removed."""

    versions: int = 0
    bytes: int = 0


def disk_use(collection: Collection) -> DiskUse:
    """Measure a collection's files, at the version that it holds."""
    with lance_errors(collection.name, collection.path):
        dataset = collection.dataset
        fragments = len(dataset.get_fragments())
        versions = len(dataset.version_refs())
        alive = _live_files(dataset)
    live = dead = 0
    for place, size in _files_under(str(collection.path)):
        if _is_live(place, alive):
            live += size
        else:
            dead += size
    return DiskUse(live_bytes=live, dead_bytes=dead, versions=versions, fragments=fragments)


def clean_versions(
    collection: Collection, *, keep: timedelta, now: datetime, dry_run: bool = False
) -> Cleaned:
    """Remove versions that have been out of date for longer than `keep`, and their files.

    Tagged versions stay, and so do files of writes that have not ended within Lance's seven days.

    Args:
        collection: Whose.
        keep: At least an hour.
        now: The time, UTC.
        dry_run: Count the versions, and remove nothing.

    Raises:
        ValueError: `keep` is shorter than an hour.
        WorkerError: Lance failed.
    """
    if keep < LEAST_KEPT:
        raise ValueError(f"versions are kept for an hour at least, not for {keep}")
    with lance_errors(collection.name, collection.path):
        dataset = collection.dataset
        dataset.checkout_latest()
        written = [
            (each["version"], _in_utc(cast("datetime", each["timestamp"])))
            for each in cast("list[dict[str, Any]]", dataset.versions())
        ]
        expired = expired_versions(written, now - keep - REPEATED_HOUR, now)
        if dry_run or not expired:
            return Cleaned(versions=len(expired), bytes=0)
        stats = dataset.cleanup_old_versions(versions=expired, error_if_tagged_old_versions=False)
    return Cleaned(versions=stats.old_versions, bytes=stats.bytes_removed)


def expired_versions(
    written: Sequence[tuple[int, datetime]], before: datetime, now: datetime
) -> list[int]:
    """Return the versions that were certainly replaced by a later one before some time. Pure.

    What counts is when the next version came, not when a version was written: after a quiet month
    the version that a writer has just started from is old, and must be there to refuse it.

    Each version's time is by the clock of whoever wrote it, and may be wrong. A clock that is
    behind is found out by the versions before: none is older than those. One that is ahead says
    nothing, and the version after it counts.

    Args:
        written: Versions and when they were written, in any order.
        before: UTC.
        now: UTC.
    """
    ordered = sorted(written)
    came: list[datetime | None] = []
    latest: datetime | None = None
    for _, at in ordered:
        is_usable = at <= now
        if is_usable:
            latest = at if latest is None else max(latest, at)
        came.append(latest if is_usable else None)
    expired: list[int] = []
    replaced_at: datetime | None = None
    for (version, _), at in zip(reversed(ordered), reversed(came), strict=True):
        if replaced_at is not None and replaced_at < before:
            expired.append(version)
        replaced_at = at or replaced_at
    return expired[::-1]


def _in_utc(written: datetime) -> datetime:
    # Lance gives local time without a zone.
    return written.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LiveFiles:
    data: frozenset[str]
    deletions: frozenset[str]
    indexes: frozenset[str]
    version: int


def _live_files(dataset: LanceDataset) -> _LiveFiles:
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    return _LiveFiles(
        data=frozenset(file.path for each in fragments for file in each.files),
        deletions=frozenset(
            os.path.basename(each.deletion_file.path(each.id))
            for each in fragments
            if each.deletion_file is not None
        ),
        indexes=frozenset(
            str(segment.uuid) for index in dataset.describe_indices() for segment in index.segments
        ),
        version=dataset.version,
    )


def _is_live(place: Sequence[str], alive: _LiveFiles) -> bool:
    """Say it of a file's path below the table's folder."""
    name = place[-1]
    match place[0]:
        case "data":
            return name in alive.data
        case "_deletions":
            return name in alive.deletions
        case "_indices":
            return place[1] in alive.indexes
        case "_versions":
            number, _, ending = name.partition(".")
            newest = (str(alive.version), str(_LARGEST_VERSION - alive.version))
            return ending != "manifest" or number in newest
        case "_transactions":
            # Named by the version that the transaction began from.
            return name.partition("-")[0] == str(alive.version - 1)
        case _:
            return True


def _files_under(folder: str) -> Iterator[tuple[tuple[str, ...], int]]:
    for directory, _, files in os.walk(folder):
        for file in files:
            path = os.path.join(directory, file)
            try:
                size = os.lstat(path).st_size
            except FileNotFoundError:  # a compaction or a clean-up removed it meanwhile
                continue
            yield tuple(os.path.relpath(path, folder).split(os.sep)), size
