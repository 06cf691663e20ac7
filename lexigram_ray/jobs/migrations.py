"""Forward migrations: what turns any older store, or an empty one, into today's.

A step that has been released never changes; a change of `schema.py` comes with a new step.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select

from lexigram_ray.core.errors import StoreUnreachableError
from lexigram_ray.jobs import (
    access_migration,
    letters_migration,
    maintenance_migration,
    metrics_migration,
)
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.schema import meta, schema_version

STORE_ID = "store_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One version's change, in SQL that SQLite and PostgreSQL both take.

    Attributes:
        fill: Makes rows of what is there already, where SQL alone cannot.
    """

    version: int
    name: str
    statements: tuple[str, ...]
    fill: Callable[[Connection], None] | None = None


_FIRST = Step(
    version=1,
    name="jobs, units, ledger, attempts, leases",
    statements=(
        """
        CREATE TABLE schema_version (
            version INTEGER NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            applied_at BIGINT NOT NULL
        )
        """,
        "CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
        """
        CREATE TABLE jobs (
            id TEXT NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            status TEXT NOT NULL CHECK (
                status IN ('pending', 'running', 'completed', 'failed', 'cancelled')
            ),
            priority INTEGER NOT NULL,
            collection TEXT NOT NULL,
            spec TEXT NOT NULL,
            spec_key TEXT NOT NULL,
            unique_key TEXT,
            fence BIGINT NOT NULL,
            attempt INTEGER NOT NULL,
            retry_of TEXT REFERENCES jobs (id),
            created_at BIGINT NOT NULL,
            started_at BIGINT,
            finished_at BIGINT,
            owner TEXT,
            lease_until BIGINT,
            error TEXT,
            error_code TEXT,
            progress TEXT NOT NULL,
            summary TEXT NOT NULL,
            CHECK ((status = 'running') = (owner IS NOT NULL AND lease_until IS NOT NULL))
        )
        """,
        # At most one unfinished job asks for the same: what makes submitting idempotent.
        """
        CREATE UNIQUE INDEX jobs_unfinished ON jobs (kind, spec_key)
        WHERE status IN ('pending', 'running')
        """,
        "CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key) WHERE unique_key IS NOT NULL",
        # The order of claiming. Finished jobs lie elsewhere in it and slow no claim down.
        "CREATE INDEX jobs_queue ON jobs (kind, status, priority DESC, created_at, id)",
        "CREATE INDEX jobs_newest ON jobs (created_at, id)",
        """
        CREATE TABLE attempts (
            job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            fence BIGINT NOT NULL,
            owner TEXT NOT NULL,
            started_at BIGINT NOT NULL,
            ended_at BIGINT,
            outcome TEXT,
            error TEXT,
            PRIMARY KEY (job_id, number)
        )
        """,
        """
        CREATE TABLE units (
            job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            unit_id TEXT NOT NULL,
            source TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('pending', 'done', 'skipped', 'failed')),
            crashes INTEGER NOT NULL,
            content_hash TEXT NOT NULL,
            chunks INTEGER NOT NULL,
            computed INTEGER NOT NULL,
            cached INTEGER NOT NULL,
            category TEXT,
            code TEXT NOT NULL,
            reason TEXT NOT NULL,
            seconds FLOAT NOT NULL,
            updated_at BIGINT NOT NULL,
            PRIMARY KEY (job_id, unit_id)
        )
        """,
        """
        CREATE TABLE documents (
            collection TEXT NOT NULL,
            document_id TEXT NOT NULL,
            source TEXT NOT NULL,
            state TEXT NOT NULL CHECK (
                state IN ('writing', 'done', 'skipped', 'failed', 'removed')
            ),
            size BIGINT,
            mtime_ns BIGINT,
            ctime_ns BIGINT,
            inode BIGINT,
            checked_at_ns BIGINT NOT NULL,
            content_hash TEXT NOT NULL,
            chunker TEXT NOT NULL,
            model TEXT NOT NULL,
            parser TEXT NOT NULL,
            chunks INTEGER NOT NULL,
            chunks_digest TEXT NOT NULL,
            job_id TEXT NOT NULL,
            category TEXT,
            code TEXT NOT NULL,
            reason TEXT NOT NULL,
            had_intent SMALLINT NOT NULL CHECK (had_intent IN (0, 1)),
            updated_at BIGINT NOT NULL,
            PRIMARY KEY (collection, document_id)
        )
        """,
        """
        CREATE TABLE leases (
            name TEXT NOT NULL,
            token TEXT NOT NULL,
            position BIGINT NOT NULL,
            owner TEXT NOT NULL,
            held SMALLINT NOT NULL,
            lease_until BIGINT NOT NULL,
            PRIMARY KEY (name, token)
        )
        """,
    ),
)

_REPLACED = Step(
    version=2,
    name="rows that a unit replaced",
    statements=("ALTER TABLE units ADD COLUMN replaced INTEGER",),
)

