"""Looking at jobs from outside: their pace, and the end of a watch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.watching import Pace, Watched, pace_since_start, watch
from tests.job_data import claimed, ended, ingest_spec, ingest_summary, submitted

NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as opened:
        yield opened


@pytest.fixture
def claim(store: Store) -> Claim:
    """Of a job that runs, and has saved no progress yet."""
    return claimed(store, submitted(store))


def job_of(store: Store, claim: Claim) -> Job:
    job = store.get(claim.job_id)
    assert job is not None
    return job


def save(store: Store, claim: Claim, done: int, **more: object) -> None:
    store.save_progress(claim, {"total": 1000, "done": done, "failed": 0, **more})


def looked(store: Store, claim: Claim, *looks: tuple[float, int]) -> Watched:
    """Look at a job at these seconds, at which its owner has saved that so many are done."""
    save(store, claim, looks[0][1])
    watched = Watched.begin(job_of(store, claim), looks[0][0])
    for seconds, done in looks[1:]:
        save(store, claim, done)
        watched = watched.look(store, seconds)
    return watched


def test_the_pace_is_the_mean_since_the_first_change_that_was_seen(
    store: Store, claim: Claim
) -> None:
    # When 100 was saved is not known, so that it does not count.
    watched = looked(store, claim, (0.0, 100), (3.0, 200), (13.0, 400))

    assert watched.pace(NOW) == Pace(per_second=20.0, seconds_remaining=30.0)


def test_between_two_saves_the_time_left_runs_on(store: Store, claim: Claim) -> None:
    watched = looked(store, claim, (0.0, 100), (3.0, 200), (13.0, 400), (17.0, 400))

    assert watched.pace(NOW) == Pace(per_second=20.0, seconds_remaining=26.0)


def test_before_two_changes_the_pace_is_that_since_the_start(store: Store, claim: Claim) -> None:
    watched = looked(store, claim, (0.0, 100), (0.5, 100))
    started = watched.job.started_at
    assert started is not None

    pace = watched.pace(started + timedelta(seconds=50))

    assert pace == Pace(per_second=2.0, seconds_remaining=450.0)


def test_what_the_jobs_owner_foresees_counts_more_than_a_count_of_records(
    store: Store, claim: Claim
) -> None:
    watched = looked(store, claim, (0.0, 100), (3.0, 200))
    save(store, claim, 400, seconds_remaining=90.0)

    assert watched.look(store, 13.0).pace(NOW) == Pace(per_second=20.0, seconds_remaining=90.0)


def test_another_attempt_counts_anew(store: Store, claim: Claim) -> None:
    watched = looked(store, claim, (0.0, 400), (3.0, 500), (13.0, 600))
    store.release(claim, "interrupted")
    again = claimed(store, job_of(store, claim))
    save(store, again, 0)

    assert watched.look(store, 60.0).pace(NOW) == Pace()


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.COMPLETED, JobStatus.CANCELLED])
def test_a_job_that_does_not_run_has_no_pace(store: Store, claim: Claim, status: JobStatus) -> None:
    save(store, claim, 10)
    job = replace(job_of(store, claim), status=status)

    assert pace_since_start(job, NOW + timedelta(days=365)) == Pace()


def test_the_counts_of_a_job_that_has_ended_are_its_reports(store: Store) -> None:
    summary = ingest_summary(ingested=7, failed=(Path("/a"),), skipped=(Path("/b"),))
    job = ended(store, submitted(store), summary=summary)

    assert Counts.of(job) == Counts(total=9, done=9, failed=1)
    assert Counts.of(replace(job, summary={})) == Counts(total=0, done=0, failed=0)


def test_a_watch_ends_when_the_last_job_has_ended_and_touches_none(store: Store) -> None:
    first, second = submitted(store), submitted(store, ingest_spec(Path("/other")))
    claim = claimed(store, first)
    shown: list[list[str]] = []

    def show(watched: Sequence[Watched]) -> None:
        shown.append([each.job.status.value for each in watched])
        if len(shown) == 2:
            store.finish(claim, JobStatus.COMPLETED, summary={})
        if len(shown) == 3:
            ended(store, second, JobStatus.FAILED, error="no disk")

    jobs = [job for job in (store.get(first.id), store.get(second.id)) if job is not None]
    last = watch(store, jobs, show, threading.Event(), every_seconds=0.001)

    assert [job.status for job in last] == [JobStatus.COMPLETED, JobStatus.FAILED]
    assert shown == [
        ["running", "pending"],
        ["running", "pending"],
        ["completed", "pending"],
        ["completed", "failed"],
    ]
    assert [attempt.number for attempt in store.attempts_of(first.id)] == [1]


def test_a_watch_that_is_stopped_returns_what_it_saw_last(store: Store) -> None:
    job, stop = submitted(store), threading.Event()
    stop.set()

    assert watch(store, [job], lambda _: None, stop) == [job]
