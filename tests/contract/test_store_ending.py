"""What every store promises of a job that is ended from outside: nothing of it is written later."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import (
    NOW,
    Clock,
    claimed,
    elsewhere,
    entry,
    found,
    gone,
    result,
    submit,
)

SOON = NOW + timedelta(seconds=10)


def cancel(store: Store, job_id: str) -> Job:
    return store.cancel(job_id, Owner.current(), turn_seconds=30)


def fail_overdue(store: Store) -> list[str]:
    return store.fail_overdue(Owner.current(), turn_seconds=30)


def state(store: Store, job_id: str) -> tuple[JobStatus, str | None]:
    job = found(store, job_id)
    return job.status, job.error_code


def test_a_pending_job_is_cancelled(store: Store, clock: Clock) -> None:
    job = submit(store, run_after=SOON, unique_key="k")
    clock.advance(1)

    cancelled = cancel(store, job.id)

    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.finished_at == NOW + timedelta(seconds=1)
    assert cancelled.run_after is None
    assert store.get(job.id) == cancelled
    clock.advance(60)
    assert store.ready(["ingest"], limit=1) == []
    assert store.claim_next("ingest", elsewhere(), 60) is None
    with pytest.raises(LeaseLostError, match="cancelled"):
        store.claim(job.id, elsewhere(), 60)


def test_a_never_claimed_job_is_cancelled_while_another_one_has_the_turn(store: Store) -> None:
    with store.turn("docs", elsewhere(), 3600):
        assert cancel(store, submit(store).id).status is JobStatus.CANCELLED


def test_a_running_job_is_cancelled_and_its_attempt_ends(store: Store) -> None:
    claim = claimed(store)
    store.save_progress(claim, {"total": 4, "done": 2})

    cancelled = cancel(store, claim.job_id)

    assert (cancelled.status, cancelled.progress["done"]) == (JobStatus.CANCELLED, 2)
    assert [attempt.outcome for attempt in store.attempts_of(claim.job_id)] == ["cancelled"]
    with pytest.raises(LeaseLostError, match="it is cancelled"):
        store.beat(claim, 60)
    with pytest.raises(LeaseLostError, match="it is cancelled"):
        store.finish(claim, JobStatus.COMPLETED, summary={})


def test_a_job_is_cancelled_between_two_turns_of_its_writer(store: Store) -> None:
    claim = claimed(store)
    answers: list[Job] = []
    canceller = threading.Thread(target=lambda: answers.append(cancel(store, claim.job_id)))

    with store.turn("docs", claim.owner, 30):
        canceller.start()
        canceller.join(0.3)
        # Within its turn the writer ends what it began.
        assert answers == []
        store.record_intent(claim, [entry()])
        store.mark_done(claim, [entry()], [result()])
    canceller.join(20)

    assert [job.status for job in answers] == [JobStatus.CANCELLED]
    with store.turn("docs", claim.owner, 30), pytest.raises(LeaseLostError, match="cancelled"):
        store.record_intent(claim, [entry(2)])
    assert set(store.ledger("docs")) == {entry().document_id}


def test_a_job_that_ends_while_its_cancellation_waits_stays_as_it_ended(store: Store) -> None:
    claim = claimed(store)
    errors: list[UsageError] = []

    def cancel_late() -> None:
        with pytest.raises(UsageError) as caught:
            cancel(store, claim.job_id)
        errors.append(caught.value)

    canceller = threading.Thread(target=cancel_late)
    with store.turn("docs", claim.owner, 30):
        canceller.start()
        canceller.join(0.2)
        store.finish(claim, JobStatus.COMPLETED, summary={})
    canceller.join(20)

    assert ["it is completed" in error.message for error in errors] == [True]
    assert state(store, claim.job_id) == (JobStatus.COMPLETED, None)


def test_cancelling_again_changes_nothing(store: Store, clock: Clock) -> None:
    claim = claimed(store)
    first = cancel(store, claim.job_id)
    clock.advance(5)

    assert cancel(store, claim.job_id) == first


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
def test_a_job_that_has_ended_cannot_be_cancelled(store: Store, status: JobStatus) -> None:
    claim = claimed(store)
    store.finish(claim, status, summary={})

    with pytest.raises(UsageError, match=f"cannot be cancelled: it is {status.value}") as caught:
        cancel(store, claim.job_id)

    assert caught.value.hint is not None
    with pytest.raises(UsageError, match="no job 'nowhere'"):
        cancel(store, "nowhere")


def test_a_cancelled_job_makes_room_for_the_same_request(store: Store) -> None:
    job = submit(store)
    cancel(store, job.id)

    assert submit(store).id != job.id


def test_jobs_past_their_deadline_fail(store: Store, clock: Clock) -> None:
    pending = submit(store, "pending", deadline=SOON).id
    released = submit(store, "released", deadline=SOON, collection="other").id
    running = submit(store, "running", deadline=SOON).id
    ended = submit(store, "ended", deadline=SOON).id
    claims = {each: store.claim(each, elsewhere(), 600) for each in (released, running, ended)}
    store.release(claims[released], "error", wait_seconds=3600)  # pyright: ignore[reportArgumentType]
    store.finish(claims[ended], JobStatus.COMPLETED, summary={})  # pyright: ignore[reportArgumentType]
    submit(store, "later", deadline=SOON + timedelta(seconds=1))
    submit(store, "without")
    assert fail_overdue(store) == []
    clock.advance(10)

    assert sorted(fail_overdue(store)) == sorted([pending, released, running])

    assert fail_overdue(store) == []
    failed = store.list_jobs(status=JobStatus.FAILED)[0]
    assert {(job.id, job.error_code) for job in failed} == {
        (each, "deadline") for each in (pending, released, running)
    }
    assert all(job.error and "deadline" in job.error for job in failed)
    assert state(store, ended) == (JobStatus.COMPLETED, None)
    assert [attempt.outcome for attempt in store.attempts_of(running)] == ["failed"]
    with pytest.raises(LeaseLostError, match="failed"):
        store.beat(claims[running], 60)  # pyright: ignore[reportArgumentType]


def test_an_overdue_running_job_fails_between_two_turns_of_its_writer(
    store: Store, clock: Clock
) -> None:
    job_id = submit(store, deadline=SOON).id
    claim = store.claim(job_id, elsewhere(), 600)
    clock.advance(10)
    failed: list[str] = []
    thread = threading.Thread(target=lambda: failed.extend(fail_overdue(store)))

    with store.turn("docs", elsewhere(), 30):
        thread.start()
        thread.join(0.3)
        assert failed == []
        store.record_intent(claim, [entry()])  # pyright: ignore[reportArgumentType]
    thread.join(20)

    assert failed == [job_id]


@pytest.mark.parametrize("was_lost", [False, True])
def test_an_overdue_job_is_not_started_and_fails_when_claimed(
    store: Store, clock: Clock, was_lost: bool
) -> None:
    job_id = submit(store, deadline=SOON).id
    if was_lost:
        store.claim(job_id, gone(), 600)
    clock.advance(10)

    assert store.ready(["ingest"], limit=9) == []
    assert store.claim_next("ingest", elsewhere(), 60) is None
    with pytest.raises(LeaseLostError, match="it is failed, which is final"):
        store.claim(job_id, elsewhere(), 60)

    assert state(store, job_id) == (JobStatus.FAILED, "deadline")
    assert submit(store).id != job_id


def test_a_job_is_given_up_only_as_it_was_seen(store: Store) -> None:
    claim = claimed(store)
    job_id, fence = claim.job_id, claim.fence
    tried = {"error": "5 errors in a row: http://me:pw@host", "error_code": "embedding_failed"}
    assert not store.give_up(job_id, fence, **tried)
    store.release(claim, "error", wait_seconds=60)
    assert not store.give_up(job_id, fence - 1, **tried)
    assert not store.give_up("nowhere", 0, **tried)
    assert state(store, job_id) == (JobStatus.PENDING, None)

    assert store.give_up(job_id, fence, **tried)

    job = found(store, job_id)
    assert (job.status, job.error_code, job.run_after) == (
        JobStatus.FAILED,
        "embedding_failed",
        None,
    )
    assert job.error == "5 errors in a row: http://***@host"
    assert not store.give_up(job_id, fence, **tried)
