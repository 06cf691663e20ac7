"""What every store promises of submissions: one job for one request, all of a batch or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lexigram_ray.core.errors import ConflictError, UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Claim, Submission
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import NOW, Clock, claimed, elsewhere, submit


def asked(key: str, **changes: object) -> Submission:
    plain = Submission(kind="ingest", collection="docs", spec={"key": key}, spec_key=key)
    return replace(plain, **changes)


def test_a_batch_is_submitted_in_its_order(store: Store) -> None:
    answers = store.submit_many([asked(str(number)) for number in range(1200)])

    assert [is_new for _, is_new in answers] == [True] * 1200
    assert [job.spec["key"] for job, _ in answers] == [str(number) for number in range(1200)]
    ready = store.ready(["ingest"], limit=2000)
    assert [job.id for job in ready] == [job.id for job, _ in answers]
    assert store.get(answers[7][0].id) == answers[7][0]


def test_a_batch_finds_what_is_there_and_what_it_repeats_itself(store: Store) -> None:
    old = submit(store, "old")
    keyed = store.submit_many([asked("keyed", unique_key="once")])[0][0]
    claim = store.claim(keyed.id, elsewhere(), 60)
    store.finish(claim, JobStatus.COMPLETED, summary={})  # pyright: ignore[reportArgumentType]

    answers = store.submit_many(
        [asked("old"), asked("new"), asked("keyed", unique_key="once"), asked("new")]
    )

    new = answers[1][0].id
    assert [(job.id, is_new) for job, is_new in answers] == [
        (old.id, False),
        (new, True),
        (keyed.id, False),
        (new, False),
    ]
    assert store.submit_many([]) == []


def test_a_key_that_comes_later_is_bound_to_the_job_that_waits_already(store: Store) -> None:
    waiting = submit(store, "same")

    keyed, is_new = store.submit_many([asked("same", unique_key="later")])[0]
    claim = store.claim(waiting.id, elsewhere(), 60)
    assert isinstance(claim, Claim)
    store.finish(claim, JobStatus.COMPLETED, summary={})

    assert (keyed.id, is_new) == (waiting.id, False)
    assert submit(store, "same", unique_key="later").id == waiting.id


def test_an_unfinished_job_has_one_key_and_no_second(store: Store) -> None:
    waiting = submit(store, "same", unique_key="first")

    with pytest.raises(ConflictError, match=waiting.id):
        submit(store, "same", unique_key="second")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (asked("b", unique_key="once"), "'once' belongs to job"),
        (asked("b", retry_of="nowhere"), "no job 'nowhere'"),
        (asked("b", priority=2**31), "priority of 2147483648 is out of range"),
        (asked("b", unique_key=""), "cannot be empty"),
        (asked("b", deadline=NOW), "not after now"),
    ],
)
def test_one_bad_submission_keeps_the_whole_batch_out(
    store: Store, bad: Submission, message: str
) -> None:
    submit(store, "another", unique_key="once")

    with pytest.raises(UsageError, match=message):
        store.submit_many([asked("a"), bad, asked("c")])

    assert [job.spec_key for job in store.list_jobs()[0]] == ["another"]


def test_a_batch_that_gives_two_requests_one_key_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="'k' belongs to job"):
        store.submit_many([asked("a", unique_key="k"), asked("b", unique_key="k")])

    assert store.list_jobs()[0] == []


def test_a_job_tells_its_start_and_its_deadline(store: Store) -> None:
    berlin = datetime.fromisoformat("2027-01-15T10:00:00+01:00")

    job = submit(store, run_after=berlin, deadline=NOW + timedelta(days=1))

    assert (job.run_after, job.deadline) == (berlin, NOW + timedelta(days=1))
    assert submit(store, "past", run_after=NOW - timedelta(seconds=1)).run_after is None


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"run_after": datetime(2027, 1, 16)}, "the start .* has no time zone"),  # noqa: DTZ001
        ({"deadline": datetime(2027, 1, 16)}, "the deadline .* has no time zone"),  # noqa: DTZ001
        ({"deadline": NOW}, "not after now"),
        (
            {"run_after": NOW + timedelta(hours=2), "deadline": NOW + timedelta(hours=1)},
            "not after the start",
        ),
    ],
)
def test_times_that_cannot_be_are_refused(
    store: Store, times: dict[str, datetime], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        submit(store, "key", **times)

    assert caught.value.hint


def test_a_repeated_request_leaves_the_first_one_as_it_is(store: Store, clock: Clock) -> None:
    first = submit(store, priority=1)
    clock.advance(1)

    assert submit(store, priority=9, deadline=NOW + timedelta(days=1)) == first


def test_a_retry_is_a_job_of_its_own(store: Store) -> None:
    claim = claimed(store)
    store.finish(claim, JobStatus.FAILED, error="no", error_code="integrity", summary={})

    [(retry, is_new)] = store.submit_many([asked("key", retry_of=claim.job_id)])

    assert is_new
    assert (retry.retry_of, retry.attempt, retry.error) == (claim.job_id, 0, None)
