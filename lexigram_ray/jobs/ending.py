"""Ending a job from outside: cancelled, past its deadline, or tried too often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Row, Update

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import jobs_sql
from lexigram_ray.jobs.attempts import end_job
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.fence import no_such_job
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.listing import job_of
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import DEADLINE_CODE, Job

JOB_IS_FINAL = "job_is_final"
"""Code of the error that refuses to end a job that has ended already."""

_OVERDUE = "its deadline passed before it had ended"

# Other writers get in between.
_JOBS_AT_ONCE = 500

Turn = Callable[[str, Owner, float], AbstractContextManager[None]]


class Ending:
    """Ends jobs that others may own. `Store` documents the promises.

    Args:
        turn: Waits for a turn at a collection.
    """

    def __init__(self, database: Database, letters: LetterWriting, turn: Turn) -> None:
        self._database = database
        self._letters = letters
        self._turn = turn

    def cancel(self, job_id: str, owner: Owner, turn_seconds: float) -> Job:
        """End a job that has not ended, when none of its writes is under way."""
        cancelled = self._cancelled(job_id, jobs_sql.CANCEL_NEVER_CLAIMED)
        if cancelled.status.is_final:
            return cancelled
        with self._turn(cancelled.collection, owner, turn_seconds):
            return self._cancelled(job_id, jobs_sql.CANCEL)

    def _cancelled(self, job_id: str, query: Update) -> Job:
        """Cancel a job where the query finds it, and return it as it is then."""
        with self._database.write() as connection:
            now = self._database.now()
            if end_job(connection, query, job_id, now, JobStatus.CANCELLED):
                self._letters.jobs_ended(connection, [job_id])
            row = connection.execute(jobs_sql.JOB, {"job_id": job_id}).one_or_none()
        if row is None:
            raise no_such_job(job_id)
        if row.status in {JobStatus.COMPLETED, JobStatus.FAILED}:
            raise UsageError(
                f"job {job_id} cannot be cancelled: it is {row.status}, which is final",
                hint=f"`lexigram-ray jobs show {job_id}` tells how it ended",
                code=JOB_IS_FINAL,
            )
        return job_of(row)

    def fail_overdue(self, owner: Owner, turn_seconds: float) -> list[str]:
        """End the jobs whose deadline has passed, each when none of its writes is under way."""
        with self._database.read() as connection:
            overdue = connection.execute(jobs_sql.OVERDUE, {"now": self._database.now()}).all()
        untouched = [row.id for row in overdue if row.fence == 0]
        failed = self._failed(untouched, jobs_sql.FAIL_OVERDUE_NEVER_CLAIMED)
        # One that was claimed between the look and now waits for its turn in the next round.
        for collection, ids in _by_collection(overdue).items():
            with self._turn(collection, owner, turn_seconds):
                failed += self._failed(ids, jobs_sql.FAIL_OVERDUE)
        return failed

    def _failed(self, ids: Sequence[str], query: Update) -> list[str]:
        now = self._database.now()
        failed: list[str] = []
        for start in range(0, len(ids), _JOBS_AT_ONCE):
            # In the order in which all lock several jobs; all of them before any letter.
            some = sorted(ids[start : start + _JOBS_AT_ONCE])
            with self._database.write() as connection:
                ended = [job_id for job_id in some if _fail(connection, query, job_id, now)]
                self._letters.jobs_ended(connection, ended)
            failed += ended
        return failed

    def give_up(self, job_id: str, seen_fence: int, *, error: str, error_code: str) -> bool:
        """End a pending job that is not to be tried again."""
        now = self._database.now()
        with self._database.write() as connection:
            given_up = end_job(
                connection,
                jobs_sql.GIVE_UP,
                job_id,
                now,
                JobStatus.FAILED,
                error=error,
                error_code=error_code,
                seen_fence=seen_fence,
            )
            if given_up:
                self._letters.jobs_ended(connection, [job_id])
        return given_up


def fail_overdue_job(connection: Connection, job_id: str, now: int) -> bool:
    """End a job that nobody works on and whose deadline has passed; return whether it did."""
    return _fail(connection, jobs_sql.FAIL_OVERDUE, job_id, now)


def _by_collection(overdue: Sequence[Row[Any, Any, Any]]) -> dict[str, list[str]]:
    claimed: defaultdict[str, list[str]] = defaultdict(list)
    for row in overdue:
        if row.fence > 0:
            claimed[row.collection].append(row.id)
    return claimed


def _fail(connection: Connection, query: Update, job_id: str, now: int) -> bool:
    status, code = JobStatus.FAILED, DEADLINE_CODE
    return end_job(connection, query, job_id, now, status, error=_OVERDUE, error_code=code)
