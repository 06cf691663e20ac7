"""All that is particular to SQLite: opening, transactions, its errors in our words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.pool import QueuePool

from lexigram_ray.core.errors import ConfigError, DiskFullError, StoreUnreachableError, WorkerError
from lexigram_ray.jobs.filesystem import filesystem_of

SCHEME = "sqlite:///"
EXAMPLE = f"{SCHEME}/path/to/jobs.db"
BUSY_SECONDS = 30.0
_READS_ONLY = "reads_only"
_PRAGMAS = (
    # Not WAL: versions of SQLite before 3.51.3, 3.50.7 and 3.44.6 can lose a reset of the log.
    "PRAGMA journal_mode=DELETE",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)
# Less than SQLite needs for its smallest journal.
_NO_SPACE_BYTES = 64 * 1024


class Sqlite:
    """A store in a file of this machine; `Dialect` documents the methods.

    Raises:
        ConfigError: The URL names no file.
        StoreUnreachableError: The file lies on a network file system.
    """

    writers_queue = True

    def __init__(self, url: str) -> None:
        self.path = location(url)
        self.name = str(self.path)
        _refuse_network(self.path)
        self.engine = _engine(self.path)
        self.reader: Engine = self.engine.execution_options(**{_READS_ONLY: True})
        self.insert_into: Callable[[Table], Insert] = insert

    def exists(self) -> bool:
        """Return whether the file is there."""
        return self.path.exists()

    def connect(self, engine: Engine) -> Connection:
        """Open the file; it and its folder are made where they are missing."""
        return engine.connect()

    def prepare(self, connection: Connection) -> None:
        """Do nothing: a write has the whole file to itself."""

    def lock(self, connection: Connection, name: str) -> None:
        """Do nothing: a write has the whole file to itself."""

    def translate(self, error: Exception) -> WorkerError:
        """Return our own error for one of SQLite's, naming the file and the way out."""
        return _translate(error, self.path)


def location(url: str) -> Path:
    """Return the file that a store URL names; whatever follows the scheme is its path.

    Raises:
        ConfigError: The URL names no file.
    """
    path = url.removeprefix(SCHEME)
    if not url.startswith(SCHEME) or path in {"", ":memory:"}:
        raise ConfigError(f"{url!r} names no file for the job store", hint=f"use {EXAMPLE}")
    return Path(path).absolute()


def _engine(path: Path) -> Engine:
    # Connections are made as needed; nothing is read yet.
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path),
        poolclass=QueuePool,
        pool_size=5,
        max_overflow=-1,
    )
    event.listen(engine, "begin", _begin)
    return engine


def _refuse_network(path: Path) -> None:
    filesystem = filesystem_of(path)
    if filesystem.is_network:
        raise StoreUnreachableError(
            f"the job store {path} lies on a network file system ({filesystem.kind} at "
            f"{filesystem.mount_point}), where SQLite's locks do not hold",
            hint="set --state to a folder on this machine's own disk, or store_url to PostgreSQL",
        )


def _folder_error(path: Path, error: OSError) -> WorkerError:
    if _is_full(path):
        return _disk_full(path)
    return StoreUnreachableError(
        f"the folder of the job store {path} cannot be made: {error.strerror or error}",
        hint="set --state to a folder that you may write to",
    )


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _folder_error(path, error) from error
    # Without an isolation level the driver begins nothing by itself: `_begin` does.
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _begin(connection: Connection) -> None:
    # A write that began as a read cannot wait for its lock: SQLite answers "locked" at once.
    reads_only = connection.get_execution_options().get(_READS_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _translate(error: Exception, path: Path) -> WorkerError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    primary = code & 0xFF
    environmental = primary in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
    if primary == sqlite3.SQLITE_FULL or (environmental and _is_full(path)):
        return _disk_full(path)
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreUnreachableError(
            f"the job store {path} was locked by another process for {BUSY_SECONDS:.0f} s",
            hint="end the process that holds it (`fuser` names it), and run the command again",
        )
    if primary in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return StoreUnreachableError(
            f"the job store {path} is damaged or no SQLite database: {error}",
            hint="restore it from a backup, or move it away: collections stay searchable",
        )
    return StoreUnreachableError(
        f"the job store {path} cannot be used: {error}",
        hint=f"check that {path.parent} exists and may be written to",
    )


def _disk_full(path: Path) -> DiskFullError:
    return DiskFullError(
        f"no space is left for the job store {path}",
        hint=f"free space on {filesystem_of(path).mount_point} and run the same command again",
    )


def _is_full(path: Path) -> bool:
    existing = next((folder for folder in path.parents if folder.exists()), path.parent)
    try:
        space = os.statvfs(existing)
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < _NO_SPACE_BYTES
