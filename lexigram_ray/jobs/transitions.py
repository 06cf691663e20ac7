"""Every change of a job's state, in one table.

The statements of `jobs_sql` make these changes and no other: a contract test walks each of them on
every database, another one watches random lives, and the diagram in ARCHITECTURE.md is compared
with this table.
"""

from __future__ import annotations

from typing import NamedTuple

from lexigram_ray.core.types import JobStatus

_PENDING, _RUNNING = JobStatus.PENDING, JobStatus.RUNNING
_COMPLETED, _FAILED, _CANCELLED = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED


class Transition(NamedTuple):
    """One change of state.

    Attributes:
        before: None where there was no job.
        by: The method of `Store` that makes it.
    """

    before: JobStatus | None
    after: JobStatus
    by: str


TRANSITIONS: frozenset[Transition] = frozenset(
    Transition(before, after, by)
    for before, after, methods in (
        (None, _PENDING, ("submit", "submit_many")),
        (_PENDING, _PENDING, ("postpone",)),
        (_PENDING, _RUNNING, ("claim", "claim_next")),
        # The owner is gone, or its lease has expired.
        (_RUNNING, _RUNNING, ("claim", "claim_next")),
        (_RUNNING, _PENDING, ("release", "snooze")),
        (_RUNNING, _COMPLETED, ("finish",)),
        (_RUNNING, _FAILED, ("finish", "fail_overdue", "claim")),
        (_RUNNING, _CANCELLED, ("finish", "cancel")),
        # A claim that comes after the deadline finds the job failed.
        (_PENDING, _FAILED, ("give_up", "fail_overdue", "claim")),
        (_PENDING, _CANCELLED, ("cancel",)),
    )
    for by in methods
)
