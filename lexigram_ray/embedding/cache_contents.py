"""What a cache's folder holds, read as it lies there: nothing is made, moved or set aside."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.cache_edge import cache_errors, folder_errors
from lexigram_ray.embedding.cache_schema import days_of, keys_of, model_in
from lexigram_ray.embedding.key_index import KeyIndex
from lexigram_ray.embedding.use_notes import UseHistory, notes_folder, read_notes

if TYPE_CHECKING:
    import lance

TABLE_NAME = re.compile(r"[0-9a-f]{32}\.lance")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheContents:
    """One table at its newest version, without its vectors.

    Attributes:
        table: The version that was read.
        spec: Whose vectors these are; None where an earlier version of this package made it.
        keys: Of all rows in order, shape `(n,)`.
        row_ids: Lance's, uint64, shape `(n,)`; they hold for this version.
        created, last_used: Days since 1970, int32, shape `(n,)`.
        uses: What the notes beside the table say.
        bytes: Of the data files of this version.
        row_bytes: Of them a row's share; rows that are marked as removed have theirs too.
    """

    path: Path
    table: lance.LanceDataset
    spec: ModelSpec | None
    keys: NDArray[np.void]
    row_ids: NDArray[np.uint64]
    created: NDArray[np.int32]
    last_used: NDArray[np.int32]
    uses: UseHistory
    bytes: int
    row_bytes: float

    @property
    def fingerprint(self) -> str:
        """The model's fingerprint."""
        return self.path.stem

    @property
    def model(self) -> str:
        """The model's name; empty where an earlier version of this package made the table."""
        return self.spec.name if self.spec is not None else ""

    def newest(self) -> NDArray[np.bool_]:
        """Tell which rows count: the newest of each key, shape `(n,)`."""
        index = KeyIndex()
        index.append(self.keys)
        return index.find(self.keys) == np.arange(len(self.keys))


def is_folder(root: Path) -> bool:
    """Return whether there is a folder of caches.

    Raises:
        EmbeddingError: It cannot be told, for lack of permission.
    """
    with folder_errors(root):
        return root.is_dir()


def cache_paths(root: Path) -> list[Path]:
    """Return the tables in a cache's folder, in the order of their fingerprints.

    Raises:
        EmbeddingError: The folder cannot be listed.
    """
    if not is_folder(root):
        return []
    with folder_errors(root):
        return sorted(path for path in root.iterdir() if TABLE_NAME.fullmatch(path.name))


def read_contents(path: Path) -> CacheContents:
    """Read a table's keys and days, and the notes beside it.

    Raises:
        DamagedTableError: It cannot be read.
        EmbeddingError: The machine does not let it be read now.
    """
    import lance

    with cache_errors(path):
        table = lance.dataset(str(path))
        columns = ["key", "created_day", "last_used_day"]
        read = table.to_table(columns=columns, with_row_id=True)
        fragments = table.get_fragments()
        files = [file for fragment in fragments for file in fragment.data_files()]
        physical_rows = sum(fragment.physical_rows for fragment in fragments)
    keys = keys_of(read.column("key"))
    uses = read_notes(notes_folder(path))
    size = sum(file.file_size_bytes or 0 for file in files)
    return CacheContents(
        path=path,
        table=table,
        spec=model_in(table.schema_metadata),
        keys=keys,
        row_ids=read.column("_rowid").to_numpy(),
        created=days_of(read.column("created_day")),
        last_used=uses.last_used(keys, days_of(read.column("last_used_day"))),
        uses=uses,
        bytes=size,
        row_bytes=size / max(1, physical_rows),
    )


def bytes_on_disk(path: Path) -> int:
    """Return the size of all files of a table, old versions and notes included."""
    total = 0
    for folder in (path, notes_folder(path)):
        for directory, _, files in os.walk(folder):
            for file in files:
                try:
                    total += os.lstat(os.path.join(directory, file)).st_size
                except FileNotFoundError:  # a clean-up removed it meanwhile
                    continue
    return total
