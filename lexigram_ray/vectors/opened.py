"""Collections that stay open between searches: each is opened once for each of its versions."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.translate import lance_errors

MOST_OPEN = 64


@dataclass(frozen=True, slots=True)
class _Opened:
    folder: tuple[int, int, int]
    collection: Collection


class OpenedCollections:
    """Opens collections, and gives the same object out again while nothing newer is there.

    Searches of several threads use one object, so none is ever moved to another version.

    Args:
        root: The folder of the collections.
    """

    def __init__(self, root: Path) -> None:
        self._collections = Collections(root)
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._use = threading.Lock()

    def newest(self, name: str) -> Collection:
        """Return a collection at its newest version.

        Raises:
            InvalidNameError: No collection can have this name.
            CollectionNotFoundError: There is none of this name.
            UsageError: There is something else of this name.
        """
        with self._use:
            opened = self._opened.get(name)
        if opened is not None and _is_newest(opened):
            return opened.collection
        collection = self._collections.open(name)
        folder = _identity(collection.path)
        if folder is not None:
            self._keep(name, _Opened(folder, collection))
        return collection

    def _keep(self, name: str, opened: _Opened) -> None:
        with self._use:
            self._opened[name] = opened
            self._opened.move_to_end(name)
            while len(self._opened) > MOST_OPEN:
                self._opened.popitem(last=False)


def _is_newest(opened: _Opened) -> bool:
    collection = opened.collection
    if _identity(collection.path) != opened.folder:
        return False
    with lance_errors(collection.name, collection.path):
        return collection.dataset.latest_version == collection.version


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Return what tells a table from another one that was made later in its place."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns
