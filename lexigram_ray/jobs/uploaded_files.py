"""Files that came over the network: written aside, then put in their place as a whole.

`<data>/uploads/<collection>/<content hash>/<name>`: the same bytes under the same name are one
file, and so one document. They are what hits point to, and stay as long as their collection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Generator, Set
from dataclasses import dataclass
from pathlib import Path

import blake3

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import DiskFullError
from lexigram_ray.core.ids import HASH_BYTES
from lexigram_ray.jobs.durable_files import remove_left_behind, sync
from lexigram_ray.vectors.collections import validate_name

LONGEST_NAME = 200
"""Bytes in UTF-8; file systems have 255, and programs append to names."""
UNNAMED = "document"

# No collection's name begins with a dot.
_INCOMING = ".incoming"
_DROPPED = ".dropped-"
_LONGEST_SUFFIX = 16
_SEPARATORS = re.compile(r"[/\\]")
# They turn the direction of writing, so that `exe.pdf` may read `fdp.exe`.
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFile:
    """A file that is here as a whole, not yet in its place.

    Attributes:
        name: As its sender calls it; anything at all.
        path: Where it lies until then.
        content_hash: As `core.ids.hash_file`.
        size: In bytes.
    """

    name: str
    path: Path
    content_hash: str
    size: int


class IncomingFile:
    """A file that is being received; it is removed unless it is put in its place.

    Args:
        config: Says where the data is.
        name: As its sender calls it.

    Raises:
        DiskFullError: No space is left.
    """

    def __init__(self, config: WorkersConfig, name: str) -> None:
        self.name = name
        self.size = 0
        self._hasher = blake3.blake3()
        folder = incoming_folder(config)
        self.path = folder / secrets.token_hex(16)
        with _translated(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb")

    def write(self, data: bytes) -> None:
        """Append to it.

        Raises:
            DiskFullError: No space is left.
        """
        with _translated(self.path.parent):
            self._file.write(data)
        self._hasher.update(data)
        self.size += len(data)

    def finish(self) -> ReceivedFile:
        """Make its bytes durable.

        Raises:
            DiskFullError: No space is left.
        """
        with _translated(self.path.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return ReceivedFile(
            name=self.name,
            path=self.path,
            content_hash=self._hasher.hexdigest(length=HASH_BYTES),
            size=self.size,
        )

    def discard(self) -> None:
        """Remove it, if it is still here."""
        # Closing writes what is left in its buffer, for which there may be no space.
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


def place_of(config: WorkersConfig, collection: str, file: ReceivedFile) -> Path:
    """Return the resolved path where a received file is to stay."""
    uploads = Path(os.path.realpath(config.paths.uploads))
    return uploads / collection / file.content_hash / safe_name(file.name)


def put_in_place(config: WorkersConfig, collection: str, file: ReceivedFile) -> Path:
    """Move a received file to where it stays, or drop it where the same one is already.

    Returns:
        Its `place_of`; it is there after a power failure, too.

    Raises:
        DiskFullError: No space is left.
    """
    place = place_of(config, collection, file)
    folder = place.parent
    with _translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if place.exists():
            # Its stamp stays, by which runs know that it is unchanged.
            file.path.unlink(missing_ok=True)
        else:
            file.path.rename(place)
        for each in (folder, folder.parent, folder.parent.parent):
            sync(each)
    return place


def safe_name(given: str) -> str:
    """Return a file's name from whatever a sender calls it: one part of a path, in any language."""
    last = _SEPARATORS.split(unicodedata.normalize("NFC", given))[-1]
    kept = "".join(each for each in last if not _is_odd(each)).strip(" .")
    stem, suffix = os.path.splitext(kept)
    if len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, suffix = kept, ""
    room = LONGEST_NAME - len(suffix.encode())
    return (stem.encode()[:room].decode(errors="ignore").strip(" .") or UNNAMED) + suffix


def remove_uploads(
    config: WorkersConfig, collection: str, *, needed: Callable[[], Set[str]] = frozenset
) -> None:
    """Remove the files that were uploaded for a collection: it is being dropped.

    Args:
        needed: Returns the paths of files that jobs have still to do; they stay.

    Raises:
        OSError: They cannot be removed.
    """
    validate_name(collection)
    uploads = config.paths.uploads
    aside = uploads / f"{_DROPPED}{secrets.token_hex(8)}"
    with contextlib.suppress(FileNotFoundError):
        # As a whole: what is uploaded from now on is of the next collection of this name.
        (uploads / collection).rename(aside)
        for path in map(Path, needed()):
            put_aside = aside / path.relative_to(uploads / collection)
            if put_aside.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                put_aside.rename(path)
    for left in uploads.glob(f"{_DROPPED}*"):
        shutil.rmtree(left, ignore_errors=True)


def sweep_incoming(config: WorkersConfig) -> int:
    """Remove what killed processes have left half received, and return how many files."""
    return remove_left_behind(incoming_folder(config), "*")


def incoming_folder(config: WorkersConfig) -> Path:
    """Return where files lie while they are received: on the same file system as their places."""
    return config.paths.uploads / _INCOMING


def _is_odd(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS


@contextlib.contextmanager
def _translated(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"no space is left in {folder}",
            hint="free some space, then send it again: nothing of it was kept",
        ) from error
