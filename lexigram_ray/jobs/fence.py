"""The fence: nobody writes for a job but its present owner."""

from __future__ import annotations

from sqlalchemy import Connection

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import jobs_sql
from lexigram_ray.jobs.records import Claim


def hold(connection: Connection, claim: Claim) -> None:
    """Make sure that a claim holds, and keep it so until the transaction ends.

    Raises:
        LeaseLostError: It does not.
    """
    if connection.execute(jobs_sql.HOLD_CLAIM, names(claim)).first() is None:
        raise lost(connection, claim)


def names(claim: Claim) -> dict[str, object]:
    """Return the parameters by which queries name a claim."""
    return {"job_id": claim.job_id, "held_fence": claim.fence}


def lost(connection: Connection, claim: Claim) -> LeaseLostError:
    """Return the error that says why a claim does not hold."""
    row = connection.execute(jobs_sql.STATE_OF_JOB, {"job_id": claim.job_id}).first()
    hint = "run the same command again: it goes on from there, or waits for the other one"
    if row is None:
        reason = "it is no longer in the store"
    elif row.fence != claim.fence:
        reason = f"another process claimed it (fence {row.fence}, ours was {claim.fence})"
    else:
        reason = f"it is {row.status}"
    if row is None or JobStatus(row.status).is_final:
        hint = "run the same command again: it makes a new job"
    return LeaseLostError(f"job {claim.job_id} is not this process's any more: {reason}", hint=hint)


def no_such_job(job_id: str) -> UsageError:
    """Return the error for an id that no job has."""
    return UsageError(f"no job {job_id!r}", hint="`lexigram-ray jobs list` shows them")
