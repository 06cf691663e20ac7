"""What differs between the databases that a store can be in, behind one face."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects.sqlite import Insert

from lexigram_ray.core.errors import ConfigError, WorkerError
from lexigram_ray.jobs import postgres, sqlite

InsertInto = Callable[[Table], Insert]
"""PostgreSQL's insert has the same methods: `on_conflict_do_update` and its neighbours."""


class Dialect(Protocol):
    """One database, opened but not yet connected to."""

    @property
    def name(self) -> str:
        """How messages name the database; never with a password."""
        ...

    @property
    def engine(self) -> Engine:
        """Its transactions are durable once they are committed."""
        ...

    @property
    def reader(self) -> Engine:
        """The same; its transactions see one state of the database and write nothing."""
        ...

    @property
    def insert_into(self) -> InsertInto:
        """Make an insert that knows `on_conflict_do_update`."""
        ...

    @property
    def writers_queue(self) -> bool:
        """Whether writers stand in line, because one at a time can write anyway."""
        ...

    def exists(self) -> bool:
        """Return whether there is a store; makes nothing."""
        ...

    def connect(self, engine: Engine) -> Connection:
        """Return a connection that works; wait a little for a database that is not there."""
        ...

    def prepare(self, connection: Connection) -> None:
        """Keep out all who change tables, and make what has to be there before the first table."""
        ...

    def lock(self, connection: Connection, name: str) -> None:
        """Keep out all who lock the same name, until the transaction ends."""
        ...

    def translate(self, error: Exception) -> WorkerError:
        """Return our own error for one of the driver's or the pool's."""
        ...


def dialect_of(url: str) -> Dialect:
    """Return the database that a store URL names.

    Raises:
        ConfigError: The URL names no database that a store can be in, or its driver is missing.
        StoreUnreachableError: SQLite's file lies on a network file system.
        DiskFullError: No space is left for SQLite's folder.
    """
    scheme, separator, _ = url.partition("://")
    if scheme in postgres.SCHEMES:
        return postgres.Postgres(url)
    # Without a scheme it may be a path, or the rest of what was copied: then with the password.
    if (separator or "@" in url) and not url.startswith("sqlite"):
        raise ConfigError(
            f"store_url {without_password(url)!r} names a database that job stores cannot be in",
            hint=f"use {sqlite.EXAMPLE} or {postgres.EXAMPLE}",
        )
    return sqlite.Sqlite(url)


def without_password(url: str) -> str:
    """Return a URL without what stands before its last `@` and behind its first `?`."""
    scheme, separator, rest = url.rpartition("://")
    place = re.sub(r"\?.*", "", rest, flags=re.DOTALL).rpartition("@")
    return f"{scheme}{separator}{'***@' if place[1] else ''}{place[2]}"
