"""The collections of a data directory: made, opened, listed, dropped."""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import logging
import os
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import (
    CollectionNotFoundError,
    InvalidNameError,
    UsageError,
    WorkerError,
)
from lexigram_ray.core.types import CollectionSettings
from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection
    from lexigram_ray.vectors.collection_info import CollectionInfo

SUFFIX = ".lance"
MAX_NAME_BYTES = 255 - len(SUFFIX)
ABANDONED_AFTER_SECONDS = 3600.0

_logger = logging.getLogger(__name__)
_ALPHABET = re.compile(r"[A-Za-z0-9_.-]*")
_UNFINISHED = ".creating-"
_DROPPED = ".dropped-"


def validate_name(name: str) -> None:
    """Refuse a name that could not be a folder of its own on every system.

    Letters and digits of ASCII, `_`, `-` and `.` are allowed; the first is a letter, a digit or
    `_`, no two dots stand together, and with `.lance` added the name has at most 255 bytes.

    Raises:
        InvalidNameError: Naming the rule that is broken.
    """
    rule = _broken_rule(name)
    if rule is None:
        return
    shown = repr(name) if len(name) <= 60 else f"{name[:40]!r}... ({len(name)} characters)"
    raise InvalidNameError(
        f"{shown} cannot be a collection's name: {rule}",
        hint="use letters, digits, '_', '-' and '.', such as --collection python-docs",
    )


def _broken_rule(name: str) -> str | None:
    if not name:
        return "it is empty"
    if ".." in name:
        return "it must not contain '..'"
    if not _ALPHABET.fullmatch(name):
        wrong = next(character for character in name if not _ALPHABET.fullmatch(character))
        return f"it must not contain {wrong!r}"
    if name[0] in ".-":
        return f"it must not begin with {name[0]!r}"
    if len(name) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} characters"
    return None


class Collections:
    """The Lance tables in one folder, `<root>/<name>.lance`, as LanceDB lays them out."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def exists(self, name: str) -> bool:
        """Whether that name is taken, be it by something that is no collection.

        Raises:
            InvalidNameError: No collection can have this name.
        """
        return os.path.lexists(self._path(name))

    def names(self) -> list[str]:
        """Return the names of the Lance tables that are here, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(
            path.name.removesuffix(SUFFIX)
            for path in self.root.glob(f"*{SUFFIX}")
            if _broken_rule(path.name.removesuffix(SUFFIX)) is None
            and (path / "_versions").is_dir()
        )

    def open(self, name: str) -> Collection:
        """Open a collection at its newest version.

        Raises:
            InvalidNameError: No collection can have this name.
            CollectionNotFoundError: There is none of this name.
            UsageError: There is something else of this name.
        """
        import lance

        from lexigram_ray.vectors.collection import Collection

        path = self._path(name)
        if not os.path.lexists(path):
            raise CollectionNotFoundError(f"there is no collection {name}", hint=self._hint(name))
        if not (path / "_versions").is_dir():
            raise _not_ours(path, "it is not a Lance table")
        with lance_errors(name, path):
            dataset = lance.dataset(str(path))
            metadata = dataset.schema_metadata
        settings, store_id = _read_description(path, metadata)
        return Collection(
            name=name, path=path, settings=settings, store_id=store_id, dataset=dataset
        )

    def create(self, name: str, settings: CollectionSettings, store_id: str) -> Collection:
        """Make a collection, or open the one that another process has made meanwhile.

        The table is made aside and moved into its place, which cannot happen twice: two Lance
        creates at once may end as one overwriting the other.

        Raises:
            InvalidNameError: No collection can have this name.
            CollectionMismatchError: It exists already, with other settings.
            DiskFullError: No space is left.
        """
        path = self._path(name)
        if not os.path.lexists(path):
            self._make(name, path, settings, store_id)
        collection = self.open(name)
        collection.check_settings(settings)
        return collection

    def drop(self, name: str) -> int:
        """Remove a collection with all its versions, and return how many rows it had.

        Readers see it whole or not at all: it is moved aside first.
        """
        collection = self.open(name)
        rows = collection.count_rows()
        aside = self.root / f"{_DROPPED}{uuid.uuid4().hex}"
        with lance_errors(name, collection.path):
            collection.path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
        self._sweep()
        return rows

    def info(self, name: str) -> CollectionInfo:
        """Describe one collection.

        Raises:
            CollectionNotFoundError: There is none of this name.
        """
        from lexigram_ray.vectors.collection_info import info_of

        return info_of(self.open(name))

    def list_infos(self) -> list[CollectionInfo]:
        """Describe every collection; what cannot be read is named in the log and left out."""
        infos: list[CollectionInfo] = []
        for name in self.names():
            try:
                infos.append(self.info(name))
            except WorkerError as error:
                _logger.warning("left out of the list: %s", error)
        return infos

    def _path(self, name: str) -> Path:
        validate_name(name)
        return self.root / f"{name}{SUFFIX}"

    def _hint(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.names(), n=1, cutoff=0.6)
        if near:
            return f"did you mean {near[0]}?"
        return f"lexigram-ray ingest PATH --collection {name}"

    def _make(self, name: str, path: Path, settings: CollectionSettings, store_id: str) -> None:
        import lance

        from lexigram_ray.vectors.schema import described_schema
        from lexigram_ray.vectors.text_index import create_text_indexes

        schema = described_schema(settings, store_id)
        aside = self.root / f"{_UNFINISHED}{uuid.uuid4().hex}"
        try:
            with lance_errors(name, path):
                self.root.mkdir(parents=True, exist_ok=True)
                dataset = lance.write_dataset(schema.empty_table(), str(aside), schema=schema)
                create_text_indexes(dataset)
                _move_if_free(aside, path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self._sweep()

    def abandoned(self) -> list[Path]:
        """Return the folders that killed creations and drops have left aside, sorted."""
        cutoff = time.time() - ABANDONED_AFTER_SECONDS
        left: list[Path] = []
        for pattern in (_UNFINISHED, _DROPPED):
            for path in self.root.glob(f"{pattern}*"):
                # Another process may be renaming its own into place at this moment.
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < cutoff:
                        left.append(path)
        return sorted(left)

    def _sweep(self) -> None:
        # Nobody else would ever remove them.
        for path in self.abandoned():
            shutil.rmtree(path, ignore_errors=True)


def _move_if_free(aside: Path, path: Path) -> None:
    try:
        aside.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise


def _read_description(path: Path, metadata: dict[str, str]) -> tuple[CollectionSettings, str]:
    from lexigram_ray.vectors.schema import SETTINGS_KEY, STORE_ID_KEY

    text = metadata.get(SETTINGS_KEY)
    if text is None:
        raise _not_ours(path, "it is a Lance table of another program")
    try:
        settings = CollectionSettings.from_json(text)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise _not_ours(path, f"its {SETTINGS_KEY} cannot be read") from error
    return settings, metadata.get(STORE_ID_KEY, "")


def _not_ours(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} is not a collection: {reason}",
        hint="use another --collection name, or move that away",
    )


def bytes_under(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for directory, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(directory, file)).st_size
            except FileNotFoundError:  # a compaction or a clean-up removed it meanwhile
                continue
    return total
