"""The cache's Lance table: opened or made, read by row, appended to, set aside if damaged."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import DiskFullError, EmbeddingError, WriteConflictError
from lexigram_ray.embedding.key_index import HALVES, KEY_BYTES
from lexigram_ray.embedding.locks import exclusive_lock

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

COMMIT_ATTEMPTS = 6
# Lance has no error classes of its own: what is not damage is told by its text, here only.
NOT_FOUND = "was not found"
CONFLICT = ("commit conflict", "concurrent", "incompatible transaction")
NO_SPACE = ("no space left", "disk quota exceeded", "os error 28", "storagefull")
# Passing troubles of the machine: the table is as good as before.
PASSING = (
    "permission denied",
    "too many open files",
    "read-only file system",
    "timed out",
    "cannot allocate memory",
    "input/output error",
    "interrupted",
)

logger = logging.getLogger(__name__)


class DamagedTableError(EmbeddingError):
    """The table cannot be read, and not for a passing reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedRows:
    """Rows of the table.

    Attributes:
        vectors: float32, shape `(n, dim)`; not yet checked.
        created: Days since 1970, int32, shape `(n,)`.
        last_used: The same.
    """

    vectors: NDArray[np.float32]
    created: NDArray[np.int32]
    last_used: NDArray[np.int32]


class CacheTable:
    """One version of the table. Row numbers hold for it, and across `advance` where that says so.

    Args:
        path: The `.lance` folder; made if there is none.
        dimension: Length of a vector.

    Raises:
        DiskFullError: No space to make it.
        EmbeddingError: The machine does not let it be read now.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._path = path
        self._dimension = dimension
        self._schema = _schema(dimension)
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(path.with_name(f".{path.stem}.lock")):
            self._table, self.keys = self._open_or_make()
        self._fragments = _fragments(self._table)

    def _open_or_make(self) -> tuple[lance.LanceDataset, NDArray[np.void]]:
        if not self._path.exists():
            self._make()
        try:
            return self._open()
        except DamagedTableError as error:
            set_aside(self._path, str(error))
        self._make()
        return self._open()

    def advance(self) -> NDArray[np.void] | None:
        """Go to the newest version, in which other processes may have appended.

        Returns:
            The keys of the rows added behind the known ones, shape `(n,)`; None where the known
            rows have moved (a clean-up): then all keys stand in `keys`.

        Raises:
            DamagedTableError: The table cannot be read any more.
        """
        with _reading(self._path):
            newest = self._dataset()
            if newest.version == self._table.version:
                return np.empty(0, HALVES)
            known, fragments = self._fragments, _fragments(newest)
            moved = fragments[: len(known)] != known
            added = newest.get_fragments()[0 if moved else len(known) :]
            keys = _read_keys(newest, added)
            self._table, self._fragments = newest, fragments
            if not moved:
                return keys
            self.keys = keys
            return None

    def read(self, rows: NDArray[np.int64]) -> CachedRows:
        """Read rows by their numbers, in order.

        Raises:
            DamagedTableError: They cannot be read.
        """
        # In ascending order and once each, which is what Lance reads quickest.
        once, inverse = np.unique(rows, return_inverse=True)
        with _reading(self._path):
            taken = self._table.take(once, columns=["vector", "created_day", "last_used_day"])
            flat = taken.column("vector").combine_chunks().flatten().to_numpy()
            vectors = flat.reshape(len(once), self._dimension)[inverse]
            created, last_used = (
                taken.column(name).combine_chunks().cast("int32").to_numpy()[inverse]
                for name in ("created_day", "last_used_day")
            )
            return CachedRows(vectors=vectors, created=created, last_used=last_used)

    def append(
        self,
        keys: NDArray[np.void],
        vectors: NDArray[np.float32],
        created: NDArray[np.int32],
        last_used: int,
    ) -> None:
        """Append rows in one commit, beside whoever else appends.

        Raises:
            DiskFullError: No space is left.
            WriteConflictError: Others came first, again and again.
            DamagedTableError: The table is gone or foreign.
        """
        import lance
        import pyarrow as pa

        days = pa.array(created, pa.int32()).cast(pa.date32())
        used = pa.array(np.full(len(keys), last_used, np.int32)).cast(pa.date32())
        key = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(KEY_BYTES), len(keys), [None, pa.py_buffer(keys.tobytes())]
        )
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        vector = pa.FixedSizeListArray.from_arrays(flat, self._dimension)
        table = pa.table([key, vector, days, used], schema=self._schema)
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                with _reading(self._path):
                    lance.write_dataset(table, str(self._path), mode="append")
            except WriteConflictError:
                if attempt + 1 == COMMIT_ATTEMPTS:
                    raise
                time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 - only jitter
            else:
                return

    def _open(self) -> tuple[lance.LanceDataset, NDArray[np.void]]:
        with _reading(self._path):
            table = self._dataset()
            return table, _read_keys(table, table.get_fragments())

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
            with _reading(self._path):
                lance.write_dataset(self._schema.empty_table(), str(new), mode="create")
            try:
                new.rename(self._path)
            except OSError:
                if not self._path.exists():
                    raise


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


def _schema(dimension: int) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("key", pa.binary(KEY_BYTES), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
            pa.field("created_day", pa.date32(), nullable=False),
            pa.field("last_used_day", pa.date32(), nullable=False),
        ]
    )


def _fragments(table: lance.LanceDataset) -> list[tuple[int, int, int]]:
    described = [fragment.metadata for fragment in table.get_fragments()]
    return [(m.id, m.physical_rows, m.num_deletions) for m in described]


def _read_keys(table: lance.LanceDataset, fragments: list[lance.LanceFragment]) -> NDArray[np.void]:
    if not fragments:
        return np.empty(0, HALVES)
    column = table.scanner(columns=["key"], fragments=fragments).to_table().column("key")
    parts = [
        np.frombuffer(chunk.buffers()[1], HALVES, count=len(chunk), offset=chunk.offset * KEY_BYTES)
        for chunk in column.chunks
    ]
    return np.concatenate(parts) if parts else np.empty(0, HALVES)


@contextlib.contextmanager
def _reading(path: Path) -> Generator[None]:
    """Translate what Lance raises, at one edge."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        text = str(error).lower()
        if any(sign in text for sign in NO_SPACE):
            raise DiskFullError(
                f"no space left for the embedding cache in {path.parent}",
                hint="free some space, or switch the cache off",
            ) from error
        if any(sign in text for sign in CONFLICT):
            raise WriteConflictError(f"another process changed {path} first") from error
        if isinstance(error, PermissionError) or any(sign in text for sign in PASSING):
            raise EmbeddingError(
                f"the embedding cache {path} is not accessible: {error}"
            ) from error
        raise DamagedTableError(str(error).partition(", /")[0][:300]) from error
