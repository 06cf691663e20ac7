"""What every store promises of the events of a job: each change is told in its own transaction."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import ERROR, Claim, UnitState
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import NOW, Clock, claimed, elsewhere, gone, result, submit


def told(store: Store, job_id: str) -> list[str]:
    return [event.type for event in store.events.of_job(job_id)]


def taken(store: Store, job_id: str, owner: Owner | None = None) -> Claim:
    claim = store.claim(job_id, owner or elsewhere(), 60)
    assert isinstance(claim, Claim)
    return claim


def test_a_job_that_was_only_submitted_has_that_event(store: Store) -> None:
    job = submit(store, priority=3)

    (event,) = store.events.of_job(job.id)

    assert event.to_dict() == {
        "job_id": job.id,
        "seq": 0,
        "at": NOW.isoformat(),
        "type": "submitted",
        "data": {"kind": "ingest", "collection": "docs", "priority": 3},
    }


def test_the_way_of_a_job_is_told_in_order_without_gaps(store: Store, clock: Clock) -> None:
    job = submit(store)
    assert store.postpone(job.id, 0, 5)
    assert not store.postpone(job.id, 7, 5)
    taken(store, job.id, gone())
    second = taken(store, job.id)
    clock.advance(1)
    store.release(second, ERROR, error="no, token=secret", category=FailureCategory.TRANSIENT)
    third = taken(store, job.id)
    store.finish(third, JobStatus.COMPLETED, summary={})

    events = store.events.of_job(job.id)

    assert [event.seq for event in events] == list(range(8))
    assert [event.type for event in events] == [
        "submitted",
        "postponed",
        "claimed",
        "lost",
        "claimed",
        "released",
        "claimed",
        "completed",
    ]
    assert events[1].data == {"wait_seconds": 5}
    assert events[4].data == {"attempt": 2, "fence": 2, "node": "elsewhere", "pid": 1}
    assert events[5].data == {
        "outcome": "error",
        "error": "no, token=***",
        "category": "transient",
    }


def test_every_end_of_a_job_is_told_once(store: Store, clock: Clock) -> None:
    cancelled, given_up = submit(store, "1"), submit(store, "2")
    late = submit(store, "3", deadline=NOW + timedelta(seconds=5))
    failed = claimed(store, "4")
    for _ in range(2):
        store.cancel(cancelled.id, Owner.current(), turn_seconds=60)
        store.give_up(given_up.id, 0, error="so", error_code="tries")
    store.finish(failed, JobStatus.FAILED, error="so", error_code="disk", summary={})
    clock.advance(5)
    for _ in range(2):
        store.fail_overdue(Owner.current(), turn_seconds=60)

    ends = [
        [(event.type, event.data.get("code")) for event in store.events.of_job(job_id, after=0)]
        for job_id in (cancelled.id, given_up.id, late.id, failed.job_id)
    ]

    assert ends == [
        [("cancelled", None)],
        [("failed", "tries")],
        [("failed", "deadline")],
        [("claimed", None), ("failed", "disk")],
    ]


def test_deaths_and_what_they_led_to_are_told_with_the_units(store: Store) -> None:
    claim = claimed(store)
    ids = [f"{number:032x}" for number in range(30)]
    store.unit_crashed(claim, ids)
    store.unit_crashed(claim, [])
    failed = {"state": UnitState.FAILED, "reason": "its worker died"}
    store.finish_units(claim, [result(1, code="quarantined", **failed), result(2, code="late")])

    crashed, quarantined = store.events.of_job(claim.job_id, after=1)

    assert (crashed.type, crashed.data["count"], crashed.data["crashes"]) == ("unit_crashed", 30, 1)
    assert crashed.data["units"] == ids[:20]
    assert quarantined.type == "quarantined"
    assert quarantined.data == {"units": [ids[1]], "count": 1, "code": "quarantined"}


def test_a_worker_notes_what_it_wants_to_tell_as_long_as_its_claim_holds(store: Store) -> None:
    claim = claimed(store, owner=gone())
    store.events.note(claim, "stage", {"name": "indexing", "of": None})
    newer = taken(store, claim.job_id)

    with pytest.raises(LeaseLostError):
        store.events.note(claim, "stage", {"name": "late"})
    with pytest.raises(ValueError, match="claimed"):
        store.events.note(newer, "claimed")

    events = store.events.of_job(claim.job_id)
    assert [event.data for event in events if event.type == "stage"] == [{"name": "indexing"}]


def test_whoever_follows_asks_for_what_comes_after(store: Store) -> None:
    claim = claimed(store)
    for number in range(5):
        store.events.note(claim, "stage", {"number": number})

    first = store.events.of_job(claim.job_id, limit=3)
    rest = store.events.of_job(claim.job_id, after=first[-1].seq)

    assert [event.seq for event in (*first, *rest)] == list(range(7))
    assert store.events.of_job(claim.job_id, after=6) == []
    assert store.events.of_job("no such job") == []
    with pytest.raises(UsageError):
        store.events.of_job(claim.job_id, limit=0)


def test_what_a_lost_claim_tried_to_write_is_not_told(store: Store) -> None:
    old = claimed(store, owner=gone())
    taken(store, old.job_id)
    before = told(store, old.job_id)

    with pytest.raises(LeaseLostError):
        store.finish(old, JobStatus.COMPLETED, summary={})
    with pytest.raises(LeaseLostError):
        store.release(old, ERROR)
    with pytest.raises(LeaseLostError):
        store.unit_crashed(old, ["a"])

    assert told(store, old.job_id) == before
