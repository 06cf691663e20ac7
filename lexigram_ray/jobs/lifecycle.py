"""A job's states: submitted, claimed, kept alive, given back, finished."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.ids import new_job_id
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import fence, jobs_sql
from lexigram_ray.jobs.database import Database, from_micros, storable
from lexigram_ray.jobs.listing import job_of
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Busy, Claim, Job

_LOST = "lost"


class Lifecycle:
    """Moves jobs from state to state. `Store` documents the promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(
        self,
        *,
        kind: str,
        collection: str,
        spec: dict[str, object],
        spec_key: str,
        priority: int,
        unique_key: str | None,
        retry_of: str | None,
    ) -> tuple[Job, bool]:
        """Make a job, or find the one that it repeats."""
        job_id = new_job_id()
        new = {
            "id": job_id,
            "kind": kind,
            "status": JobStatus.PENDING.value,
            "priority": priority,
            "collection": collection,
            "spec": _to_json(spec),
            "spec_key": spec_key,
            "unique_key": unique_key,
            "fence": 0,
            "attempt": 0,
            "retry_of": retry_of,
            "created_at": self._database.now(),
            "progress": "{}",
            "summary": "{}",
        }
        row = None
        # Where two transactions may insert at once, an index lets one of them in. Should that job
        # end before the other one looks, it is tried once more.
        while row is None:
            with self._database.write() as connection:
                _require_retried(connection, retry_of)
                row = _existing(connection, new)
                if row is None:
                    connection.execute(jobs_sql.insert_job(self._database.insert_into), new)
                    row = _existing(connection, new)
        return job_of(row), row.id == job_id

    def claim(self, job_id: str, owner: Owner, lease_seconds: float) -> Claim | Busy:
        """Take one job, or say who has it."""
        with self._database.write() as connection:
            row = connection.execute(jobs_sql.LOCK_JOB, {"job_id": job_id}).one_or_none()
            if row is None:
                raise UsageError(f"no job {job_id!r}", hint="`lexigram-ray jobs list` shows them")
            if JobStatus(row.status).is_final:
                raise LeaseLostError(
                    f"job {job_id} cannot be claimed: it is {row.status}, which is final",
                    hint="run the same command again: it makes a new job",
                )
            if self._is_held(row):
                return Busy(
                    job=job_of(row),
                    owner=Owner.from_json(row.owner),
                    lease_until=from_micros(row.lease_until),
                )
            return self._take(connection, row, owner, lease_seconds)

    def claim_next(self, kind: str, owner: Owner, lease_seconds: float) -> Claim | None:
        """Take the first of the jobs that wait or have lost their owner."""
        with self._database.write() as connection:
            pending = connection.execute(jobs_sql.NEXT_PENDING, {"kind": kind}).all()
            running = connection.execute(jobs_sql.RUNNING_OF_KIND, {"kind": kind}).all()
            lost = [row for row in running if not self._is_held(row)]
            if not pending and not lost:
                return None
            first = min((*pending, *lost), key=lambda row: (-row.priority, row.created_at, row.id))
            return self._take(connection, first, owner, lease_seconds)

    def _is_held(self, row: Row[Any]) -> bool:
        return (
            row.status == JobStatus.RUNNING
            and row.lease_until > self._database.now()
            and not Owner.from_json(row.owner).is_gone()
        )

    def _take(
        self, connection: Connection, row: Row[Any], owner: Owner, lease_seconds: float
    ) -> Claim:
        now = self._database.now()
        claim = Claim(job_id=row.id, fence=row.fence + 1, owner=owner)
        taking = {
            "job_id": row.id,
            "seen_fence": row.fence,
            "new_fence": claim.fence,
            "attempt_number": row.attempt + 1,
            "new_owner": owner.to_json(),
            "new_lease": self._database.after(lease_seconds),
            "now": now,
        }
        if connection.execute(jobs_sql.TAKE_JOB, taking).rowcount == 0:
            raise fence.lost(connection, claim)
        _close_attempt(connection, row.id, now, _LOST, "its owner died or let its lease expire")
        connection.execute(jobs_sql.OPEN_ATTEMPT, taking)
        return claim

    def beat(self, claim: Claim, lease_seconds: float) -> None:
        """Move the end of the lease."""
        new = {"new_lease": self._database.after(lease_seconds)}
        with self._database.write() as connection:
            self._change(connection, jobs_sql.BEAT, claim, new)

    def save_progress(self, claim: Claim, progress: dict[str, object]) -> None:
        """Replace what is shown of a running job."""
        new = {"new_progress": _to_json(progress)}
        with self._database.write() as connection:
            self._change(connection, jobs_sql.SAVE_PROGRESS, claim, new)

    def release(self, claim: Claim, outcome: str) -> None:
        """Give a job back unfinished."""
        with self._database.write() as connection:
            self._change(connection, jobs_sql.RELEASE, claim, {})
            _close_attempt(connection, claim.job_id, self._database.now(), outcome, None)

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        error: str | None,
        error_code: str | None,
        summary: dict[str, object],
    ) -> None:
        """End a job for good."""
        if not status.is_final:
            raise UsageError(f"a job cannot end as {status.value}")
        why = None if error is None else storable(error)
        new = {
            "final_status": status.value,
            "now": self._database.now(),
            "why": why,
            "why_code": error_code,
            "new_summary": _to_json(summary),
        }
        with self._database.write() as connection:
            self._change(connection, jobs_sql.FINISH, claim, new)
            _close_attempt(connection, claim.job_id, self._database.now(), status.value, why)

    @staticmethod
    def _change(connection: Connection, query: Any, claim: Claim, new: dict[str, Any]) -> None:
        if connection.execute(query, {**fence.names(claim), **new}).rowcount == 0:
            raise fence.lost(connection, claim)


def _existing(connection: Connection, new: dict[str, Any]) -> Row[Any] | None:
    if new["unique_key"] is not None:
        given = {"unique_key": new["unique_key"]}
        row = connection.execute(jobs_sql.JOB_OF_UNIQUE_KEY, given).one_or_none()
        if row is not None:
            if (row.kind, row.spec_key) != (new["kind"], new["spec_key"]):
                raise UsageError(
                    f"the unique key {new['unique_key']!r} belongs to job {row.id}, "
                    "which asks for something else",
                    hint="use another key for another request",
                )
            return row
    like = {"kind": new["kind"], "spec_key": new["spec_key"]}
    return connection.execute(jobs_sql.UNFINISHED_JOB_LIKE, like).one_or_none()


def _require_retried(connection: Connection, retry_of: str | None) -> None:
    if retry_of is not None and not connection.execute(jobs_sql.JOB, {"job_id": retry_of}).all():
        raise UsageError(f"no job {retry_of!r}", hint="`lexigram-ray jobs list` shows them")


def _close_attempt(
    connection: Connection, job_id: str, now: int, outcome: str, error: str | None
) -> None:
    ended = {"of_job": job_id, "now": now, "how": storable(outcome), "why": error}
    connection.execute(jobs_sql.CLOSE_ATTEMPT, ended)


def _to_json(value: dict[str, object]) -> str:
    # ASCII only: lone surrogates of file names become escapes, which every database takes.
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
