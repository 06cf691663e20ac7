"""How much there is at this moment: open letters, rows and bytes of collections, free space."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collections import Collections, bytes_under

logger = logging.getLogger("lexigram_ray")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large collections are, by their names."""

    rows: dict[str, int] = field(default_factory=dict[str, int])
    bytes: dict[str, int] = field(default_factory=dict[str, int])


def open_letters(store: Store) -> dict[str, int]:
    """Return how many dead letters are open, by category, in every one of them."""
    return {
        category.value: store.dead_letters.count(
            LetterFilter(statuses=(LetterStatus.OPEN,), category=category)
        )
        for category in FailureCategory
    }


def sizes_of(root: Path, *, most: int | None = None, level: int = logging.DEBUG) -> Sizes:
    """Return those of the collections in a folder; what cannot be read is left out.

    Args:
        most: So many collections at most, by their names.
        level: At which the log names what is left out; who looks every minute says less.
    """
    collections, sizes = Collections(root), Sizes()
    for name in collections.names()[:most]:
        try:
            collection = collections.open(name)
            rows, size = collection.count_rows(), bytes_under(collection.path)
        except WorkerError as error:
            # It is being dropped, or damaged; other collections are measured all the same.
            logger.log(level, "not measured: collection %s: %s", name, error)
            continue
        sizes.rows[name], sizes.bytes[name] = rows, size
    return sizes


def free_bytes(folder: Path) -> int:
    """Return the free space where a folder is, or will be made."""
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(existing).free
