"""Dead letters are written with the failure and closed with the success, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs import ledger_sql
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.letter_records import (
    MOST_ATTEMPTS,
    DeadLetter,
    LetterFilter,
    LetterRetry,
    LetterStatus,
    NewFailure,
    Subject,
)
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import (
    Claim,
    Job,
    LedgerEntry,
    LedgerState,
    Submission,
    UnitResult,
    UnitState,
)
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import NOW, Clock, claimed, elsewhere, entry, result, submit, written

BAD = {
    "state": LedgerState.FAILED,
    "category": FailureCategory.TRANSIENT,
    "code": "busy",
    "reason": "the server 10.0.0.1 is busy, token=abcdefgh",
}


def bad(number: int = 1, **changes: object) -> LedgerEntry:
    return entry(number, **(BAD | changes))


def of_document(number: int = 1, **changes: object) -> UnitResult:
    failure = NewFailure(
        subject=Subject.DOCUMENT,
        subject_id=entry(number).document_id,
        source=entry(number).source,
        origin=entry(number).source,
        category=FailureCategory.TRANSIENT,
        code="busy",
        error=f"cannot read /folder/{number}.txt: password=hunter2",
        error_type="TimeoutError",
        traceback="Traceback: api_key=hunter2",
    )
    return result(number, state=UnitState.FAILED, letter=replace(failure, **changes))


def of_row(row_id: str, table: str = "/t.csv", code: str = "no_text") -> UnitResult:
    return UnitResult(
        unit_id=f"row:{row_id}",
        source=table,
        state=UnitState.FAILED,
        letter=NewFailure(
            subject=Subject.ROW,
            subject_id=row_id,
            source=f"{table}, row {row_id}",
            origin=table,
            category=FailureCategory.INVALID_INPUT,
            code=code,
            error="it has no text",
        ),
    )


def letters(store: Store, *statuses: LetterStatus) -> list[DeadLetter]:
    return list(store.dead_letters.each(LetterFilter(statuses=statuses or tuple(LetterStatus))))


def the_letter(store: Store) -> DeadLetter:
    (letter,) = letters(store)
    return letter


def again(
    store: Store, job_id: str, *found: DeadLetter, key: str = "again"
) -> list[tuple[Job, bool]]:
    asked = Submission(kind="ingest", collection="docs", spec={}, spec_key=key, retry_of=job_id)
    ids = tuple(letter.id for letter in found)
    return store.dead_letters.retry([LetterRetry(submission=asked, letter_ids=ids)])


def work_on(store: Store, job: Job) -> Claim:
    claim = store.claim(job.id, elsewhere(), 60)
    assert isinstance(claim, Claim)
    return claim


def failed_once(store: Store, *numbers: int) -> Claim:
    """A job that has ended, with some documents that failed in it."""
    claim = claimed(store)
    store.mark_outcome(
        claim, [bad(each) for each in numbers], [of_document(each) for each in numbers]
    )
    store.finish(claim, JobStatus.COMPLETED, summary={})
    return claim


# -- Failures --------------------------------------------------------------------------------------


def test_a_failed_document_is_one_open_letter_with_all_that_is_known_and_no_secret(
    store: Store,
) -> None:
    claim = failed_once(store, 1)

    letter = the_letter(store)
    assert (letter.kind, letter.collection, letter.subject) == ("ingest", "docs", Subject.DOCUMENT)
    assert (letter.subject_id, letter.source, letter.origin) == (
        entry(1).document_id,
        "/folder/1.txt",
        "/folder/1.txt",
    )
    assert (letter.status, letter.retry_count, letter.next_retry_at) == (LetterStatus.OPEN, 0, None)
    assert (letter.category, letter.code) == (FailureCategory.TRANSIENT, "busy")
    assert letter.error == "cannot read /folder/1.txt: password=***"
    (attempt,) = letter.attempts
    assert (attempt.job_id, attempt.error_type) == (claim.job_id, "TimeoutError")
    assert attempt.traceback == "Traceback: api_key=***"
    assert store.dead_letters.get(letter.id) == letter


def test_a_failed_entry_is_a_letter_even_if_its_unit_says_nothing_of_it(store: Store) -> None:
    store.mark_outcome(claimed(store), [bad(1)], [])

    assert the_letter(store).error == "the server 10.0.0.1 is busy, token=***"


def test_the_same_document_failing_in_ten_jobs_is_one_letter_with_ten_attempts(
    store: Store, clock: Clock
) -> None:
    jobs: list[str] = []
    for _ in range(10):
        jobs.append(failed_once(store, 1).job_id)
        clock.advance(10)

    letter = the_letter(store)
    assert [attempt.job_id for attempt in letter.attempts] == jobs
    assert letter.job_id == jobs[-1]
    assert letter.retry_count == 0
    assert (letter.last_failed_at - letter.first_failed_at).total_seconds() == 90


def test_of_many_attempts_the_first_and_the_last_are_kept(store: Store) -> None:
    claim = claimed(store)
    for number in range(MOST_ATTEMPTS + 5):
        store.mark_outcome(claim, [bad(1)], [of_document(1, error=f"try {number}")])

    tries = [attempt.error for attempt in the_letter(store).attempts]
    assert tries == ["try 0", *(f"try {number}" for number in range(6, MOST_ATTEMPTS + 5))]


def test_a_refused_writer_leaves_no_letter(store: Store) -> None:
    claim = claimed(store)
    store.release(claim, "interrupted")

    with pytest.raises(LeaseLostError):
        store.mark_outcome(claim, [bad(1)], [of_document(1)])
    with pytest.raises(LeaseLostError):
        store.finish_units(claim, [of_row("1")])

    assert letters(store) == []


def test_documents_that_were_done_skipped_or_remembered_make_no_letter(store: Store) -> None:
    claim = claimed(store)
    written(store, claim, entry(1))
    store.mark_outcome(claim, [entry(2, state=LedgerState.SKIPPED)], [])
    store.finish_units(claim, [result(3, state=UnitState.FAILED, code="corrupt")])
    store.finish(claim, JobStatus.COMPLETED, summary={})

    assert letters(store) == []


# -- Successes -------------------------------------------------------------------------------------


def test_a_success_in_any_job_closes_the_letter_for_good(store: Store) -> None:
    failed_once(store, 1, 2)
    claim = claimed(store)
    written(store, claim, entry(1))

    assert [letter.source for letter in letters(store, LetterStatus.OPEN)] == ["/folder/2.txt"]
    (closed,) = letters(store, LetterStatus.ADDRESSED)
    assert (closed.resolution, closed.closed_at) == ("succeeded", closed.last_failed_at)

    store.mark_outcome(claim, [bad(1)], [])

    assert store.dead_letters.get(closed.id) == closed
    assert len(letters(store, LetterStatus.OPEN)) == 2


def test_what_is_skipped_removed_or_dropped_is_closed_and_says_so(store: Store) -> None:
    failed_once(store, 1, 2, 3)
    claim = claimed(store)

    store.mark_outcome(claim, [entry(1, state=LedgerState.SKIPPED)], [])
    store.record_intent(claim, [entry(2)])
    store.mark_removed(claim, "docs", [entry(2).document_id])
    store.forget_collection("docs")

    assert {letter.source: letter.resolution for letter in letters(store)} == {
        "/folder/1.txt": "skipped",
        "/folder/2.txt": "removed",
        "/folder/3.txt": "dropped",
    }


def test_a_collection_that_is_made_anew_keeps_its_letters_and_another_one_its_own(
    store: Store,
) -> None:
    failed_once(store, 1)

    store.forget_collection("docs", keep_letters=True)
    store.forget_collection("other")

    assert the_letter(store).status is LetterStatus.OPEN


def test_a_document_that_another_job_has_yet_to_write_stays_open(store: Store) -> None:
    failed_once(store, 1)
    first, second = claimed(store, "first"), claimed(store, "second")
    store.record_intent(first, [entry(1)])
    store.record_intent(second, [entry(1)])

    assert store.mark_done(first, [entry(1)], []) == {entry(1).document_id}
    assert the_letter(store).status is LetterStatus.OPEN

    store.mark_done(second, [entry(1)], [])
    assert the_letter(store).status is LetterStatus.ADDRESSED


# -- Rows ------------------------------------------------------------------------------------------


def test_rows_that_a_resumed_job_records_again_have_failed_once(store: Store) -> None:
    claim = claimed(store)
    store.finish_units(claim, [of_row("a"), of_row("b")])
    store.finish_units(claim, [of_row("a"), of_row("b"), of_row("c")])

    assert sorted((letter.subject_id, len(letter.attempts)) for letter in letters(store)) == [
        ("a", 1),
        ("b", 1),
        ("c", 1),
    ]


def test_rows_of_a_table_are_closed_by_the_job_in_which_they_did_not_fail(store: Store) -> None:
    before = claimed(store, "before")
    store.finish_units(before, [of_row("a"), of_row("b"), of_row("x"), of_row("y", "/other.csv")])
    store.finish_units(before, [of_row("z", "/other.csv")])
    claim = claimed(store, "now")
    store.finish_units(claim, [of_row("b"), of_row("x", code="repeated_id")])

    # `x` is the id of a good row too, which another row repeats.
    store.dead_letters.address_rows(claim, "docs", origin="/t.csv", ids=iter(["a", "x", "y"]))

    assert {letter.subject_id: letter.status for letter in letters(store)} == {
        "a": LetterStatus.ADDRESSED,
        "b": LetterStatus.OPEN,
        "x": LetterStatus.OPEN,
        "y": LetterStatus.ADDRESSED,
        "z": LetterStatus.OPEN,
    }


def test_the_ids_of_good_rows_are_not_asked_where_no_row_has_failed(store: Store) -> None:
    failed_once(store, 1)
    asked: list[str] = []

    store.dead_letters.address_rows(
        claimed(store, "now"),
        "docs",
        origin="/t.csv",
        ids=map(asked.append, ["a"]),  # pyright: ignore[reportArgumentType]
    )

    assert asked == []


# -- Jobs ------------------------------------------------------------------------------------------


def test_a_job_that_fails_is_a_letter_that_the_same_job_closes_once_it_completes(
    store: Store,
) -> None:
    claim = claimed(store)
    store.finish(
        claim,
        JobStatus.FAILED,
        error="disk full, password=x1",
        error_code="disk_full",
        summary={},
        category=FailureCategory.TRANSIENT,
        traceback="Traceback",
    )

    letter = the_letter(store)
    assert (letter.subject, letter.subject_id, letter.origin) == (Subject.JOB, "key", "")
    assert (letter.source, letter.job_id) == ("/a", claim.job_id)
    assert (letter.category, letter.code) == (FailureCategory.TRANSIENT, "disk_full")
    assert (letter.error, letter.attempts[0].traceback) == ("disk full, password=***", "Traceback")

    store.finish(claimed(store, "another"), JobStatus.COMPLETED, summary={})
    assert the_letter(store).status is LetterStatus.OPEN
    store.finish(claimed(store), JobStatus.COMPLETED, summary={})
    assert the_letter(store).resolution == "succeeded"


def test_a_job_given_up_or_overdue_is_a_letter_with_the_category_of_its_last_error(
    store: Store, clock: Clock
) -> None:
    claim = claimed(store, "given up")
    store.release(claim, "error", error="429", category=FailureCategory.THROTTLED, traceback="T")
    assert store.give_up(claim.job_id, claim.fence, error="too often", error_code="server")
    overdue = [
        submit(store, key, deadline=datetime.fromtimestamp(clock() + 5, UTC))
        for key in ("looked at", "claimed")
    ]
    clock.advance(10)
    with pytest.raises(LeaseLostError):
        store.claim(overdue[1].id, elsewhere(), 60)
    assert store.fail_overdue(Owner.current(), turn_seconds=5) == [overdue[0].id]

    made = {letter.subject_id: letter for letter in letters(store)}
    assert set(made) == {"given up", "looked at", "claimed"}
    assert made["given up"].category is FailureCategory.THROTTLED
    assert made["given up"].attempts[0].traceback == "T"
    assert {made[key].code for key in ("looked at", "claimed")} == {"deadline"}
    assert {made[key].category for key in ("looked at", "claimed")} == {FailureCategory.PERMANENT}


def test_a_cancelled_job_is_no_letter_and_closes_none(store: Store) -> None:
    store.finish(claimed(store), JobStatus.FAILED, error="x", summary={})

    store.cancel(submit(store).id, elsewhere(), turn_seconds=5)

    assert the_letter(store).status is LetterStatus.OPEN


# -- The end of a retry ----------------------------------------------------------------------------


def test_a_retry_ends_with_each_of_its_letters_closed_failed_or_open_again(store: Store) -> None:
    first = failed_once(store, 1, 2, 3)
    ((job, is_new),) = again(store, first.job_id, *letters(store))
    assert (is_new, job.retry_of) == (True, first.job_id)
    assert {(each.status, each.retry_job_id) for each in letters(store)} == {
        (LetterStatus.RETRYING, job.id)
    }
    claim = work_on(store, job)

    written(store, claim, entry(1))
    store.mark_outcome(claim, [bad(2)], [of_document(2, error="still busy")])
    store.finish(claim, JobStatus.COMPLETED, summary={})

    one, two, three = sorted(letters(store), key=lambda letter: letter.source)
    assert (one.status, one.resolution) == (LetterStatus.ADDRESSED, "succeeded")
    assert (two.status, two.retry_count, len(two.attempts)) == (LetterStatus.OPEN, 1, 2)
    assert (three.status, three.retry_count, len(three.attempts)) == (LetterStatus.OPEN, 1, 1)
    assert {each.retry_job_id for each in (one, two, three)} == {None}


@pytest.mark.parametrize("end", ["cancelled", "given up", "failed"])
def test_a_retry_that_ended_early_leaves_its_letter_open_with_a_retry_that_failed_now(
    store: Store, clock: Clock, end: str
) -> None:
    first = failed_once(store, 1)
    ((job, _),) = again(store, first.job_id, the_letter(store))
    clock.advance(60)
    if end == "cancelled":
        store.cancel(job.id, elsewhere(), turn_seconds=5)
    elif end == "given up":
        store.give_up(job.id, 0, error="x", error_code="y")
    else:
        store.finish(work_on(store, job), JobStatus.FAILED, error="x", summary={})

    (letter,) = store.dead_letters.each(LetterFilter(ids=(letters(store)[0].id,)))
    assert (letter.status, letter.retry_job_id) == (LetterStatus.OPEN, None)
    assert (letter.retry_count, letter.last_failed_at) == (1, NOW + timedelta(seconds=60))


def test_a_server_that_asks_to_wait_costs_no_retry(store: Store) -> None:
    first = failed_once(store, 1)
    ((job, _),) = again(store, first.job_id, the_letter(store))

    store.mark_outcome(work_on(store, job), [bad(1)], [of_document(1, retry_after=120.0)])

    letter = the_letter(store)
    assert (letter.status, letter.retry_count, letter.retry_after) == (LetterStatus.OPEN, 0, 120.0)


def test_whoever_was_told_is_told_again_once_a_retry_has_failed(store: Store, clock: Clock) -> None:
    first = failed_once(store, 1)
    letter = the_letter(store)
    limits = {FailureCategory.TRANSIENT: 0}
    assert store.dead_letters.to_notify({FailureCategory.TRANSIENT: 1}, 10) == []

    store.dead_letters.notify_later(letter, 30)
    assert store.dead_letters.to_notify(limits, 10) == []
    clock.advance(31)
    assert [each.notify_tries for each in store.dead_letters.to_notify(limits, 10)] == [1]
    store.dead_letters.notified(letter)
    assert store.dead_letters.to_notify(limits, 10) == []
    failed_once(store, 1)
    assert store.dead_letters.to_notify(limits, 10) == []

    ((job, _),) = again(store, first.job_id, the_letter(store))
    store.mark_outcome(work_on(store, job), [bad(1)], [])

    (told,) = store.dead_letters.to_notify(limits, 10)
    assert (told.id, told.notify_tries) == (letter.id, 0)


def test_a_failure_that_comes_while_somebody_is_told_of_the_one_before_is_told_too(
    store: Store, clock: Clock
) -> None:
    failed_once(store, 1)
    before = the_letter(store)
    clock.advance(1)
    failed_once(store, 1)

    store.dead_letters.notified(before)
    store.dead_letters.notify_later(before, 30)

    (told,) = store.dead_letters.to_notify({FailureCategory.TRANSIENT: 0}, 10)
    assert (told, told.notify_tries) == (the_letter(store), 0)


def test_letters_of_which_nobody_could_be_told_come_behind_the_others(
    store: Store, clock: Clock
) -> None:
    failed_once(store, 1, 2, 3)
    limits = {FailureCategory.TRANSIENT: 0}
    one, two, three = store.dead_letters.to_notify(limits, 10)

    store.dead_letters.notify_later(one, 20)
    store.dead_letters.notify_later(two, 10)
    clock.advance(30)

    told = store.dead_letters.to_notify(limits, 10)
    assert [letter.id for letter in told] == [three.id, two.id, one.id]


def test_a_collection_is_dropped_while_rows_of_it_fail(
    store: Store, store_url: str, clock: Clock
) -> None:
    """Both want the ledger's lock and units: PostgreSQL would end one that waits in a circle."""
    claim = claimed(store)
    store.finish_units(claim, [of_row("1")])
    other = Database(store_url, clock)

    with closing(other), ThreadPoolExecutor(1) as pool:
        with other.write() as connection:
            LetterWriting(other).lock(connection, ["docs"])
            failing = pool.submit(store.finish_units, claim, [of_row("1"), of_row("2")])
            assert not wait([failing], timeout=0.5).done
            connection.execute(ledger_sql.FORGET_UNITS, {"in_collection": "docs"})
        failing.result(timeout=30)

    assert {unit.unit_id for unit in store.units(claim.job_id)} == {"row:1", "row:2"}
