"""The staged rows of embedding jobs on disk: there before a job is, and while one needs them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.ingestion.tables import TextTable
from lexigram_ray.jobs.embed_run import EmbedInterrupted
from lexigram_ray.jobs.records import Job, Owner
from lexigram_ray.jobs.requests import EMBED
from lexigram_ray.jobs.staged import SUFFIX, StagedTable
from lexigram_ray.jobs.staged_sidecar import SUFFIX as SIDECAR_SUFFIX
from lexigram_ray.jobs.staged_sidecar import (
    note_stores,
    read_staged_table,
    sidecar_of,
    stores_of,
)
from lexigram_ray.jobs.staging import StagingStopped, remove_left_behind, stage
from lexigram_ray.jobs.store import Store

CLEARING_SECONDS = 30.0
ABANDONED_AFTER_SECONDS = 24 * 3600.0
LOOK_AGAIN_SECONDS = 600.0

OnRead = Callable[[int], None]
"""Is given the rows read so far."""


def staged_rows(
    config: WorkersConfig,
    table: TextTable,
    on_read: OnRead,
    stop: threading.Event,
    *,
    store_id: str = "",
) -> StagedTable:
    """Stage a table; see `staging.stage`.

    Raises:
        EmbedInterrupted: `stop` was set.
    """
    try:
        return stage(
            table,
            config.paths.staged,
            on_progress=on_read,
            keep_on=lambda: not stop.is_set(),
            store_id=store_id,
        )
    except StagingStopped:
        raise EmbedInterrupted("", None) from None


def still_staged(
    store: Store,
    config: WorkersConfig,
    table: TextTable,
    staged: StagedTable,
    *,
    on_read: OnRead,
    stop: threading.Event,
) -> StagedTable:
    """Return staged rows that are there; another job over the same ones may have cleared them away.

    From here on they are this store's too: another one that shares the folder leaves them alone.
    Call it in their turn, and record the job that wants them before the turn ends.

    Raises:
        UsageError: The table has changed since it was staged.
        EmbedInterrupted: `stop` was set.
    """
    if _keep_for(store, staged):
        return staged
    again = staged_rows(config, table, on_read, stop)
    if again.digest != staged.digest:
        raise UsageError(
            f"{table.source} changed while it was read", hint="run the same command again"
        )
    _keep_for(store, again)
    return again


def are_kept(store: Store, staged: StagedTable) -> bool:
    """Whether staged rows are there, and noted as this store's."""
    return staged.path.exists() and store.store_id in stores_of(staged.path)


def turn_name(digest: str) -> str:
    """Return what the turn of all who make, want or clear away the rows of a digest is called."""
    return f"staged:{digest}"


def _keep_for(store: Store, staged: StagedTable) -> bool:
    """Note that this store wants staged rows, and return whether they are there."""
    note_stores(staged.path, stores_of(staged.path) | {store.store_id})
    return staged.path.exists() and sidecar_of(staged.path).exists()


def rows_of_job(
    config: WorkersConfig, job: Job, table: TextTable, on_read: OnRead, stop: threading.Event
) -> StagedTable:
    """Return the staged rows of a recorded job; its table is read only where they are gone.

    Raises:
        UsageError: The table is needed, and is gone or has changed since.
        EmbedInterrupted: `stop` was set.
    """
    digest = str(job.spec.get("rows"))
    staged = read_staged_table(config.paths.staged / f"{digest}{SUFFIX}", table.source)
    if staged is not None:
        return staged
    again = staged_rows(config, table, on_read, stop)
    if again.digest != digest:
        raise UsageError(
            f"the rows of job {job.id} are gone, and {table.source} has changed since it was "
            "submitted",
            hint="submit the table as it is now: rows that are embedded already cost nothing",
        )
    return again


def turn_of(store: Store, digest: str, owner: Owner) -> AbstractContextManager[None]:
    """Return the turn of all who make, want or clear away the rows of this digest."""
    return store.turn(turn_name(digest), owner, CLEARING_SECONDS)


def discard(store: Store, staged: StagedTable, owner: Owner) -> None:
    """Remove staged rows that no unfinished job has: this job's, and those left by killed ones.

    Those that another store's jobs may want stay. What killed jobs have left is looked for now
    and then: each look lists all that is staged, and there may be ten thousand small jobs.
    """
    folder = staged.path.parent
    with turn_of(store, staged.digest, owner):
        # Asked within the turn: who submits a job over these rows does so in it.
        _clear(store, folder, staged.digest)
    if _is_time_to_look(folder):
        discard_abandoned(store, folder, owner)


def discard_abandoned(
    store: Store, folder: Path, owner: Owner, *, dry_run: bool = False
) -> tuple[int, int]:
    """Remove the staged rows that killed jobs have left, and return how many tables and bytes.

    Those that another store's jobs may want stay.

    Args:
        folder: Of all staged rows; may be missing.
        owner: Who takes the turns.
        dry_run: Only count them.
    """
    tables = size = 0
    if not dry_run:
        remove_left_behind(folder)
    left = [each for each in _digests(folder) if _is_abandoned(folder, each)]
    for digest in sorted(left):
        with turn_of(store, digest, owner):
            if not _is_abandoned(folder, digest):
                continue
            cleared = _clear(store, folder, digest, dry_run=dry_run)
            if cleared is not None:
                tables += 1
                size += cleared
    return tables, size


def _clear(store: Store, folder: Path, digest: str, *, dry_run: bool = False) -> int | None:
    """Remove staged rows, in their turn; return their bytes, or None where a job may want them."""
    if store.has_unfinished_with(digest, kind=EMBED):
        return None
    if _leave_to_others(store, folder, digest, dry_run=dry_run):
        return None
    size = 0
    for path in _files(folder, digest):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
            if not dry_run:
                path.unlink()
    return size


def _leave_to_others(store: Store, folder: Path, digest: str, *, dry_run: bool = False) -> bool:
    """Return whether other stores may want these rows; this one no longer does."""
    rows, _ = _files(folder, digest)
    others = stores_of(rows) - {store.store_id}
    if others and not dry_run:
        note_stores(rows, others)
    return bool(others)


def _is_time_to_look(folder: Path) -> bool:
    """Whether nobody has looked into a folder for some time; from now on somebody has."""
    note = folder.with_name(f"{folder.name}.looked")
    try:
        age = time.time() - note.stat().st_mtime
    except FileNotFoundError:
        age = LOOK_AGAIN_SECONDS
    # One from the future was made by a clock that has been set back.
    is_time = not 0 <= age < LOOK_AGAIN_SECONDS
    if is_time:
        note.touch()
    return is_time


def _digests(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {path.stem for path in folder.iterdir() if path.suffix in (SUFFIX, SIDECAR_SUFFIX)}


def _files(folder: Path, digest: str) -> tuple[Path, Path]:
    rows = folder / f"{digest}{SUFFIX}"
    return rows, sidecar_of(rows)


def _is_abandoned(folder: Path, digest: str) -> bool:
    newest = 0.0
    for path in _files(folder, digest):
        with contextlib.suppress(FileNotFoundError):
            newest = max(newest, path.stat().st_mtime)
    return time.time() - newest > ABANDONED_AFTER_SECONDS
