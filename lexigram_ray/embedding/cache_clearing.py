"""Clearing caches: whole, at once, and beside whoever uses them."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
import uuid
from collections.abc import Collection, Generator
from pathlib import Path

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.cache_contents import cache_paths, is_folder
from lexigram_ray.embedding.cache_edge import folder_errors
from lexigram_ray.embedding.cache_table import LOCK_PATIENCE_SECONDS, lock_of
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.locks import exclusive_lock
from lexigram_ray.embedding.use_notes import notes_folder

DROPPED = ".dropped-"
ABANDONED = (f"{DROPPED}*", ".*.new-*")
ABANDONED_AFTER_SECONDS = 3600.0
# Set aside by `cache_table.set_aside`, for whoever wants to know what happened.
DAMAGED_NAME = re.compile(r"(?P<fingerprint>[0-9a-f]{32})\.lance\.damaged-(?P<at>[0-9]+)")
DAMAGED_KEPT_SECONDS = 7 * 86_400.0


@contextlib.contextmanager
def upkeep_lock(root: Path) -> Generator[None]:
    """Hold the lock of those who clean and clear: one would undo what the other has just done.

    Raises:
        EmbeddingError: Another process holds it for too long, or it cannot be made.
    """
    with (
        folder_errors(root),
        exclusive_lock(root / ".clean.lock", patience=LOCK_PATIENCE_SECONDS),
    ):
        yield


def clear_cache(
    root: Path, spec: ModelSpec | None = None, *, fingerprints: Collection[str] | None = None
) -> list[str]:
    """Remove caches whole; who has one open begins anew with an empty one.

    What was set aside of them as damaged goes too.

    Args:
        root: The caches' folder; may be missing.
        spec: Only this model's; all unless given.
        fingerprints: Only these.

    Returns:
        The fingerprints of what was removed.

    Raises:
        EmbeddingError: A cache cannot be removed.
    """
    wanted = {fingerprint(spec)} if spec is not None else None
    wanted = set(fingerprints) if fingerprints is not None else wanted
    if not is_folder(root):
        return []
    with upkeep_lock(root):
        cleared = [each for each in clearable(root) if wanted is None or each in wanted]
        for path in cache_paths(root):
            if path.stem in cleared:
                _drop(path)
        for name, path, _ in _set_aside(root):
            if name in cleared:
                _remove(path)
        sweep(root)
    return cleared


def clearable(root: Path) -> list[str]:
    """Return the fingerprints of all caches, readable or not, of those set aside too, ascending."""
    if not is_folder(root):
        return []
    names = {path.stem for path in cache_paths(root)} | {name for name, _, _ in _set_aside(root)}
    return sorted(names)


def sweep(root: Path) -> None:
    """Remove what a killed process was making or removing, and what was set aside long ago."""
    now = time.time()
    for pattern in ABANDONED:
        for path in root.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < now - ABANDONED_AFTER_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
    for _, path, at in _set_aside(root):
        if at < now - DAMAGED_KEPT_SECONDS:
            _remove(path)


def _set_aside(root: Path) -> list[tuple[str, Path, float]]:
    """Return fingerprint, place and time (seconds since 1970) of what was set aside."""
    with folder_errors(root):
        named = [(DAMAGED_NAME.fullmatch(path.name), path) for path in root.iterdir()]
    return [(m["fingerprint"], path, int(m["at"]) / 1e9) for m, path in named if m is not None]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:  # what lay in a table's place need not be a folder
        path.unlink(missing_ok=True)


def _drop(table: Path) -> None:
    # Moved first: users see it whole or not at all.
    aside = [(part, part.with_name(f"{DROPPED}{uuid.uuid4().hex}")) for part in _parts(table)]
    try:
        with exclusive_lock(lock_of(table), patience=LOCK_PATIENCE_SECONDS):
            for part, moved in aside:
                with contextlib.suppress(FileNotFoundError):
                    part.rename(moved)
    except OSError as error:
        raise EmbeddingError(f"the embedding cache {table} cannot be removed: {error}") from error
    for _, moved in aside:
        shutil.rmtree(moved, ignore_errors=True)


def _parts(table: Path) -> tuple[Path, Path]:
    return table, notes_folder(table)
