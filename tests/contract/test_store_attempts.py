"""What every store promises of attempts: who worked, for how long, and how that ended."""

from __future__ import annotations

import pytest

from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import Clock, claimed, elsewhere, submit


def test_an_attempt_tells_who_worked_for_how_long_and_why_it_ended(
    store: Store, clock: Clock
) -> None:
    claim = store.claim(submit(store).id, elsewhere(7), 60, actor="job:ingest:docs:1")
    assert isinstance(claim, Claim)
    clock.advance(2.5)
    store.release(
        claim,
        "error",
        error="postgresql://me:pw@db \udcff\x00",
        category=FailureCategory.TRANSIENT,
        traceback="Traceback: token=hunter22",
    )

    [attempt] = store.attempts_of(claim.job_id)
    assert attempt.to_dict() == {
        "number": 1,
        "node": "elsewhere",
        "pid": 7,
        "actor": "job:ingest:docs:1",
        "started_at": "2027-01-15T08:00:00+00:00",
        "ended_at": "2027-01-15T08:00:02.500000+00:00",
        "duration_seconds": 2.5,
        "outcome": "error",
        "category": "transient",
        "error": "postgresql://***@db \\udcff\\x00",
        "traceback": "Traceback: token=***",
    }


def test_the_attempt_that_ended_the_job_tells_its_category_too(store: Store) -> None:
    submit(store)
    claim = store.claim_next("ingest", elsewhere(), 60, actor="runner")
    assert claim is not None
    [running] = store.attempts_of(claim.job_id)
    assert (running.actor, running.duration_seconds, running.outcome) == ("runner", None, None)
    store.finish(
        claim,
        JobStatus.FAILED,
        error="bad",
        error_code="integrity",
        summary={},
        category=FailureCategory.PERMANENT,
        traceback="trace",
    )

    [attempt] = store.attempts_of(claim.job_id)
    assert (attempt.outcome, attempt.category, attempt.traceback) == (
        "failed",
        FailureCategory.PERMANENT,
        "trace",
    )


@pytest.mark.parametrize(
    ("endings", "errors"),
    [
        ("", 0),
        ("error error", 2),
        ("error snoozed error lost", 2),
        ("error throttled error", 2),
        ("error error interrupted", 0),
        ("error interrupted error", 1),
        ("snoozed lost interrupted throttled", 0),
    ],
)
def test_only_errors_since_the_last_interruption_count(
    store: Store, clock: Clock, endings: str, errors: int
) -> None:
    job_id = submit(store).id
    for ending in endings.split():
        claim = store.claim(job_id, elsewhere(), 60)
        assert isinstance(claim, Claim)
        match ending:
            case "snoozed":
                store.snooze(claim, 1, "wait")
            case "lost":
                clock.advance(61)
            case "throttled":
                store.release(claim, "error", error="429", category=FailureCategory.THROTTLED)
            case _:
                store.release(claim, ending)

    assert store.errors_in_a_row(job_id) == errors


def test_a_lost_attempt_ends_when_the_next_begins(store: Store, clock: Clock) -> None:
    first = claimed(store)
    clock.advance(61)
    store.claim(first.job_id, elsewhere(2), 60)

    lost, running = store.attempts_of(first.job_id)
    assert (lost.outcome, lost.duration_seconds) == ("lost", 61.0)
    assert running.started_at == lost.ended_at
