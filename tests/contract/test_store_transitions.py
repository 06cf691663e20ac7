"""Every change of state in the table is made by its method, and no final job is changed by any."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.transitions import TRANSITIONS, Transition
from tests.contract.store_data import Clock, elsewhere, found, submit

DEADLINE_SECONDS = 600
LEASE_SECONDS = 60

Method = Callable[[Store, Job, JobStatus], object]


def claim_of(job: Job) -> Claim:
    return Claim(job_id=job.id, fence=job.fence, owner=elsewhere())


METHODS: dict[str, Method] = {
    "claim": lambda store, job, _: store.claim(job.id, elsewhere(2), LEASE_SECONDS),
    "claim_next": lambda store, job, _: store.claim_next(job.kind, elsewhere(2), LEASE_SECONDS),
    "release": lambda store, job, _: store.release(claim_of(job), "interrupted"),
    "snooze": lambda store, job, _: store.snooze(claim_of(job), 5, "wait"),
    "finish": lambda store, job, after: store.finish(claim_of(job), after, summary={"x": 1}),
    "postpone": lambda store, job, _: store.postpone(job.id, job.fence, 5),
    "give_up": lambda store, job, _: store.give_up(
        job.id, job.fence, error="tried too often", error_code="x"
    ),
    "cancel": lambda store, job, _: store.cancel(job.id, elsewhere(), turn_seconds=30),
    "fail_overdue": lambda store, _, __: store.fail_overdue(elsewhere(), turn_seconds=30),
}
CHANGES = sorted(each for each in TRANSITIONS if each.before is not None)


def job_in(store: Store, clock: Clock, status: JobStatus) -> Job:
    deadline = datetime.fromtimestamp(clock() + DEADLINE_SECONDS, UTC)
    job = submit(store, deadline=deadline)
    if status is not JobStatus.PENDING:
        claim = store.claim(job.id, elsewhere(), LEASE_SECONDS)
        assert isinstance(claim, Claim)
        if status.is_final:
            store.finish(claim, status, summary={})
    return found(store, job.id)


def passed(transition: Transition) -> timedelta:
    """Return how much time must pass until the method makes this change."""
    is_late = transition.after is JobStatus.FAILED and transition.by in {"claim", "fail_overdue"}
    is_expired = (transition.before, transition.after) == (JobStatus.RUNNING, JobStatus.RUNNING)
    return timedelta(seconds=DEADLINE_SECONDS * is_late + LEASE_SECONDS * is_expired)


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: f"{each.before}-{each.by}")
def test_each_change_is_made_by_its_method(store: Store, clock: Clock, change: Transition) -> None:
    assert change.before is not None
    job = job_in(store, clock, change.before)
    clock.advance(passed(change).total_seconds())

    # A claim that finds the job failed says so.
    with suppress(LeaseLostError):
        METHODS[change.by](store, job, change.after)

    after = found(store, job.id)
    assert after != job
    assert after.status is change.after
    assert after.fence == job.fence + (change.after is JobStatus.RUNNING)


@pytest.mark.parametrize("status", [each for each in JobStatus if each.is_final])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_method_changes_a_final_job(
    store: Store, clock: Clock, method: str, status: JobStatus
) -> None:
    job = job_in(store, clock, status)
    clock.advance(DEADLINE_SECONDS + 1)

    with suppress(LeaseLostError, UsageError):
        METHODS[method](store, job, JobStatus.COMPLETED)

    assert found(store, job.id) == job


def test_every_method_of_the_table_is_tried() -> None:
    assert {by for _, _, by in TRANSITIONS} == {*METHODS, "submit", "submit_many"}