_QUEUE = Step(
    version=3,
    name="waiting, deadlines, attempts told whole, shared rate limits",
    statements=(
        """
        ALTER TABLE jobs ADD COLUMN run_after BIGINT
        CHECK (run_after IS NULL OR status = 'pending')
        """,
        "ALTER TABLE jobs ADD COLUMN deadline BIGINT",
        "ALTER TABLE attempts ADD COLUMN actor TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE attempts ADD COLUMN category TEXT",
        "ALTER TABLE attempts ADD COLUMN traceback TEXT",
        # Each part of the queue has an index that holds nothing else: neither finished jobs nor
        # those that wait for their time stand in a claim's way.
        "DROP INDEX jobs_queue",
        """
        CREATE INDEX jobs_startable ON jobs (kind, priority DESC, created_at, id)
        WHERE status = 'pending' AND run_after IS NULL
        """,
        """
        CREATE INDEX jobs_running ON jobs (kind, priority DESC, created_at, id)
        WHERE status = 'running'
        """,
        "CREATE INDEX jobs_waiting ON jobs (run_after) WHERE run_after IS NOT NULL",
        """
        CREATE INDEX jobs_deadline ON jobs (deadline, id)
        WHERE finished_at IS NULL AND deadline IS NOT NULL
        """,
        "CREATE INDEX jobs_of_status ON jobs (status, created_at, id)",
        """
        CREATE TABLE rate_limits (
            name TEXT NOT NULL PRIMARY KEY,
            tokens FLOAT NOT NULL,
            updated_at BIGINT NOT NULL,
            blocked_until BIGINT NOT NULL
        )
        """,
    ),
)

_DEAD_LETTERS = Step(
    version=4,
    name="dead letters",
    statements=letters_migration.STATEMENTS,
    fill=letters_migration.fill,
)

_MAINTENANCE = Step(
    version=5, name="schedules, events of jobs", statements=maintenance_migration.STATEMENTS
)

_METRICS = Step(
    version=6,
    name="figures by minute, hour and day",
    statements=metrics_migration.STATEMENTS,
)

_ACCESS = Step(version=7, name="access tokens, audit log", statements=access_migration.STATEMENTS)

STEPS: tuple[Step, ...] = (
    _FIRST,
    _REPLACED,
    _QUEUE,
    _DEAD_LETTERS,
    _MAINTENANCE,
    _METRICS,
    _ACCESS,
)


def opened(url: str, clock: Callable[[], float]) -> tuple[Database, str]:
    """Open a store's database, made or brought up to date where needed; see `migrate`.

    Args:
        url: Of the store.
        clock: Returns seconds since the epoch.

    Returns:
        The database, for the caller to close, and the store's own id.
    """
    database = Database(url, clock)
    try:
        return database, migrate(database)
    except BaseException:
        database.close()
        raise


def migrate(database: Database, steps: Sequence[Step] = STEPS) -> str:
    """Bring a store to the version of the last step, and return the store's own id.

    Processes that open the same store at once follow each other; all but the first find nothing
    left to do.

    Raises:
        StoreUnreachableError: The store is of a newer version, or another program's database.
    """
    with database.read() as connection:
        current = _version_of(connection, database)
        _refuse_newer(current, steps, database)
        if current == steps[-1].version:
            return _store_id(connection)
    for step in steps:
        with database.migrating() as connection:
            # Another process may have been here since the last look.
            if _version_of(connection, database) < step.version:
                _apply(step, connection, database.now())
    with database.read() as connection:
        _refuse_newer(_version_of(connection, database), steps, database)
        return _store_id(connection)


def _version_of(connection: Connection, database: Database) -> int:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return 0
    if not {"schema_version", "meta", "jobs"} <= tables:
        raise StoreUnreachableError(
            f"{database.name} is another program's database: it has no table of jobs",
            hint="set --state to a folder of its own, or store_url to a database of its own",
        )
    return connection.execute(select(func.max(schema_version.c.version))).scalar() or 0


def _refuse_newer(current: int, steps: Sequence[Step], database: Database) -> None:
    known = steps[-1].version
    if current > known:
        raise StoreUnreachableError(
            f"the job store {database.name} has schema version {current}, "
            f"and this lexigram-ray knows only versions up to {known}",
            hint="upgrade lexigram-ray, or set --state or store_url to another place",
        )


def _apply(step: Step, connection: Connection, now: int) -> None:
    for statement in step.statements:
        connection.exec_driver_sql(statement)
    if step.fill is not None:
        step.fill(connection)
    if step.version == 1:
        connection.execute(meta.insert().values(key=STORE_ID, value=uuid.uuid4().hex))
    record = {"version": step.version, "name": step.name, "applied_at": now}
    connection.execute(schema_version.insert().values(record))


def _store_id(connection: Connection) -> str:
    return connection.execute(select(meta.c.value).where(meta.c.key == STORE_ID)).scalar_one()
