"""The record of each claim: who worked on the job, and how that ended; alone or with the job."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Update

from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs import job_events, jobs_sql, metrics_sql
from lexigram_ray.jobs.database import from_micros, from_optional_micros, storable
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import INTERRUPTED, LOST, SNOOZED, Attempt
from lexigram_ray.jobs.redaction import redacted

# These say nothing of whether the job can succeed: they neither count nor end a row of errors.
_SILENT = frozenset({LOST, SNOOZED})


def end_job(
    connection: Connection,
    query: Update,
    job_id: str,
    now: int,
    status: JobStatus,
    *,
    error: str | None = None,
    error_code: str | None = None,
    category: FailureCategory | None = None,
    traceback: str | None = None,
    **given: int | str,
) -> bool:
    """End a job for good, and whatever attempt of it is open.

    Args:
        query: Ends the job where it is as it is expected to be.
        now: In microseconds since the epoch.
        given: What the query names besides.

    Returns:
        False where the job is not as expected; nothing was changed.
    """
    ended = {
        "job_id": job_id,
        "final_status": status.value,
        "now": now,
        "why": None if error is None else told(error),
        "why_code": error_code,
    }
    if connection.execute(query, ended | given).rowcount == 0:
        return False
    close(
        connection, job_id, now, status.value, error=error, category=category, traceback=traceback
    )
    told_of: dict[str, object] = {
        "error": job_events.shortened(error),
        "code": error_code,
        "category": None if category is None else category.value,
    }
    job_events.add(connection, job_id, now, status.value, told_of)
    connection.execute(metrics_sql.NOTE_ENDED, {"ended_job": job_id})
    return True


def close(
    connection: Connection,
    job_id: str,
    now: int,
    outcome: str,
    *,
    error: str | None = None,
    category: FailureCategory | None = None,
    traceback: str | None = None,
) -> None:
    """End whatever attempt of a job is open."""
    ended = {
        "of_job": job_id,
        "now": now,
        "how": storable(outcome),
        "why": None if error is None else told(error),
        "of_category": None if category is None else category.value,
        "trace": None if traceback is None else told(traceback),
    }
    connection.execute(jobs_sql.CLOSE_ATTEMPT, ended)


def told(text: str) -> str:
    """Return what is kept of an error's words."""
    return storable(redacted(text))


def errors_in_a_row(connection: Connection, job_id: str) -> int:
    """Count the attempts that have ended since one was last interrupted; see `Store`."""
    count = 0
    for row in connection.execute(jobs_sql.OUTCOMES, {"job_id": job_id}):
        if row.outcome == INTERRUPTED:
            break
        if row.outcome not in _SILENT and row.category != FailureCategory.THROTTLED:
            count += 1
    return count


def attempt_of(row: Row[Any]) -> Attempt:
    """Return a row of `attempts` as a record."""
    return Attempt(
        job_id=row.job_id,
        number=row.number,
        fence=row.fence,
        owner=Owner.from_json(row.owner),
        started_at=from_micros(row.started_at),
        ended_at=from_optional_micros(row.ended_at),
        outcome=row.outcome,
        error=row.error,
        actor=row.actor,
        category=None if row.category is None else FailureCategory(row.category),
        traceback=row.traceback,
    )
