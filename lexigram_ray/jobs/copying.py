"""The rows of one store, put into another one, whatever databases they are in."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, func, select

from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.schema import (
    access_tokens,
    audit_log,
    documents,
    jobs,
    leases,
    meta,
    metadata,
    rate_limits,
    schedule_runs,
    schedules,
    schema_version,
)

_ROWS_AT_ONCE = 1000
_OF_THE_MOMENT = (leases, rate_limits)
_NOT_COPIED = {*_OF_THE_MOMENT, schema_version}


def copy_rows(source: Database, target: Database) -> None:
    """Copy everything from one state of a store into an empty one, all or nothing.

    Raises:
        UsageError: The target is not empty.
        StoreUnreachableError: One of the two, which it names, cannot be used.
        DiskFullError: No space is left for the target.
    """
    with target.migrating() as written:
        # Neither who may use it nor who has changed it is to be lost, or mixed with another's.
        for table in (jobs, documents, access_tokens, audit_log):
            if written.execute(select(func.count()).select_from(table)).scalar_one():
                raise UsageError(
                    f"the job store {target.name} is not empty: it has rows in {table.name}",
                    hint="restore into a fresh --state or database",
                )
        # With the store's id: what `migrate` has made is the id of another one.
        written.execute(meta.delete())
        # `up` defines schedules before there is anything to do, and the copy has its own.
        for table in (schedule_runs, schedules):
            written.execute(table.delete())
        with closing(_statements(source)) as statements:
            for statement, rows in statements:
                written.execute(statement, rows)


def forget_the_moment(database: Database) -> None:
    """Remove what is of no use in a copy of a store."""
    with database.write() as connection:
        for table in _OF_THE_MOMENT:
            connection.execute(table.delete())


def _statements(source: Database) -> Generator[tuple[Executable, list[dict[str, Any]]]]:
    """Yield what brings one state of a store into another one, each with its rows.

    The source is read in here, so that its errors name it and not the target; and it is let go
    before the target commits, which may take longer than a server lets a reader stand still.
    """
    with source.read() as read:
        # In the order of definition, so that a job is there before its attempts and units.
        for table in metadata.tables.values():
            if table in _NOT_COPIED:
                continue
            query = select(table).execution_options(
                stream_results=True, max_row_buffer=_ROWS_AT_ONCE
            )
            # What a job repeats may come after it: it is linked once all are there.
            unlinked = {"retry_of": None} if table is jobs else {}
            for rows in read.execute(query).mappings().partitions(_ROWS_AT_ONCE):
                yield table.insert(), [{**row, **unlinked} for row in rows]
        yield from _links(read)


def _links(read: Connection) -> Generator[tuple[Executable, list[dict[str, Any]]]]:
    retries = read.execute(
        select(jobs.c.id.label("of_job"), jobs.c.retry_of.label("original")).where(
            jobs.c.retry_of.is_not(None)
        )
    ).mappings()
    link = (
        jobs.update().where(jobs.c.id == bindparam("of_job")).values(retry_of=bindparam("original"))
    )
    for some in retries.partitions(_ROWS_AT_ONCE):
        yield link, [dict(row) for row in some]
