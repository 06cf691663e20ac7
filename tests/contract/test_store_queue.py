"""What every store promises of the queue: what is ready, in what order, and what must wait."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import NOW, Clock, claimed, elsewhere, found, gone, submit


def names(jobs: list[Job]) -> list[str]:
    return [job.spec_key for job in jobs]


def test_a_job_with_a_later_start_is_not_ready_before_it(store: Store, clock: Clock) -> None:
    job = submit(store, run_after=NOW + timedelta(seconds=10))

    assert store.ready(["ingest"], limit=9) == []
    assert store.claim_next("ingest", elsewhere(), 60) is None
    clock.advance(10)
    assert [each.id for each in store.ready(["ingest"], limit=9)] == [job.id]
    claim = store.claim_next("ingest", elsewhere(), 60)

    assert claim is not None
    assert claim.job_id == job.id
    assert found(store, job.id).run_after is None


def test_the_next_job_is_found_without_a_look_at_what_is_ready(store: Store, clock: Clock) -> None:
    job = submit(store, run_after=NOW + timedelta(seconds=10))
    clock.advance(11)

    claim = store.claim_next("ingest", elsewhere(), 60)

    assert claim is not None
    assert claim.job_id == job.id


def test_a_command_claims_a_job_before_its_start(store: Store) -> None:
    job = submit(store, run_after=NOW + timedelta(days=1))

    claim = store.claim(job.id, elsewhere(), 60)
    assert isinstance(claim, Claim)
    store.release(claim, "interrupted")

    assert names(store.ready(["ingest"], limit=9)) == ["key"]


def test_what_is_ready_comes_in_the_order_of_claiming(store: Store, clock: Clock) -> None:
    lost = submit(store, "lost", priority=5)
    store.claim(lost.id, gone(), 600)
    expired = submit(store, "expired", priority=1)
    store.claim(expired.id, elsewhere(), 60)
    for name, kind, priority, wait in (
        ("low", "ingest", -1, 0),
        ("old", "embed", 0, 0),
        ("late start", "ingest", 0, 30),
        ("young", "ingest", 0, 0),
        ("high", "embed", 9, 0),
        ("tomorrow", "ingest", 9, 86_400),
        ("other kind", "optimize", 9, 0),
    ):
        clock.advance(1)
        start = NOW + timedelta(seconds=wait) if wait else None
        submit(store, name, kind=kind, priority=priority, run_after=start)
    clock.advance(60)
    held = submit(store, "held", priority=9)
    store.claim(held.id, elsewhere(), 60)

    order = ["high", "lost", "expired", "old", "late start", "young", "low"]
    assert names(store.ready(["ingest", "embed"], limit=20)) == order
    assert names(store.ready(["ingest", "embed", "ingest"], limit=3)) == order[:3]
    assert names(store.ready(["embed"], limit=20)) == ["high", "old"]
    assert store.ready([], limit=5) == []
    claims = [store.claim_next("ingest", elsewhere(), 600) for _ in range(6)]
    assert names([found(store, claim.job_id) for claim in claims if claim]) == [
        name for name in order if name not in {"high", "old"}
    ]


def test_looking_at_what_is_ready_claims_nothing(store: Store) -> None:
    job = submit(store)

    assert store.ready(["ingest"], limit=1) == [job]
    assert store.ready(["ingest"], limit=1) == [job]
    assert store.get(job.id) == job


def test_only_jobs_with_a_live_owner_are_running(store: Store, clock: Clock) -> None:
    claimed(store, "expired")
    clock.advance(60)
    claimed(store, "dead", gone())
    store.claim(submit(store, "embed", kind="embed").id, elsewhere(), 60)
    claimed(store, "alive")
    submit(store, "pending")

    assert (store.running("ingest"), store.running("embed"), store.running("other")) == (1, 1, 0)


def test_a_snoozed_job_waits_and_tells_why(store: Store, clock: Clock) -> None:
    claim = claimed(store)
    clock.advance(5)
    store.snooze(claim, 30, "the server asks to wait 30 s")

    job = found(store, claim.job_id)
    assert (job.status, job.run_after) == (JobStatus.PENDING, NOW + timedelta(seconds=35))
    [attempt] = store.attempts_of(job.id)
    assert (attempt.outcome, attempt.error) == ("snoozed", "the server asks to wait 30 s")
    assert store.errors_in_a_row(job.id) == 0
    clock.advance(29)
    assert store.claim_next("ingest", elsewhere(), 60) is None
    clock.advance(1)
    assert store.claim_next("ingest", elsewhere(), 60) is not None


def test_a_released_job_may_have_to_wait(store: Store, clock: Clock) -> None:
    claim = claimed(store)
    store.release(claim, "error", wait_seconds=2.5)

    assert store.ready(["ingest"], limit=1) == []
    clock.advance(2.5)
    assert len(store.ready(["ingest"], limit=1)) == 1


@pytest.mark.parametrize("seconds", [1e12, 1e300, float("inf")])
def test_a_wait_without_end_can_still_be_told(store: Store, seconds: float) -> None:
    claim = claimed(store)
    store.snooze(claim, seconds, "the server asks to wait")

    [job] = store.list_jobs()[0]
    assert job.run_after is not None
    assert job.run_after.year == 9999
    assert store.postpone(job.id, claim.fence, seconds)
    assert store.claim_next("ingest", elsewhere(), 60) is None


def test_only_a_pending_job_as_it_was_seen_is_postponed(store: Store) -> None:
    claim = claimed(store)
    assert not store.postpone(claim.job_id, claim.fence, 60)
    store.release(claim, "error")
    before = found(store, claim.job_id)
    assert not store.postpone(claim.job_id, claim.fence - 1, 60)
    assert not store.postpone("nowhere", 0, 60)
    assert store.get(claim.job_id) == before

    assert store.postpone(claim.job_id, claim.fence, 60)

    assert found(store, claim.job_id).run_after == NOW + timedelta(seconds=60)
    assert store.postpone(claim.job_id, claim.fence, 0)
    assert found(store, claim.job_id).run_after is None


def test_jobs_are_counted_in_every_state(store: Store) -> None:
    assert store.counts() == dict.fromkeys(JobStatus, 0)
    claimed(store, "a")
    submit(store, "b")
    submit(store, "c")
    store.finish(claimed(store, "d"), JobStatus.COMPLETED, summary={})

    assert store.counts() == {
        JobStatus.PENDING: 2,
        JobStatus.RUNNING: 1,
        JobStatus.COMPLETED: 1,
        JobStatus.FAILED: 0,
        JobStatus.CANCELLED: 0,
    }
