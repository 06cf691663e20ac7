"""A model's revision: one hash over its files, remembered so that a start need not read them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from lexigram_ray.embedding.json_file import read_object, write_object

MEMORY_FILE = "revisions.json"
REMEMBER_FROM_BYTES = 1 << 20

logger = logging.getLogger(__name__)


def revision_of(files: Sequence[Path], root: Path, *, models_dir: Path) -> str:
    """Hash `files` by their names below `root` and their content.

    Files of a megabyte and more are hashed once, and again only when their `stat` changes.

    Returns:
        32 hex digits.

    Raises:
        OSError: A file cannot be read.
    """
    memory = _Memory(models_dir / MEMORY_FILE)
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{path.relative_to(root).as_posix()}\0{memory.hash_of(path)}\n".encode())
    memory.save()
    return whole.hexdigest()[:32]


class _Memory:
    """Hashes by path and `stat`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = _read(file)
        self._changed = False

    def hash_of(self, path: Path) -> str:
        status = path.stat()
        if status.st_size < REMEMBER_FROM_BYTES:
            return _hash(path)
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        key = str(path.resolve())
        known = self._known.get(key)
        if known is not None and known[:-1] == stamp:
            return str(known[-1])
        self._known[key] = [*stamp, _hash(path)]
        self._changed = True
        return str(self._known[key][-1])

    def save(self) -> None:
        if not self._changed:
            return
        try:
            write_object(self._file, self._known)
        except OSError as error:  # the next start hashes again, and is only slower
            logger.debug("cannot write %s: %s", self._file, error)


def _read(file: Path) -> dict[str, list[object]]:
    return {
        path: cast("list[object]", entry)
        for path, entry in read_object(file).items()
        if isinstance(entry, list) and entry
    }


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
