"""What happened to a job, event by event, each written in the transaction of what it tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs import fence, job_events_sql
from lexigram_ray.jobs.database import Database, from_micros, storable
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.redaction import bounded, redacted

SUBMITTED, CLAIMED, RELEASED, POSTPONED = "submitted", "claimed", "released", "postponed"
LOST, UNIT_CRASHED, QUARANTINED = "lost", "unit_crashed", "quarantined"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"

MOST_OF_A_TEXT = 500
"""Characters of an error that an event repeats; the attempt has all of it."""
MOST_UNITS = 20
"""Units that one event names; it has the count of all."""

_OF_THE_STORE = frozenset(
    {
        SUBMITTED,
        CLAIMED,
        RELEASED,
        POSTPONED,
        LOST,
        UNIT_CRASHED,
        QUARANTINED,
        COMPLETED,
        FAILED,
        CANCELLED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One thing that happened to a job.

    Attributes:
        seq: Position among the job's events, from 0, without gaps.
        type: Such as `claimed` or `failed`; a worker may note types of its own.
        data: JSON; what belongs to the type.
    """

    job_id: str
    seq: int
    at: datetime
    type: str
    data: Mapping[str, object] = field(default_factory=dict[str, object])

    def to_dict(self) -> dict[str, object]:
        """Return what `jobs events --json` and HTTP answer."""
        return {
            "job_id": self.job_id,
            "seq": self.seq,
            "at": self.at.isoformat(),
            "type": self.type,
            "data": dict(self.data),
        }


class JobEvents:
    """Reads the events of jobs, and writes those that workers tell.

    A job that an older version has worked on has no events of that time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_job(self, job_id: str, after: int = -1, limit: int = 1000) -> list[JobEvent]:
        """Return events of a job in their order; none where there is no such job.

        Args:
            job_id: Of the job.
            after: The last `seq` that is known already; -1 begins with the submission.
            limit: The most events that are returned.

        Raises:
            UsageError: The limit is below 1.
        """
        if limit < 1:
            raise UsageError(f"{limit} events cannot be shown", hint="ask for 1 or more")
        asked = {"of_job": storable(job_id), "after": after, "at_most": limit}
        with self._database.read() as connection:
            job = connection.execute(job_events_sql.SUBMITTED, asked).one_or_none()
            rows = connection.execute(job_events_sql.OF_JOB, asked).all()
        if job is None:
            return []
        first = [_submitted(job_id, job)] if after < 0 else []
        return [*first, *map(_event, rows)][:limit]

    def note(self, claim: Claim, event_type: str, data: Mapping[str, object] | None = None) -> None:
        """Write what the owner of a claim wants to tell: a new stage of its work, say.

        Args:
            claim: Holds, or nothing is written.
            event_type: In the worker's words; those of the store itself are taken.
            data: JSON values only; texts without secrets.

        Raises:
            LeaseLostError: The claim is lost.
            ValueError: The type is one of the store's own, or empty.
        """
        if not event_type or event_type in _OF_THE_STORE:
            raise ValueError(f"{event_type!r} is no type that a worker may note")
        with self._database.write() as connection:
            fence.hold(connection, claim)
            add(connection, claim.job_id, self._database.now(), event_type, data)


def add(
    connection: Connection,
    job_id: str,
    now: int,
    event_type: str,
    data: Mapping[str, object] | None = None,
) -> None:
    """Write an event, in a transaction that has changed or locked the job's row.

    Args:
        now: In microseconds since the epoch.
        data: What is None is left out.
    """
    given = {name: value for name, value in (data or {}).items() if value is not None}
    event = {
        "of_job": job_id,
        "now": now,
        "what": storable(event_type),
        # ASCII only: lone surrogates become escapes, which every database takes.
        "given": json.dumps(given, sort_keys=True, separators=(",", ":")),
    }
    connection.execute(job_events_sql.ADD, event)


def shortened(text: str | None) -> str | None:
    """Return what an event repeats of an error's words: without secrets, and not too long."""
    return None if text is None else bounded(redacted(text), MOST_OF_A_TEXT)


def _submitted(job_id: str, row: Row[Any]) -> JobEvent:
    data = {"kind": row.kind, "collection": row.collection, "priority": row.priority}
    if row.retry_of is not None:
        data["retry_of"] = row.retry_of
    at = from_micros(row.created_at)
    return JobEvent(job_id=job_id, seq=0, at=at, type=SUBMITTED, data=data)


def _event(row: Row[Any]) -> JobEvent:
    return JobEvent(
        job_id=row.job_id,
        seq=row.seq,
        at=from_micros(row.at),
        type=row.type,
        data=json.loads(row.data),
    )
