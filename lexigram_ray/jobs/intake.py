"""How jobs come into the store: one or many at once, and never twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.core.errors import ConflictError, UsageError
from lexigram_ray.core.ids import new_job_id
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import fence, jobs_sql
from lexigram_ray.jobs.database import Database, storable
from lexigram_ray.jobs.listing import job_of, rows_of_ids
from lexigram_ray.jobs.records import Job, Submission
from lexigram_ray.jobs.times import start_and_deadline

# What PostgreSQL's INTEGER holds.
_PRIORITIES = range(-(2**31), 2**31)


class Intake:
    """Takes submissions. `Store` documents the promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, submission: Submission) -> tuple[Job, bool]:
        """Make a job, or find the one that it repeats."""
        with self._database.write() as connection:
            row, is_new = self.take(connection, submission)
        return job_of(row), is_new

    def take(self, connection: Connection, submission: Submission) -> tuple[Row[Any], bool]:
        """Make a job, or find the one that it repeats, within a transaction."""
        new = _new_row(submission, self._database.now())
        _require_retried(connection, [submission])
        row = self._found(connection, new)
        return row, row.id == new["id"]

    def submit_many(self, submissions: Sequence[Submission]) -> list[tuple[Job, bool]]:
        """Make jobs, or find those that they repeat, all or none."""
        if not submissions:
            return []
        with self._database.write() as connection:
            self.lock(connection)
            made = self.add(connection, submissions)
        return [(job_of(row), is_new) for row, is_new in made]

    def lock(self, connection: Connection) -> None:
        """Keep out other batches: two that name the same jobs crosswise wait for each other."""
        self._database.lock(connection, "submissions")

    def add(
        self, connection: Connection, submissions: Sequence[Submission]
    ) -> list[tuple[Row[Any], bool]]:
        """Make jobs, or find those that they repeat, in a transaction that holds the lock."""
        now = self._database.now()
        # A microsecond apart: the queue keeps the order of the batch.
        rows = [_new_row(each, now + place) for place, each in enumerate(submissions)]
        _require_retried(connection, submissions)
        connection.execute(jobs_sql.insert_job(self._database.insert_into), rows)
        made = rows_of_ids(connection, [row["id"] for row in rows])
        found = [made.get(row["id"]) or self._found(connection, row) for row in rows]
        return [(row, row.id == new["id"]) for row, new in zip(found, rows, strict=True)]

    def _found(self, connection: Connection, new: dict[str, Any]) -> Row[Any]:
        # Where two transactions may insert at once, an index lets one of them in. Should that job
        # end before the other one looks, it is tried once more.
        while (row := _existing(connection, new)) is None:
            connection.execute(jobs_sql.insert_job(self._database.insert_into), new)
        return row


def _new_row(submission: Submission, now: int) -> dict[str, Any]:
    if submission.priority not in _PRIORITIES:
        raise UsageError(
            f"a priority of {submission.priority} is out of range",
            hint=f"use {_PRIORITIES.start} to {_PRIORITIES.stop - 1}",
        )
    if submission.unique_key == "":
        raise UsageError("a unique key cannot be empty", hint="leave it out, or give it a name")
    run_after, deadline = start_and_deadline(submission.run_after, submission.deadline, now)
    key = submission.unique_key
    return {
        "id": new_job_id(),
        "kind": submission.kind,
        "status": JobStatus.PENDING.value,
        "priority": submission.priority,
        "collection": submission.collection,
        "spec": to_json(submission.spec),
        "spec_key": submission.spec_key,
        "unique_key": None if key is None else storable(key),
        "fence": 0,
        "attempt": 0,
        "retry_of": submission.retry_of,
        "created_at": now,
        "progress": "{}",
        "summary": "{}",
        "run_after": run_after,
        "deadline": deadline,
    }


def _existing(connection: Connection, new: dict[str, Any]) -> Row[Any] | None:
    if new["unique_key"] is not None:
        given = {"unique_key": new["unique_key"]}
        row = connection.execute(jobs_sql.JOB_OF_UNIQUE_KEY, given).one_or_none()
        if row is not None:
            _refuse_another_request(row, new)
            return row
    like = {"kind": new["kind"], "spec_key": new["spec_key"]}
    row = connection.execute(jobs_sql.UNFINISHED_JOB_LIKE, like).one_or_none()
    if row is None or new["unique_key"] is None:
        return row
    return row if _bind(connection, row, new["unique_key"]) else None


def _bind(connection: Connection, row: Row[Any], key: str) -> bool:
    """Give an unfinished job the key under which it was asked for once more.

    Returns:
        False where it has got another key or has ended since the look.

    Raises:
        ConflictError: It has another key.
    """
    if row.unique_key is not None:
        raise ConflictError(
            f"job {row.id} asks for the same, has not ended, and has the key {row.unique_key!r}",
            hint=f"use that key, or wait for the job: `lexigram-ray jobs watch {row.id}`",
            job_id=row.id,
        )
    given = {"of_job": row.id, "new_key": key}
    return connection.execute(jobs_sql.GIVE_UNIQUE_KEY, given).rowcount == 1


def _refuse_another_request(row: Row[Any], new: dict[str, Any]) -> None:
    if (row.kind, row.spec_key) != (new["kind"], new["spec_key"]):
        raise ConflictError(
            f"the unique key {new['unique_key']!r} belongs to job {row.id}, "
            "which asks for something else",
            hint="use another key for another request",
        )


def _require_retried(connection: Connection, submissions: Iterable[Submission]) -> None:
    ids = list(dict.fromkeys(each.retry_of for each in submissions if each.retry_of is not None))
    there = rows_of_ids(connection, ids)
    for job_id in ids:
        if job_id not in there:
            raise fence.no_such_job(job_id)


def to_json(value: dict[str, object]) -> str:
    """Return JSON as the store keeps it."""
    # ASCII only: lone surrogates of file names become escapes, which every database takes.
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
