"""Looking at the runs of schedules, with what their jobs say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import JobStatus, MaintenanceStatus
from lexigram_ray.jobs import schedules_sql
from lexigram_ray.jobs.database import Database, from_micros, from_optional_micros, storable
from lexigram_ray.jobs.listing import job_of, rows_of_ids
from lexigram_ray.jobs.page_cursors import cursor_at, place_of
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.schedule_records import CANCELLED_CODE, Run, Trigger

_STATUS_OF_JOB: Mapping[str, MaintenanceStatus] = MappingProxyType(
    {
        JobStatus.PENDING.value: MaintenanceStatus.PENDING,
        JobStatus.RUNNING.value: MaintenanceStatus.RUNNING,
        JobStatus.COMPLETED.value: MaintenanceStatus.COMPLETED,
        JobStatus.FAILED.value: MaintenanceStatus.FAILED,
        JobStatus.CANCELLED.value: MaintenanceStatus.FAILED,
    }
)


class ScheduleListing:
    """Reads runs. `Schedules` documents the promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self,
        name: str | None,
        status: MaintenanceStatus | None,
        limit: int,
        cursor: str | None,
    ) -> tuple[list[Run], str | None]:
        """Return a page of runs and the cursor of the next one."""
        if limit < 1:
            raise UsageError(f"a page of {limit} runs cannot be shown", hint="ask for 1 or more")
        query = schedules_sql.NEWEST_RUNS
        # One more than asked for shows whether there is a next page.
        given: dict[str, object] = {"at_most": limit + 1}
        if name is not None:
            query = query.where(schedules_sql.OF_SCHEDULE)
            given["of_name"] = storable(name)
        if status is MaintenanceStatus.SKIPPED:
            query = query.where(schedules_sql.SKIPPED)
        elif status is not None:
            query = query.where(schedules_sql.IN_STATUS)
            given["statuses"] = [key for key, value in _STATUS_OF_JOB.items() if value is status]
        if cursor is not None:
            query = query.where(schedules_sql.BELOW)
            given["last_due_at"], given["last_id"] = place_of(cursor, "a list of runs")
        with self._database.read() as connection:
            rows = connection.execute(query, given).all()
        following = None
        if len(rows) > limit:
            following = cursor_at(rows[limit - 1].due_at, rows[limit - 1].id)
        return [run_of(row) for row in rows[:limit]], following

    def of_job(self, job_id: str) -> Run | None:
        """Return the run of a job."""
        with self._database.read() as connection:
            asked = {"of_job": storable(job_id)}
            row = connection.execute(schedules_sql.OF_JOB, asked).one_or_none()
        return None if row is None else run_of(row)

    def last_completed(self, name: str) -> Run | None:
        """Return the latest due run that has completed."""
        with self._database.read() as connection:
            asked = {"of_name": storable(name)}
            row = connection.execute(schedules_sql.LAST_COMPLETED, asked).one_or_none()
        return None if row is None else run_of(row)

    def unfinished(self, name: str) -> list[Job]:
        """Return the unfinished jobs of a schedule, the longest due first."""
        with self._database.read() as connection:
            rows = connection.execute(schedules_sql.UNFINISHED).all()
            ids = [row.id for row in rows if row.schedule == storable(name)]
            found = rows_of_ids(connection, ids)
        return [job_of(found[job_id]) for job_id in ids]


def run_of(row: Row[Any]) -> Run:
    """Return a row of `schedule_runs`, joined with its job, as a record."""
    is_cancelled = row.status == JobStatus.CANCELLED.value
    return Run(
        id=row.id,
        schedule=row.schedule,
        task=row.task,
        due_at=from_micros(row.due_at),
        trigger=Trigger(row.trigger),
        created_at=from_micros(row.created_at),
        job_id=row.job_id,
        status=MaintenanceStatus.SKIPPED if row.status is None else _STATUS_OF_JOB[row.status],
        reason=row.reason or row.error or ("it was cancelled" if is_cancelled else ""),
        error_code=CANCELLED_CODE if is_cancelled else row.error_code,
        started_at=from_optional_micros(row.started_at),
        finished_at=from_optional_micros(row.finished_at),
        result={} if row.summary is None else json.loads(row.summary),
    )
