"""All that is particular to PostgreSQL: connecting, waiting, locks."""

from __future__ import annotations

import random
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from lexigram_ray.core.errors import ConfigError, StoreUnreachableError, WorkerError
from lexigram_ray.jobs import postgres_errors
from lexigram_ray.jobs.postgres_errors import (
    CONNECTIONS,
    IDLE_SECONDS,
    LOCK_SECONDS,
    SCHEMA,
    may_pass,
)

SCHEMES = ("postgresql", "postgresql+psycopg")
EXAMPLE = "postgresql://user:password@host/database"
PATIENCE_SECONDS = 10.0
"""A server that restarts is back within it; whoever has begun no transaction does not notice."""

_AGAIN_SECONDS = (0.1, 0.4)
_CONNECTION_SECONDS = 30.0
# What the system's own time-outs, of many minutes, would make of a server that has lost its power.
_NETWORK: dict[str, object] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "lexigram-ray",
}

_SETTINGS = f"""
SELECT set_config('search_path', '{SCHEMA}', false),
       set_config('lock_timeout', '{LOCK_SECONDS}s', false),
       set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS}s', false),
       set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'),
                  false)
"""
_EXISTS = text(f"SELECT to_regclass('{SCHEMA}.schema_version') IS NOT NULL")
_HAS_SCHEMA = text(f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL")
_MAKE_SCHEMA = text(f"CREATE SCHEMA {SCHEMA}")
_LOCK = text(f"SELECT pg_advisory_xact_lock(hashtextextended('{SCHEMA}:' || :name, 0))")


class Postgres:
    """A store in a schema of a PostgreSQL database; `Dialect` documents the methods.

    Raises:
        ConfigError: The URL cannot be read, or psycopg is not installed.
    """

    writers_queue = False

    def __init__(self, url: str) -> None:
        # It takes a while to import, and most stores are on SQLite.
        from sqlalchemy.dialects.postgresql import insert

        parsed = _parsed(url)
        self.name = _name(parsed)
        self._role = parsed.username or "your role"
        self.engine = self._engine(parsed)
        # Psycopg begins a transaction with these levels: that costs no question of its own.
        self.reader = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        # Typed as SQLite's own: the methods that we use are the same.
        self.insert_into: Any = insert

    def exists(self) -> bool:
        """Return whether the schema has our tables."""
        with self.connect(self.reader) as connection:
            return bool(connection.execute(_EXISTS).scalar_one())

    def connect(self, engine: Engine) -> Connection:
        """Return a connection that answers; wait for a server that restarts."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return engine.connect()
            except OperationalError as error:
                if time.monotonic() >= give_up_at or not may_pass(error.orig):
                    raise
            time.sleep(random.uniform(*_AGAIN_SECONDS))  # noqa: S311 - jitter, no secret

    def prepare(self, connection: Connection) -> None:
        """Let one process at a time change tables, and make their schema."""
        self.lock(connection, "migration")
        # Asked first: who may not make schemas may be given this one.
        if not connection.execute(_HAS_SCHEMA).scalar_one():
            connection.execute(_MAKE_SCHEMA)

    def lock(self, connection: Connection, name: str) -> None:
        """Take a lock that ends with the transaction."""
        connection.execute(_LOCK, {"name": name})

    def translate(self, error: Exception) -> WorkerError:
        """Return our own error for one of psycopg's, naming the database and the way out."""
        return postgres_errors.translate(error, self.name, self._role)

    def _engine(self, url: URL) -> Engine:
        try:
            engine = create_engine(
                url.set(drivername="postgresql+psycopg"),
                # What the URL says counts more.
                connect_args={key: _NETWORK[key] for key in _NETWORK if key not in url.query},
                isolation_level="READ COMMITTED",
                client_encoding="utf8",
                use_native_hstore=False,
                pool_size=5,
                max_overflow=CONNECTIONS - 5,
                pool_timeout=_CONNECTION_SECONDS,
                pool_pre_ping=True,
            )
        except ImportError as error:
            raise ConfigError(
                f"a job store on PostgreSQL needs psycopg, which does not load: {error}",
                hint="pip install 'lexigram-ray[postgres]'",
            ) from error
        event.listen(engine, "connect", self._set_up)
        return engine

    def _set_up(self, connection: Any, _record: object) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreUnreachableError(
                f"the job store {self.name} is in {encoding}, which does not hold every text",
                hint="make it anew with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
            )
        # Set in a transaction that is rolled back, they would be lost again.
        connection.autocommit = True
        connection.execute(_SETTINGS)
        connection.autocommit = False


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not chained: the cause may quote the password.
        raise ConfigError(
            "store_url is no URL of a PostgreSQL database", hint=f"write it as {EXAMPLE}"
        ) from None
    if parsed.host is not None and "@" in parsed.host:
        raise ConfigError(
            "store_url has an @ too many: one in its password, it seems",
            hint="write each @ of the password as %40",
        )
    return parsed


def _name(url: URL) -> str:
    hosts = url.host or url.query.get("host") or ""
    return URL.create(
        "postgresql",
        username=url.username,
        host=hosts if isinstance(hosts, str) else ",".join(hosts),
        port=url.port,
        database=url.database,
    ).render_as_string()
