"""One database, seen as short transactions whose errors are ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.exc import DBAPIError

from lexigram_ray.jobs import sqlite

InsertInto = Callable[[Table], Insert]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = 1_000_000


class Database:
    """Opens transactions on the store's database; safe for threads, and after a fork.

    Args:
        url: `sqlite:///` and a path.
        clock: Returns seconds since the epoch.

    Attributes:
        insert_into: Makes an insert that knows `on_conflict_do_update`, in this database's dialect.
    """

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self.path = sqlite.location(url)
        self._engine = sqlite.open_engine(self.path)
        self.insert_into: InsertInto = sqlite.insert
        self._clock = clock
        self._pid = os.getpid()
        self._writing = threading.Lock()

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Open a transaction that no other writer runs beside; it is durable once this returns.

        Raises:
            DiskFullError: No space is left; nothing was written.
            StoreUnreachableError: The database is locked, damaged or gone.
        """
        self._leave_parent_behind()
        # Threads queue here, at once and in order, rather than poll for SQLite's own lock.
        with self._writing, self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Open a transaction that sees one state of the database. Keep it short.

        Raises:
            StoreUnreachableError: The database is locked, damaged or gone.
        """
        self._leave_parent_behind()
        reader = self._engine.execution_options(reads_only=True)
        with self._translated(), reader.begin() as connection:
            yield connection

    def now(self) -> int:
        """Return the time in microseconds since the epoch."""
        return int(self._clock() * _MICROSECONDS)

    def after(self, seconds: float) -> int:
        """Return the time `seconds` from now, in microseconds since the epoch."""
        return self.now() + int(seconds * _MICROSECONDS)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except DBAPIError as error:
            raise sqlite.translate(error.orig, self.path) from error

    def _leave_parent_behind(self) -> None:
        if self._pid == os.getpid():
            return
        # A connection carried over a fork can break the parent's locks, even by closing it.
        self._engine.dispose(close=False)
        self._writing = threading.Lock()
        self._pid = os.getpid()


def from_micros(value: int) -> datetime:
    """Return a stored time as an aware datetime."""
    return _EPOCH + timedelta(microseconds=value)


def from_optional_micros(value: int | None) -> datetime | None:
    """Return a stored time that may be absent."""
    return None if value is None else from_micros(value)


def storable(text: str) -> str:
    r"""Return text that every database takes: no NUL, and lone surrogates as `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
