"""Which documents' files are gone, and since when: what is seen on disk, and what is kept of it.

A folder is listed once for all of its documents. The notes of earlier looks are a file a
collection; without them the wait only begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lexigram_ray.core.ids import source_path
from lexigram_ray.embedding.json_file import read_object, write_object
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.maintenance.retention import Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLook:
    """What one look at the files of a collection's documents says.

    Attributes:
        presence: By document id; documents that came from no file are left out.
        barred: A folder that could not be read, and why; empty when all could.
    """

    presence: Mapping[str, Presence]
    barred: str = ""


def look_at_sources(entries: Iterable[LedgerEntry]) -> SourceLook:
    """Look whether the files of documents are there."""
    by_folder: dict[str, list[tuple[str, str]]] = {}
    for entry in entries:
        path = source_path(entry.source)
        if entry.state is not LedgerState.REMOVED and os.path.isabs(path):
            folder, name = os.path.split(path)
            by_folder.setdefault(folder, []).append((entry.document_id, name))
    presence: dict[str, Presence] = {}
    barred = ""
    for folder, documents in by_folder.items():
        try:
            names = frozenset(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            names = frozenset[str]()
        except OSError as error:
            barred = barred or f"{folder} ({error.strerror or error})"
            names = frozenset[str]()
        for document_id, name in documents:
            presence[document_id] = _presence(name, names)
    return SourceLook(presence=presence, barred=barred)


def _presence(name: str, names: frozenset[str]) -> Presence:
    if not names:
        return Presence.UNREACHABLE
    return Presence.PRESENT if name in names else Presence.MISSING


class MissingNotes:
    """Since when files are known to be missing, as earlier looks have noted it.

    Args:
        root: The folder of the notes; it is made at the first writing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, collection: str) -> dict[str, datetime]:
        """Return the times by document id; none where the notes are missing or damaged."""
        noted = read_object(self._file(collection))
        try:
            return {key: datetime.fromisoformat(str(value)) for key, value in noted.items()}
        except ValueError:
            return {}

    def write(self, collection: str, since: Mapping[str, datetime]) -> None:
        """Replace the notes of a collection.

        Raises:
            OSError: They cannot be written.
        """
        if since:
            write_object(self._file(collection), {key: at.isoformat() for key, at in since.items()})
        else:
            self._file(collection).unlink(missing_ok=True)

    def _file(self, collection: str) -> Path:
        return self._root / f"{collection}.json"
