"""Looking at jobs and their attempts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import jobs_sql
from lexigram_ray.jobs.attempts import attempt_of, errors_in_a_row
from lexigram_ray.jobs.database import (
    Database,
    from_micros,
    from_optional_micros,
    storable,
    to_micros,
)
from lexigram_ray.jobs.page_cursors import cursor_at, place_of
from lexigram_ray.jobs.records import Attempt, Job
from lexigram_ray.jobs.schedule_records import MAINTENANCE
from lexigram_ray.jobs.schema import is_asked_for, is_maintenance

# SQLite takes 32,766 parameters in a statement; planning long lists costs more than asking twice.
_IDS_AT_ONCE = 500
# Sorts behind every digit of an id, and behind its hyphens.
_BEHIND_DIGITS = "g"


class Listing:
    """Reads jobs. `Store` documents the promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: str) -> Job | None:
        """Return one job."""
        with self._database.read() as connection:
            row = connection.execute(jobs_sql.JOB, {"job_id": storable(job_id)}).one_or_none()
        return None if row is None else job_of(row)

    def of_unique_key(self, key: str) -> Job | None:
        """Return the job that took a unique key."""
        asked = {"unique_key": storable(key)}
        with self._database.read() as connection:
            row = connection.execute(jobs_sql.JOB_OF_UNIQUE_KEY, asked).one_or_none()
        return None if row is None else job_of(row)

    def beginning(self, prefix: str) -> list[Job]:
        """Return the jobs whose ids begin so, newest first."""
        first = storable(prefix)
        given = {"first": first, "last": f"{first}{_BEHIND_DIGITS}"}
        with self._database.read() as connection:
            rows = connection.execute(jobs_sql.JOBS_BETWEEN, given).all()
        return [job_of(row) for row in rows]

    def newest(
        self,
        *,
        status: JobStatus | None,
        kind: str | None,
        collection: str | None,
        limit: int,
        cursor: str | None,
    ) -> tuple[list[Job], str | None]:
        """Return a page of jobs and the cursor of the next one."""
        if limit < 1:
            raise UsageError(f"a page of {limit} jobs cannot be shown", hint="ask for 1 or more")
        which = is_maintenance if kind == MAINTENANCE else is_asked_for
        query = jobs_sql.NEWEST_JOBS.where(which)
        # One more than asked for shows whether there is a next page.
        given: dict[str, object] = {"at_most": limit + 1}
        filters = (
            (jobs_sql.WITH_STATUS, "status", None if status is None else status.value),
            (jobs_sql.OF_KIND, "kind", kind),
            (jobs_sql.OF_COLLECTION, "collection", collection),
        )
        for condition, name, value in filters:
            if value is not None:
                query = query.where(condition)
                given[name] = storable(value)
        if cursor is not None:
            query = query.where(jobs_sql.BELOW)
            given["last_created_at"], given["last_id"] = place_of(cursor, "a list of jobs")
        with self._database.read() as connection:
            rows = connection.execute(query, given).all()
        following = None
        if len(rows) > limit:
            following = cursor_at(rows[limit - 1].created_at, rows[limit - 1].id)
        return [job_of(row) for row in rows[:limit]], following

    def had_jobs_between(self, since: datetime, until: datetime) -> bool:
        """Return whether any job was made in that time."""
        asked = {"since": to_micros(since), "until": to_micros(until)}
        with self._database.read() as connection:
            return connection.execute(jobs_sql.ANY_MADE_BETWEEN, asked).first() is not None

    def attempts_of(self, job_id: str) -> list[Attempt]:
        """Return a job's attempts, first to last."""
        with self._database.read() as connection:
            rows = connection.execute(jobs_sql.ATTEMPTS_OF_JOB, {"job_id": job_id}).all()
        return [attempt_of(row) for row in rows]

    def errors_in_a_row(self, job_id: str) -> int:
        """Count the errors at the end of a job's attempts."""
        with self._database.read() as connection:
            return errors_in_a_row(connection, job_id)

    def has_unfinished_with(self, digest: str, *, kind: str) -> bool:
        """Return whether an unfinished job has a digest in its spec."""
        asked = {"digest": storable(digest), "kind": storable(kind)}
        with self._database.read() as connection:
            return connection.execute(jobs_sql.ANY_UNFINISHED_WITH, asked).first() is not None

    def counts(self, kind: str | None = None) -> dict[JobStatus, int]:
        """Count the jobs in each state."""
        query = jobs_sql.COUNTS if kind is None else jobs_sql.COUNTS_OF_KIND
        asked = {} if kind is None else {"kind": kind}
        with self._database.read() as connection:
            counted = {row.status: row.jobs for row in connection.execute(query, asked)}
        return {status: counted.get(status.value, 0) for status in JobStatus}


def rows_of_ids(connection: Connection, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Return the jobs that there are of these ids, by id."""
    rows: dict[str, Row[Any]] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = {"job_ids": ids[start : start + _IDS_AT_ONCE]}
        rows |= {row.id: row for row in connection.execute(jobs_sql.JOBS_OF_IDS, some)}
    return rows


def job_of(row: Row[Any]) -> Job:
    """Return a row of `jobs` as a record."""
    return Job(
        id=row.id,
        kind=row.kind,
        status=JobStatus(row.status),
        priority=row.priority,
        collection=row.collection,
        spec=json.loads(row.spec),
        spec_key=row.spec_key,
        fence=row.fence,
        attempt=row.attempt,
        retry_of=row.retry_of,
        created_at=from_micros(row.created_at),
        started_at=from_optional_micros(row.started_at),
        finished_at=from_optional_micros(row.finished_at),
        error=row.error,
        error_code=row.error_code,
        progress=json.loads(row.progress),
        summary=json.loads(row.summary),
        run_after=from_optional_micros(row.run_after),
        deadline=from_optional_micros(row.deadline),
    )
