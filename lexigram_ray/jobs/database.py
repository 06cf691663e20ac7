"""One database, seen as short transactions whose errors are ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from lexigram_ray.core.errors import ConflictError
from lexigram_ray.jobs.dialect import InsertInto, dialect_of

MICROSECONDS = 1_000_000
"""In a second: the store's times are in them."""

# The index that lets each unique key be given once.
_UNIQUE_KEYS = "jobs_unique_key"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A time that every reader of the store can show: none lies behind the year 9999.
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


class Database:
    """Opens transactions on the store's database; safe for threads, and after a fork.

    Args:
        url: `sqlite:///` and a path, or `postgresql://user:password@host/database`.
        clock: Returns seconds since the epoch.

    Attributes:
        name: How messages name the database; never with a password.
        insert_into: Makes an insert that knows `on_conflict_do_update`, in this database's dialect.
    """

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._dialect = dialect_of(url)
        self.name = self._dialect.name
        self.insert_into: InsertInto = self._dialect.insert_into
        self._clock = clock
        self._pid = os.getpid()
        self._writing = threading.Lock()

    @contextmanager
    def write(self) -> Generator[Connection]:
        """Open a transaction that is durable once this returns.

        On SQLite no other writer runs beside it. On PostgreSQL others do: what a query has to
        find as it is, it locks (`FOR UPDATE`, or `lock`).

        Raises:
            DiskFullError: No space is left; nothing was written.
            StoreUnreachableError: The database is locked, damaged or gone. Nothing was written,
                unless PostgreSQL went away in the very moment of the commit.
            ConflictError: PostgreSQL let another writer give the same unique key first.
        """
        self._leave_parent_behind()
        with self._turn_to_write(), self._transaction(self._dialect.engine) as connection:
            yield connection

    @contextmanager
    def read(self) -> Generator[Connection]:
        """Open a transaction that sees one state of the database. Keep it short.

        Raises:
            StoreUnreachableError: The database is locked, damaged or gone.
        """
        self._leave_parent_behind()
        with self._transaction(self._dialect.reader) as connection:
            yield connection

    @contextmanager
    def migrating(self) -> Generator[Connection]:
        """Open a write that changes tables; processes that do so follow each other.

        Raises:
            StoreUnreachableError: As of `write`; or the role may not make tables.
        """
        with self.write() as connection:
            self._dialect.prepare(connection)
            yield connection

    def lock(self, connection: Connection, name: str) -> None:
        """Keep out all writers that lock the same name, until this one's transaction ends.

        Whoever also locks rows of `jobs` does that first, so that no two wait for each other.
        """
        self._dialect.lock(connection, name)

    def exists(self) -> bool:
        """Return whether there is a store yet; makes nothing.

        Raises:
            StoreUnreachableError: The database cannot be asked.
        """
        with self._translated():
            return self._dialect.exists()

    def now(self) -> int:
        """Return the time in microseconds since the epoch."""
        return int(self._clock() * MICROSECONDS)

    def after(self, seconds: float) -> int:
        """Return the time `seconds` from now, in microseconds since the epoch.

        The year 9999 at the latest: a server may ask for any wait at all.
        """
        return int(min(self.now() + seconds * MICROSECONDS, to_micros(_LAST)))

    def close(self) -> None:
        """Close all connections."""
        self._dialect.engine.dispose()

    def _turn_to_write(self) -> AbstractContextManager[object]:
        # Threads queue here, at once and in order, rather than poll for SQLite's own lock.
        return self._writing if self._dialect.writers_queue else nullcontext()

    @contextmanager
    def _transaction(self, engine: Engine) -> Generator[Connection]:
        with (
            self._translated(),
            self._dialect.connect(engine) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except DBAPIError as error:
            if _is_key_taken(error):
                raise ConflictError(
                    "the unique key was given to another request at the same moment",
                    hint="use another key for another request",
                ) from error
            cause = error.orig if isinstance(error.orig, Exception) else error
            raise self._dialect.translate(cause) from error
        except NoConnectionLeft as error:
            raise self._dialect.translate(error) from error

    def _leave_parent_behind(self) -> None:
        if self._pid == os.getpid():
            return
        # A connection carried over a fork can break the parent's locks, even by closing it.
        self._dialect.engine.dispose(close=False)
        self._writing = threading.Lock()
        self._pid = os.getpid()


def store_exists(url: str) -> bool:
    """Return whether there is a store at a URL; makes nothing.

    Raises:
        ConfigError: The URL names no database that a store can be in.
        StoreUnreachableError: The database cannot be asked.
    """
    database = Database(url, lambda: 0.0)
    try:
        return database.exists()
    finally:
        database.close()


def to_micros(time: datetime) -> int:
    """Return an aware datetime as the store keeps it: in microseconds since the epoch."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_micros(value: int) -> datetime:
    """Return a stored time as an aware datetime."""
    return _EPOCH + timedelta(microseconds=value)


def from_optional_micros(value: int | None) -> datetime | None:
    """Return a stored time that may be absent."""
    return None if value is None else from_micros(value)


def storable(text: str) -> str:
    r"""Return text that every database takes: no NUL, and lone surrogates as `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")


def _is_key_taken(error: DBAPIError) -> bool:
    # Only an update meets it, and only where writers do not queue: inserts give way by themselves.
    # It is another request's key then: a job of the same request would hold the row of the update.
    return isinstance(error, IntegrityError) and _UNIQUE_KEYS in str(error.orig)
