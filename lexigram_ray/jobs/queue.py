"""Who works on which job next: the order of claiming, and the claim itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import attempts, ending, fence, job_events, jobs_sql
from lexigram_ray.jobs.database import Database, from_micros
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.listing import job_of, rows_of_ids
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import LOST, Busy, Claim, Job

_LOST_OWNER = "its owner died or let its lease expire"


class Queue:
    """Hands out jobs. `Store` documents the promises."""

    def __init__(self, database: Database, letters: LetterWriting) -> None:
        self._database = database
        self._letters = letters

    def claim(self, job_id: str, owner: Owner, lease_seconds: float, actor: str) -> Claim | Busy:
        """Take one job, or say who has it."""
        with self._database.write() as connection:
            row = connection.execute(jobs_sql.LOCK_JOB, {"job_id": job_id}).one_or_none()
            if row is None:
                raise fence.no_such_job(job_id)
            status = JobStatus(row.status)
            if not status.is_final:
                if self.held([row]):
                    return Busy(
                        job=job_of(row),
                        owner=Owner.from_json(row.owner),
                        lease_until=from_micros(row.lease_until),
                    )
                if not self._is_overdue(row):
                    return self._take(connection, row, owner, lease_seconds, actor)
                if ending.fail_overdue_job(connection, job_id, self._database.now()):
                    self._letters.jobs_ended(connection, [job_id])
                status = JobStatus.FAILED
        # Only now: what failed because of its deadline stays so.
        raise LeaseLostError(
            f"job {job_id} cannot be claimed: it is {status.value}, which is final",
            hint="run the same command again: it makes a new job",
        )

    def claim_next(self, kind: str, owner: Owner, lease_seconds: float, actor: str) -> Claim | None:
        """Take the first of the jobs that wait or have lost their owner."""
        with self._database.write() as connection:
            connection.execute(jobs_sql.WAKE, {"now": self._database.now()})
            asked = {"kind": kind, "now": self._database.now(), "at_most": 1}
            pending = connection.execute(jobs_sql.LOCK_NEXT_PENDING, asked).all()
            running = connection.execute(jobs_sql.LOCK_RUNNING_OF_KIND, {"kind": kind}).all()
            first = _in_order((*pending, *self._lost(running)))[:1]
            if not first:
                return None
            return self._take(connection, first[0], owner, lease_seconds, actor)

    def ready(self, kinds: Sequence[str], limit: int) -> list[Job]:
        """Return what `claim_next` would hand out, over several kinds."""
        self.wake_due()
        now = {"now": self._database.now()}
        rows: list[Row[Any]] = []
        lost: list[str] = []
        with self._database.read() as connection:
            for kind in dict.fromkeys(kinds):
                asked = {"kind": kind, "at_most": limit, **now}
                rows.extend(connection.execute(jobs_sql.NEXT_PENDING, asked))
                running = connection.execute(jobs_sql.RUNNING_OF_KIND, {"kind": kind}).all()
                lost.extend(row.id for row in self._lost(running)[:limit])
            rows.extend(rows_of_ids(connection, lost).values())
        return [job_of(row) for row in _in_order(rows)[:limit]]

    def wake_due(self) -> None:
        """Put the jobs whose time has come into the queue."""
        now = {"now": self._database.now()}
        with self._database.read() as connection:
            is_any_due = connection.execute(jobs_sql.ANY_DUE, now).first() is not None
        if is_any_due:
            with self._database.write() as connection:
                connection.execute(jobs_sql.WAKE, now)

    def running(self, kind: str) -> int:
        """Count the jobs of a kind that somebody works on."""
        with self._database.read() as connection:
            rows = connection.execute(jobs_sql.RUNNING_OF_KIND, {"kind": kind}).all()
        return len(self.held(rows))

    def postpone(self, job_id: str, seen_fence: int, seconds: float) -> bool:
        """Let a pending job wait."""
        not_before = self._database.after(seconds) if seconds > 0 else None
        seen = {"job_id": job_id, "seen_fence": seen_fence, "not_before": not_before}
        with self._database.write() as connection:
            if connection.execute(jobs_sql.POSTPONE, seen).rowcount == 0:
                return False
            waits = {"wait_seconds": seconds}
            now = self._database.now()
            job_events.add(connection, job_id, now, job_events.POSTPONED, waits)
        return True

    def _lost(self, running: Sequence[Row[Any]]) -> list[Row[Any]]:
        held = self.held(running)
        return [row for row in running if row.id not in held and not self._is_overdue(row)]

    def held(self, rows: Iterable[Row[Any]]) -> set[str]:
        """Return the ids of those that a live owner holds within its lease."""
        now = self._database.now()
        leased = [row for row in rows if row.status == JobStatus.RUNNING and row.lease_until > now]
        # Many jobs may have one owner.
        alive = {
            owner for owner in {row.owner for row in leased} if not Owner.from_json(owner).is_gone()
        }
        return {row.id for row in leased if row.owner in alive}

    def _is_overdue(self, row: Row[Any]) -> bool:
        return row.deadline is not None and row.deadline <= self._database.now()

    def _take(
        self,
        connection: Connection,
        row: Row[Any],
        owner: Owner,
        lease_seconds: float,
        actor: str,
    ) -> Claim:
        now = self._database.now()
        claim = Claim(job_id=row.id, fence=row.fence + 1, owner=owner)
        taking = {
            "job_id": row.id,
            "seen_fence": row.fence,
            "new_fence": claim.fence,
            "attempt_number": row.attempt + 1,
            "new_owner": owner.to_json(),
            "new_actor": actor,
            "new_lease": self._database.after(lease_seconds),
            "now": now,
        }
        if connection.execute(jobs_sql.TAKE_JOB, taking).rowcount == 0:
            raise fence.lost(connection, claim)
        if row.status == JobStatus.RUNNING:
            attempts.close(connection, row.id, now, LOST, error=_LOST_OWNER)
            lost: dict[str, object] = {"attempt": row.attempt, "error": _LOST_OWNER}
            job_events.add(connection, row.id, now, job_events.LOST, lost)
        connection.execute(jobs_sql.OPEN_ATTEMPT, taking)
        job_events.add(connection, row.id, now, job_events.CLAIMED, _claimed(taking, owner))
        return claim


def _claimed(taking: dict[str, Any], owner: Owner) -> dict[str, object]:
    return {
        "attempt": taking["attempt_number"],
        "fence": taking["new_fence"],
        "node": owner.host,
        "pid": owner.pid,
        "actor": taking["new_actor"] or None,
    }


def _in_order(rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    return sorted(rows, key=lambda row: (-row.priority, row.created_at, row.id))
