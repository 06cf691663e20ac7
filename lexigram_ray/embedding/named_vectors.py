"""Vectors by the hash of a text and a model's name, exactly as they were given: kept for good.

For vectors of which nothing is known but such a name. Those of models that are known have a table
of their own (`cache`), which is faster by far for many of them.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from array import array
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from lexigram_ray.core.errors import DiskFullError, EmbeddingError
from lexigram_ray.embedding.cache import days_now
from lexigram_ray.embedding.cache_edge import NO_SPACE_NUMBERS

NAMED_FILE = "by-model-name.db"
"""Its name in the folder of all caches."""

BUSY_SECONDS = 30.0
AT_ONCE = 500

_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (
    key TEXT PRIMARY KEY, vector BLOB NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID
"""
_PUT = "INSERT OR REPLACE INTO vectors (key, vector, used) VALUES (?, ?, ?)"
_COUNT = "SELECT count(*) FROM vectors"
_COUNT_UNUSED = "SELECT count(*) FROM vectors WHERE used < ?"
_CLEAR = "DELETE FROM vectors"
_EXPIRE = "DELETE FROM vectors WHERE used < ?"


class NamedVectors:
    """A file of vectors. Safe to use from several threads and processes of one machine.

    Args:
        file: The database; made at the first use.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._use = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def get(self, keys: Sequence[str]) -> dict[str, list[float]]:
        """Return the vectors that there are, by key.

        Raises:
            EmbeddingError: The file cannot be read.
        """
        found: dict[str, list[float]] = {}
        if not self.file.exists():
            return found
        today = days_now()
        with self._database() as database:
            for start in range(0, len(keys), AT_ONCE):
                some = list(keys[start : start + AT_ONCE])
                holes = ",".join("?" * len(some))
                chosen = f"SELECT key, vector, used FROM vectors WHERE key IN ({holes})"  # noqa: S608
                rows = database.execute(chosen, some).fetchall()
                found |= {key: array("d", vector).tolist() for key, vector, _ in rows}
                unused = [(today, key) for key, _, used in rows if used != today]
                if unused:
                    database.executemany("UPDATE vectors SET used = ? WHERE key = ?", unused)
        return found

    def put(self, vectors: Mapping[str, Sequence[float]]) -> None:
        """Keep vectors; one that is there is replaced.

        Raises:
            DiskFullError: No space is left.
            EmbeddingError: The file cannot be written.
        """
        if not vectors:
            return
        today = days_now()
        rows = [(key, array("d", vector).tobytes(), today) for key, vector in vectors.items()]
        with self._database() as database:
            database.executemany(_PUT, rows)

    def __len__(self) -> int:
        """Count the vectors."""
        if not self.file.exists():
            return 0
        with self._database() as database:
            return int(database.execute(_COUNT).fetchone()[0])

    def clear(self) -> int:
        """Forget all vectors, and return how many there were."""
        if not self.file.exists():
            return 0
        with self._database() as database:
            return database.execute(_CLEAR).rowcount

    def expire(self, days: int, *, dry_run: bool = False) -> int:
        """Forget the vectors that nobody has asked for since so many days; return how many.

        Args:
            dry_run: Only count them.
        """
        if not self.file.exists():
            return 0
        before = (days_now() - days,)
        with self._database() as database:
            if dry_run:
                return int(database.execute(_COUNT_UNUSED, before).fetchone()[0])
            return database.execute(_EXPIRE, before).rowcount

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._use:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextlib.contextmanager
    def _database(self) -> Generator[sqlite3.Connection]:
        """One transaction, which is durable when this returns."""
        try:
            with self._use:
                if self._connection is None:
                    self._connection = self._opened()
                with self._connection:
                    yield self._connection
        except sqlite3.Error as error:
            raise _translated(error, self.file) from error
        except OSError as error:
            if error.errno in NO_SPACE_NUMBERS:
                raise DiskFullError(f"no space left for the embedding cache {self.file}") from error
            raise EmbeddingError(f"the embedding cache {self.file}: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.file, timeout=BUSY_SECONDS, check_same_thread=False)
        connection.execute(_TABLE)
        connection.commit()
        return connection


def _translated(error: sqlite3.Error, file: Path) -> DiskFullError | EmbeddingError:
    if "disk is full" in str(error):
        return DiskFullError(f"no space left for the embedding cache {file}")
    return EmbeddingError(
        f"the embedding cache {file} cannot be used: {error}",
        hint="remove the file: what was in it is computed again",
    )
