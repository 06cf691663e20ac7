"""The cache's Lance table: opened or made, read by row, appended to, set aside if damaged."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.cache_edge import DamagedTableError, cache_errors, folder_errors
from lexigram_ray.embedding.cache_schema import cache_schema, day_array, key_array, keys_of
from lexigram_ray.embedding.key_index import HALVES
from lexigram_ray.embedding.locks import exclusive_lock, shared_lock

if TYPE_CHECKING:
    import lance

COMMIT_ATTEMPTS = 6
LOCK_PATIENCE_SECONDS = 120.0

logger = logging.getLogger(__name__)


class CacheTable:
    """One version of the table. Row numbers hold for it, and across `advance` where that says so.

    Use `CacheTable.open`.
    """

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        self._path = path
        self._dimension = spec.dimension
        self._schema = cache_schema(spec)

    @classmethod
    def open(cls, path: Path, spec: ModelSpec) -> tuple[CacheTable, NDArray[np.void]]:
        """Open a table at its newest version; what cannot be used there is set aside.

        Args:
            path: The `.lance` folder; made if there is none.
            spec: The model whose vectors it holds.

        Returns:
            The table, and the keys of all its rows, shape `(n,)`.

        Raises:
            DiskFullError: No space to make it.
            EmbeddingError: The machine does not let it be read now.
        """
        table = cls(path, spec)
        with folder_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        # The keys too: it may be cleared as soon as the lock is let go.
        with table._locked():
            return table, table._open_or_make()

    def replace_damaged(self, why: str) -> NDArray[np.void]:
        """Set the table aside, whose rows cannot be read, and go on with a new one.

        Where another process has already done so, the new one is its.

        Args:
            why: What reading said.

        Returns:
            The keys of all rows of the new table, shape `(n,)`.

        Raises:
            DiskFullError: No space to make it.
            EmbeddingError: The machine does not let it be made now.
        """
        failed = self._fragments
        with self._locked():
            keys = self._open_or_make()
            if self._fragments[: len(failed)] != failed:
                return keys
            set_aside(self._path, why)
            return self._open_or_make()

    def advance(self) -> tuple[NDArray[np.void], bool]:
        """Go to the newest version, in which other processes may have appended.

        Returns:
            The keys of the rows added behind the known ones, shape `(n,)`, and False; or the keys
            of all rows, and True where the known ones have moved or are gone (a clean-up, a cleared
            cache).

        Raises:
            DamagedTableError: The table cannot be read any more.
        """
        with cache_errors(self._path):
            newest = self._dataset()
            # Its number alone does not tell a version: a cleared cache counts from 1 again.
            known, fragments = self._fragments, _fragments(newest)
            moved = fragments[: len(known)] != known
            keys = _read_keys(newest, newest.get_fragments()[0 if moved else len(known) :])
            self._table, self._fragments = newest, fragments
            return keys, moved

    def read(self, rows: NDArray[np.int64], keys: NDArray[np.void]) -> NDArray[np.float32]:
        """Read vectors by their rows, in order.

        Args:
            rows: Row numbers, shape `(n,)`.
            keys: What must stand there: another text's vector would never be noticed later.

        Returns:
            float32, shape `(n, dim)`; not yet checked to be of length 1.

        Raises:
            DamagedTableError: They cannot be read, or belong to other keys.
        """
        if not len(rows):
            return np.empty((0, self._dimension), np.float32)
        # In ascending order and once each, which is what Lance reads quickest.
        once, inverse = np.unique(rows, return_inverse=True)
        with cache_errors(self._path):
            taken = self._table.take(once, columns=["key", "vector"])
            flat = taken.column("vector").combine_chunks().flatten().to_numpy()
        if not np.array_equal(keys_of(taken.column("key"))[inverse], keys):
            raise DamagedTableError("its rows are not where its keys say")
        vectors = flat.reshape(len(once), self._dimension)
        return vectors if len(once) == len(rows) and (rows == once).all() else vectors[inverse]

    def append(
        self, keys: NDArray[np.void], blocks: Sequence[NDArray[np.float32]], day: int
    ) -> None:
        """Append rows in one commit, beside whoever else appends.

        Args:
            keys: Shape `(n,)`.
            blocks: Their vectors, each of shape `(some, dim)`.
            day: Days since 1970.

        Raises:
            DiskFullError: No space is left.
            WriteConflictError: Others came first, again and again.
            DamagedTableError: The table is gone or foreign.
        """
        import lance
        import pyarrow as pa

        days = day_array(np.full(len(keys), day, np.int32))
        vectors = pa.chunked_array(
            pa.FixedSizeListArray.from_arrays(
                pa.array(np.ascontiguousarray(block, np.float32).reshape(-1)), self._dimension
            )
            for block in blocks
        )
        table = pa.table([key_array(keys), vectors, days, days], schema=self._schema)
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                # Not while it is cleared: Lance would put a half of a table in its place.
                with cache_errors(self._path), self._shared():
                    if not self._path.exists():
                        raise DamagedTableError("it is gone")
                    lance.write_dataset(table, str(self._path), mode="append")
            except WriteConflictError:
                if attempt + 1 == COMMIT_ATTEMPTS:
                    raise
                time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 - only jitter
            else:
                return

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        with (
            folder_errors(self._path),
            exclusive_lock(lock_of(self._path), patience=LOCK_PATIENCE_SECONDS),
        ):
            yield

    def _shared(self) -> AbstractContextManager[None]:
        return shared_lock(lock_of(self._path), patience=LOCK_PATIENCE_SECONDS)

    def _open_or_make(self) -> NDArray[np.void]:
        if not self._path.exists():
            self._make()
        try:
            return self._read_anew()
        except DamagedTableError as error:
            set_aside(self._path, str(error))
        self._make()
        return self._read_anew()

    def _read_anew(self) -> NDArray[np.void]:
        with cache_errors(self._path):
            self._table = self._dataset()
            self._fragments = _fragments(self._table)
            return _read_keys(self._table, self._table.get_fragments())

    def _dataset(self) -> lance.LanceDataset:
        import lance

        table = lance.dataset(str(self._path))
        if not table.schema.equals(self._schema):
            raise DamagedTableError(f"its columns are {', '.join(table.schema.names)}")
        return table

    def _make(self) -> None:
        import lance

        # Made elsewhere and renamed, so that nobody ever opens half of it.
        with tempfile.TemporaryDirectory(
            dir=self._path.parent, prefix=f".{self._path.stem}.new-"
        ) as temporary:
            new = Path(temporary, "table")
            with cache_errors(self._path):
                lance.write_dataset(self._schema.empty_table(), str(new), mode="create")
            try:
                new.rename(self._path)
            except OSError:
                if not self._path.exists():
                    raise


def lock_of(path: Path) -> Path:
    """Return the lock of a table: shared by appending, exclusive for making and clearing it."""
    return path.with_name(f".{path.stem}.lock")


def set_aside(path: Path, why: str) -> None:
    """Move a table that cannot be used out of the way, and say so."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    with contextlib.suppress(FileNotFoundError):
        shutil.move(path, aside)
    logger.warning(
        "the embedding cache %s cannot be used (%s); it is now %s, and a new one begins",
        path,
        why,
        aside.name,
    )


def _fragments(table: lance.LanceDataset) -> list[tuple[str, int, int]]:
    # A data file's name is unique for good, which fragments' numbers are not.
    return [
        (str(fragment.data_files()[0].path), described.physical_rows, described.num_deletions)
        for fragment in table.get_fragments()
        for described in (fragment.metadata,)
    ]


def _read_keys(table: lance.LanceDataset, fragments: list[lance.LanceFragment]) -> NDArray[np.void]:
    if not fragments:
        return np.empty(0, HALVES)
    return keys_of(table.scanner(columns=["key"], fragments=fragments).to_table().column("key"))
