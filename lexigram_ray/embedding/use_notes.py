"""Which cached rows were used on which day, and how often: small files that are never changed.

A note is an Arrow file of keys and days; in its metadata stand the day's look-ups and hits. Notes
are folded into one now and then, so that there are never many.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.cache_schema import day_array, days_of, key_array, keys_of
from lexigram_ray.embedding.key_index import HALVES, KeyIndex
from lexigram_ray.embedding.locks import exclusive_lock

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".used"
MOST_NOTES = 64
READ_ATTEMPTS = 10
# A look-up waits no longer for others who fold: the next note tries again.
FOLD_PATIENCE_SECONDS = 2.0
COUNTS_KEY = "lexigram_ray.lookups"
REPLACES_KEY = "lexigram_ray.replaces"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UseHistory:
    """What notes say.

    Attributes:
        keys: Keys in use, shape `(n,)`; a key may repeat, and its latest day stands last.
        days: The day of use of each, days since 1970, int32, shape `(n,)`, ascending.
        counts: Texts looked up and texts found, by day.
    """

    keys: NDArray[np.void] = field(default_factory=lambda: np.empty(0, HALVES))
    days: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    counts: Mapping[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])

    def last_used(self, keys: NDArray[np.void], written: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return when each key was last used, shape `(n,)`: the day noted, else that of writing."""
        index = KeyIndex()
        index.append(self.keys)
        rows = index.find(keys)
        noted = rows >= 0
        days = written.copy()
        days[noted] = np.maximum(days[noted], self.days[rows[noted]])
        return days


def notes_folder(table: Path) -> Path:
    """Return where the notes of a cache's table lie."""
    return table.with_suffix(SUFFIX)


def write_note(folder: Path, note: UseHistory) -> None:
    """Write a note, whole or not at all, and fold them all once there are many.

    Raises:
        OSError: It cannot be written.
        EmbeddingError: Another process folds them for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, note, replaces=())
    if len(_names(folder)) > MOST_NOTES:
        fold_notes(folder)


def read_notes(folder: Path) -> UseHistory:
    """Read all notes; those that cannot be read are named in the log and left out."""
    return _read_all(folder)[0]


def fold_notes(
    folder: Path, keep: Callable[[NDArray[np.void]], NDArray[np.bool_]] | None = None
) -> None:
    """Replace all notes by one, with each key once.

    Args:
        folder: May be missing.
        keep: Which of some keys are still worth a note; all unless given.

    Raises:
        OSError: They cannot be written.
        EmbeddingError: Another process folds them for too long.
    """
    if not folder.is_dir():
        return
    lock = folder.with_name(f".{folder.name}.lock")
    with exclusive_lock(lock, patience=FOLD_PATIENCE_SECONDS):
        history, names = _read_all(folder)
        history = _latest(history)
        if keep is not None:
            kept = keep(history.keys)
            history = UseHistory(
                keys=history.keys[kept], days=history.days[kept], counts=history.counts
            )
        if len(names) > 1 or keep is not None:
            _write(folder, history, replaces=names)
            for name in names:
                (folder / name).unlink(missing_ok=True)


def _latest(history: UseHistory) -> UseHistory:
    # Days ascend and the sort is stable, so the last of equal keys is the latest.
    order = np.lexsort((history.keys["low"], history.keys["high"]))
    keys = history.keys[order]
    last = np.ones(len(keys), np.bool_)
    last[:-1] = keys[1:] != keys[:-1]
    latest = order[last]
    by_day = latest[np.argsort(history.days[latest], kind="stable")]
    return UseHistory(keys=history.keys[by_day], days=history.days[by_day], counts=history.counts)


def _names(folder: Path) -> tuple[str, ...]:
    with contextlib.suppress(FileNotFoundError):
        return tuple(sorted(path.name for path in folder.iterdir() if path.suffix == ".arrow"))
    return ()


def _read_all(folder: Path) -> tuple[UseHistory, tuple[str, ...]]:
    """Return what the notes say, and the names of those that need not be read again."""
    # A fold beside this reading removes files: then its own note must be read instead.
    for _ in range(READ_ATTEMPTS):
        names = _names(folder)
        tables: dict[str, pa.Table] = {}
        later: set[str] = set()
        try:
            for name in names:
                table, lasting = _read(folder / name)
                if table is not None:
                    tables[name] = table
                elif not lasting:
                    later.add(name)
        except FileNotFoundError:
            continue
        return _together(tables), tuple(name for name in names if name not in later)
    logger.warning("the use notes in %s changed again and again while they were read", folder)
    return UseHistory(), ()


def _together(tables: Mapping[str, pa.Table]) -> UseHistory:
    import pyarrow as pa

    described = {name: table.schema.metadata or {} for name, table in tables.items()}
    # Of a fold that was interrupted both its note and some that it replaces are left.
    replaced = {
        name
        for metadata in described.values()
        for name in json.loads(metadata.get(REPLACES_KEY.encode(), b"[]"))
    }
    counts: dict[int, tuple[int, int]] = {}
    for name, metadata in described.items():
        if name in replaced:
            continue
        for day, (looked_up, found) in json.loads(metadata.get(COUNTS_KEY.encode(), b"{}")).items():
            before = counts.get(int(day), (0, 0))
            counts[int(day)] = (before[0] + looked_up, before[1] + found)
    left = [
        table.replace_schema_metadata(None)
        for name, table in tables.items()
        if name not in replaced
    ]
    if not left:
        return UseHistory(counts=counts)
    together = pa.concat_tables(left)
    days = days_of(together.column("day"))
    order = np.argsort(days, kind="stable")
    return UseHistory(keys=keys_of(together.column("key"))[order], days=days[order], counts=counts)


def _read(path: Path) -> tuple[pa.Table | None, bool]:
    """Return a note, or None; and whether it will read the same for good."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
            return table if table.schema.names == ["key", "day"] else None, True
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowInvalid) as error:
        logger.warning("the use note %s cannot be read: %s", path, error)
        # The machine's errors have a number, Arrow's about what it reads have none.
        return None, getattr(error, "errno", None) is None


def _write(folder: Path, note: UseHistory, *, replaces: tuple[str, ...]) -> None:
    import pyarrow as pa

    metadata = {COUNTS_KEY: json.dumps(note.counts), REPLACES_KEY: json.dumps(replaces)}
    schema = pa.schema([("key", pa.binary(16)), ("day", pa.date32())], metadata=metadata)
    table = pa.table([key_array(note.keys), day_array(note.days)], schema=schema)
    name = f"{uuid.uuid4().hex}.arrow"
    unfinished = folder / f".{name}.new"
    try:
        with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_table(table)
        unfinished.rename(folder / name)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_notes(folder: Path) -> None:
    """Remove all notes."""
    shutil.rmtree(folder, ignore_errors=True)
