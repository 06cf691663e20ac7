"""What the owner of a claimed job says of it: alive, given back, finished."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs import attempts, fence, job_events, jobs_sql
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.intake import to_json
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.records import Claim


class Lifecycle:
    """Changes claimed jobs. `Store` documents the promises."""

    def __init__(self, database: Database, letters: LetterWriting) -> None:
        self._database = database
        self._letters = letters

    def beat(self, claim: Claim, lease_seconds: float) -> None:
        """Move the end of the lease."""
        new = {"new_lease": self._database.after(lease_seconds)}
        with self._database.write() as connection:
            _change(connection, jobs_sql.BEAT, claim, new)

    def save_progress(self, claim: Claim, progress: dict[str, object]) -> None:
        """Replace what is shown of a running job."""
        new = {"new_progress": to_json(progress)}
        with self._database.write() as connection:
            _change(connection, jobs_sql.SAVE_PROGRESS, claim, new)

    def release(
        self,
        claim: Claim,
        outcome: str,
        *,
        error: str | None,
        category: FailureCategory | None,
        traceback: str | None,
        wait_seconds: float,
    ) -> None:
        """Give a job back unfinished."""
        not_before = self._database.after(wait_seconds) if wait_seconds > 0 else None
        with self._database.write() as connection:
            _change(connection, jobs_sql.RELEASE, claim, {"not_before": not_before})
            now = self._database.now()
            attempts.close(
                connection,
                claim.job_id,
                now,
                outcome,
                error=error,
                category=category,
                traceback=traceback,
            )
            released = {
                "outcome": outcome,
                "error": job_events.shortened(error),
                "category": None if category is None else category.value,
                "wait_seconds": wait_seconds or None,
            }
            job_events.add(connection, claim.job_id, now, job_events.RELEASED, released)

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        error: str | None,
        error_code: str | None,
        summary: dict[str, object],
        category: FailureCategory | None,
        traceback: str | None,
    ) -> None:
        """End a job for good."""
        if not status.is_final:
            raise UsageError(f"a job cannot end as {status.value}")
        now = self._database.now()
        with self._database.write() as connection:
            if not attempts.end_job(
                connection,
                jobs_sql.FINISH,
                claim.job_id,
                now,
                status,
                error=error,
                error_code=error_code,
                category=category,
                traceback=traceback,
                held_fence=claim.fence,
                new_summary=to_json(summary),
            ):
                raise fence.lost(connection, claim)
            self._letters.jobs_ended(connection, [claim.job_id])


def _change(connection: Connection, query: Any, claim: Claim, new: dict[str, Any]) -> None:
    if connection.execute(query, {**fence.names(claim), **new}).rowcount == 0:
        raise fence.lost(connection, claim)
