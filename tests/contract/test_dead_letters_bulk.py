"""Many dead letters at once: found, counted, retried, scheduled and put away, on every database."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs import dead_letters, dead_letters_sql, letter_rows
from lexigram_ray.jobs.backup import back_up, restore
from lexigram_ray.jobs.letter_records import (
    DeadLetter,
    LetterFilter,
    LetterRetry,
    LetterStatus,
    NewFailure,
    Subject,
)
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.records import Claim, Submission
from lexigram_ray.jobs.store import Store
from tests.contract.conftest import STORES
from tests.contract.store_data import NOW, Clock, claimed, elsewhere, entry, found, submit, written

EVERY = LetterFilter(statuses=tuple(LetterStatus))
OPEN = LetterFilter(statuses=(LetterStatus.OPEN,))


def failure(number: int, **changes: object) -> NewFailure:
    given: dict[str, object] = {
        "subject": Subject.DOCUMENT,
        "subject_id": entry(number).document_id,
        "source": f"/folder/{number}.txt",
        "origin": f"/folder/{number}.txt",
        "category": FailureCategory.TRANSIENT,
        "code": "busy",
        "error": f"server {number} is busy",
    }
    return NewFailure(**(given | changes))  # pyright: ignore[reportArgumentType]


def added(
    store: Store, *numbers: int, collection: str = "docs", job_id: str = "j", **changes: object
) -> None:
    failures = [failure(number, **changes) for number in numbers]
    store.dead_letters.add("ingest", collection, job_id, failures)


def all_of(store: Store, which: LetterFilter = EVERY) -> list[DeadLetter]:
    return list(store.dead_letters.each(which))


def retry_of(*letters: DeadLetter, key: str = "again", anyway: bool = False) -> LetterRetry:
    submission = Submission(kind="ingest", collection="docs", spec={}, spec_key=key)
    return LetterRetry(
        submission=submission, letter_ids=tuple(each.id for each in letters), anyway=anyway
    )


# -- Looking ---------------------------------------------------------------------------------------


def test_pages_show_each_letter_once_newest_failure_first_over_all_states(
    store: Store, clock: Clock
) -> None:
    for number in range(7):
        added(store, number)
        clock.advance(1)
    store.dead_letters.archive(LetterFilter(ids=(all_of(store)[2].id,)))
    store.dead_letters.retry([retry_of(all_of(store)[4])])

    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = store.dead_letters.page(EVERY, limit=3, cursor=cursor)
        seen += [letter.source for letter in page]
        if cursor is None:
            break

    assert seen == [f"/folder/{number}.txt" for number in reversed(range(7))]
    open_ones, _ = store.dead_letters.page(LetterFilter(), limit=50, cursor=None)
    assert [letter.source for letter in open_ones] == [
        each for each in seen if each != "/folder/2.txt"
    ]
    with pytest.raises(UsageError, match="cursor"):
        store.dead_letters.page(EVERY, limit=3, cursor="later")
    with pytest.raises(UsageError, match="page of 0"):
        store.dead_letters.page(EVERY, limit=0, cursor=None)


def test_each_yields_over_its_own_pages_and_ignores_what_fails_meanwhile(
    store: Store, clock: Clock
) -> None:
    added(store, *range(1_201))
    seen: list[str] = []
    for letter in store.dead_letters.each(OPEN):
        seen.append(letter.subject_id)
        if len(seen) == 300:
            clock.advance(1)
            added(store, 0, 5_000)

    assert len(seen) == len(set(seen)) == 1_201


def test_filters_select_by_every_field(store: Store, clock: Clock) -> None:
    added(store, 1, job_id="one")
    clock.advance(60)
    added(store, 2, collection="other", category=FailureCategory.PERMANENT, code="gone")
    added(store, 3, error="something else")
    one, two, three = sorted(all_of(store), key=lambda letter: letter.source)
    filters = {
        "id": (LetterFilter(ids=(one.id, three.id)), [one, three]),
        "category": (LetterFilter(category=FailureCategory.PERMANENT), [two]),
        "collection": (LetterFilter(collection="other"), [two]),
        "kind": (LetterFilter(kind="embed"), []),
        "code": (LetterFilter(code="busy"), [one, three]),
        "fingerprint": (LetterFilter(fingerprint=three.fingerprint), [three]),
        "job": (LetterFilter(job_id="one"), [one]),
        "age": (LetterFilter(older_than=NOW + timedelta(seconds=30)), [one]),
        "several": (LetterFilter(code="busy", job_id="j"), [three]),
    }

    for name, (which, expected) in filters.items():
        letters = sorted(all_of(store, which), key=lambda letter: letter.source)
        assert letters == expected, name
        assert store.dead_letters.count(which) == len(expected), name
        assert len(store.dead_letters.page(which, limit=9)[0]) == len(expected), name
    with pytest.raises(UsageError, match="too many"):
        store.dead_letters.count(LetterFilter(ids=tuple(map(str, range(10_001)))))
    assert all_of(store, LetterFilter(collection="\udcff", ids=("\udcff",))) == []
    assert store.dead_letters.get("none") is None


def test_the_newest_letters_are_found_by_the_beginning_of_their_ids(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"01935aa0-1c2d-7abc-8def-{number:012x}" for number in range(150)]
    monkeypatch.setattr(letter_rows, "new_job_id", iter([*ids, f"01935ab0{ids[0][8:]}"]).__next__)
    added(store, *range(151))

    found_ids = [letter.id for letter in store.dead_letters.beginning("01935aa")]

    assert found_ids == ids[:-102:-1]
    assert [each.id for each in store.dead_letters.beginning(ids[7])] == [ids[7]]
    assert store.dead_letters.beginning("01935AA") == []


def test_letters_of_a_clock_that_is_ahead_are_retried_and_archived_like_others(
    store: Store, clock: Clock
) -> None:
    clock.advance(3_600)
    added(store, 1)
    clock.advance(-3_600)
    added(store, 2)

    assert [letter.source for letter in all_of(store)] == ["/folder/2.txt", "/folder/1.txt"]
    assert store.dead_letters.archive(OPEN) == 2


def test_errors_that_differ_in_particulars_are_one_group(store: Store, clock: Clock) -> None:
    added(store, 1, 2)
    clock.advance(1)
    added(store, 3, collection="other")
    added(store, 4, error="it is encrypted", code="encrypted")

    busy, encrypted = store.dead_letters.groups(LetterFilter())

    assert (busy.count, busy.code, busy.example) == (3, "busy", "server 3 is busy")
    assert busy.collections == ("docs", "other")
    assert (busy.first_failed_at, busy.last_failed_at) == (NOW, NOW + timedelta(seconds=1))
    newest = store.dead_letters.get(busy.letter_id)
    assert newest is not None
    assert (newest.source, newest.fingerprint) == ("/folder/3.txt", busy.fingerprint)
    assert (encrypted.count, encrypted.example) == (1, "it is encrypted")
    assert store.dead_letters.counts()[LetterStatus.OPEN] == 4


# -- Retrying --------------------------------------------------------------------------------------


def test_two_sweepers_make_one_job(store: Store) -> None:
    added(store, 1, 2)
    letters = all_of(store)

    ((job, is_new),) = store.dead_letters.retry([retry_of(*letters)])
    assert store.dead_letters.retry([retry_of(*letters, key="another")]) == []

    assert is_new
    assert [each.id for each in store.list_jobs()[0]] == [job.id]
    assert {letter.retry_job_id for letter in all_of(store)} == {job.id}


def test_a_retry_that_is_wanted_anyway_is_made_and_marks_what_is_open(store: Store) -> None:
    added(store, 1)
    letters = all_of(store)
    store.dead_letters.archive(EVERY)
    added(store, 1)
    new = all_of(store, OPEN)

    made = store.dead_letters.retry(
        [
            retry_of(*letters, key="closed"),
            retry_of(*letters, key="closed, anyway", anyway=True),
            retry_of(*letters, *new, key="both"),
            retry_of(key="none", anyway=True),
        ]
    )

    assert [job.spec_key for job, _ in made] == ["closed, anyway", "both", "none"]
    assert store.counts()[JobStatus.PENDING] == 3
    (marked,) = all_of(store, LetterFilter(statuses=(LetterStatus.RETRYING,)))
    assert marked.retry_job_id == made[1][0].id


def test_a_retry_that_an_unfinished_job_does_already_waits_for_that_one(store: Store) -> None:
    added(store, 1)
    claim = claimed(store)

    ((job, is_new),) = store.dead_letters.retry([retry_of(*all_of(store), key="key")])
    assert (job.id, is_new) == (claim.job_id, False)

    store.finish(claim, JobStatus.COMPLETED, summary={})
    assert [(each.status, each.retry_count) for each in all_of(store)] == [(LetterStatus.OPEN, 1)]


def test_a_job_that_was_made_for_letters_just_lost_is_kept_for_those_that_ask_for_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(store, 1, 2)
    one, two = all_of(store)
    lock = LetterWriting.lock

    def lock_too_late(self: LetterWriting, connection: Connection, names: Iterable[str]) -> None:
        archiving = {"letter_ids": [one.id], "now": 1}
        connection.execute(dead_letters_sql.ARCHIVE, archiving)
        lock(self, connection, names)

    monkeypatch.setattr(LetterWriting, "lock", lock_too_late)

    ((job, is_new),) = store.dead_letters.retry([retry_of(one), retry_of(two)])

    assert (found(store, job.id).id, is_new) == (job.id, True)
    (retried,) = all_of(store, LetterFilter(statuses=(LetterStatus.RETRYING,)))
    assert (retried.id, retried.retry_job_id) == (two.id, job.id)


def test_a_wrong_retry_leaves_jobs_and_letters_as_they_were(store: Store) -> None:
    added(store, 1, 2)
    one, two = all_of(store)
    wrong = Submission(
        kind="ingest", collection="docs", spec={}, spec_key="w", retry_of="no such job"
    )

    with pytest.raises(UsageError, match="no job 'no such job'"):
        store.dead_letters.retry(
            [retry_of(one), LetterRetry(submission=wrong, letter_ids=(two.id,))]
        )

    assert {letter.status for letter in all_of(store)} == {LetterStatus.OPEN}
    assert store.list_jobs()[0] == []


def test_sweepers_workers_and_people_at_once_wait_for_no_one_forever(store_url: str) -> None:
    """All locks are taken in one order: PostgreSQL would end a writer that waits in a circle."""
    rounds, documents = 12, range(20)
    start = threading.Barrier(6)

    def work(number: int) -> None:
        with Store.open(store_url) as store:
            start.wait()
            for turn in range(rounds):
                claim = claimed(store, f"{number}-{turn}")
                some = [entry(each) for each in documents if (each + turn) % 2]
                written(store, claim, *(some if number else reversed(some)))
                added(store, *(documents if number else reversed(documents)), job_id=claim.job_id)
                status = JobStatus.FAILED if turn % 3 else JobStatus.COMPLETED
                store.finish(claim, status, error="x", summary={})

    def sweep(_: int) -> None:
        with Store.open(store_url) as store:
            start.wait()
            for turn in range(rounds):
                letters = all_of(store, OPEN)[::-1]
                key = f"retry {turn}"
                for job, _new in store.dead_letters.retry([retry_of(*letters, key=key)]):
                    # The other sweeper may have asked for the same retry, and be done with it.
                    with contextlib.suppress(LeaseLostError):
                        claim = store.claim(job.id, elsewhere(), 60)
                        if isinstance(claim, Claim):
                            store.finish(claim, JobStatus.COMPLETED, summary={})

    def put_away(_: int) -> None:
        with Store.open(store_url) as store:
            start.wait()
            for turn in range(rounds):
                letters = all_of(store, OPEN)
                store.dead_letters.schedule({each.id: NOW for each in letters}, asked=True)
                ids = tuple(each.id for each in letters[turn::5])
                store.dead_letters.archive(LetterFilter(ids=ids)) if ids else None
                store.dead_letters.delete(LetterFilter(statuses=(LetterStatus.ADDRESSED,)))

    with Store.open(store_url) as store, ThreadPoolExecutor(6) as pool:
        tasks = [pool.submit(do, number) for do in (work, sweep, put_away) for number in range(2)]
        for task in tasks:
            task.result(timeout=120)
        standing = all_of(store, LetterFilter())
        assert len({letter.subject_id for letter in standing}) == len(standing)
        for letter in standing:
            if letter.retry_job_id is not None:
                assert not found(store, letter.retry_job_id).status.is_final


# -- Times -----------------------------------------------------------------------------------------


def test_ten_thousand_letters_get_their_times_and_fall_due_in_their_order(
    store: Store, clock: Clock
) -> None:
    added(store, *range(10_000))
    letters = all_of(store)
    times = {each.id: NOW + timedelta(seconds=place) for place, each in enumerate(letters)}

    assert store.dead_letters.schedule(times, asked=True) == 10_000
    clock.advance(2.5)

    due = store.dead_letters.due(10, asked=True)
    assert [letter.id for letter in due] == [letter.id for letter in letters[:3]]
    assert [(letter.asked, letter.next_retry_at) for letter in due] == [
        (True, NOW + timedelta(seconds=place)) for place in range(3)
    ]
    store.dead_letters.retry([retry_of(*due)])
    assert store.dead_letters.due(10, asked=True) == []
    assert store.dead_letters.schedule(times, asked=True) == 9_997


def test_a_persons_plan_yields_to_no_automatic_retry_and_holds_none_up(store: Store) -> None:
    added(store, 1, 2, 3)
    one, two, three = all_of(store)
    store.dead_letters.schedule({one.id: NOW, two.id: NOW}, asked=True)

    later = NOW + timedelta(seconds=60)
    assert store.dead_letters.schedule({one.id: later, two.id: None}, asked=False) == 0
    assert store.dead_letters.schedule({three.id: NOW}, asked=False) == 1

    assert [letter.id for letter in store.dead_letters.due(1, asked=False)] == [three.id]
    asked = store.dead_letters.due(9, asked=True)
    assert {(letter.id, letter.next_retry_at) for letter in asked} == {
        (one.id, NOW),
        (two.id, NOW),
    }


def test_a_retry_that_can_never_be_done_is_counted_and_in_the_end_told(store: Store) -> None:
    added(store, 1)
    (letter,) = all_of(store)
    limits = {FailureCategory.TRANSIENT: 2}

    store.dead_letters.schedule({letter.id: NOW}, asked=True, counted=True)
    assert store.dead_letters.to_notify(limits, 9) == []
    store.dead_letters.schedule({letter.id: None}, asked=True, counted=True)

    (told,) = store.dead_letters.to_notify(limits, 9)
    assert (told.retry_count, told.next_retry_at, told.asked) == (2, None, False)


def test_letters_without_a_time_are_found_by_category_and_failed_retries(store: Store) -> None:
    added(store, 1, 2, 3)
    added(store, 4, category=FailureCategory.PERMANENT)
    one, two, _, _ = sorted(all_of(store), key=lambda letter: letter.source)
    store.dead_letters.schedule({one.id: NOW}, asked=False)
    ((job, _),) = store.dead_letters.retry([retry_of(two)])
    store.give_up(job.id, 0, error="x", error_code="y")
    kinds = (FailureCategory.TRANSIENT, FailureCategory.PERMANENT)

    def unscheduled(retries: int, *categories: FailureCategory) -> set[str]:
        below = dict.fromkeys(kinds, retries)
        letters = store.dead_letters.unscheduled(categories, below, 10)
        return {letter.source for letter in letters if letter.subject is Subject.DOCUMENT}

    assert unscheduled(2, *kinds) == {f"/folder/{number}.txt" for number in (2, 3, 4)}
    assert unscheduled(1, *kinds) == {f"/folder/{number}.txt" for number in (3, 4)}
    assert unscheduled(1, FailureCategory.TRANSIENT) == {"/folder/3.txt"}
    assert unscheduled(0, *kinds) == set()
    assert len(store.dead_letters.unscheduled(kinds, dict.fromkeys(kinds, 5), 1)) == 1


# -- Putting away ----------------------------------------------------------------------------------


def test_archiving_and_deleting_leave_what_is_being_retried(store: Store) -> None:
    added(store, *range(1_100))
    retried = all_of(store)[0]
    store.dead_letters.retry([retry_of(retried)])

    assert store.dead_letters.archive(LetterFilter()) == 1_099
    assert store.dead_letters.archive(EVERY) == 0
    archived = all_of(store, LetterFilter(statuses=(LetterStatus.ARCHIVED,)))
    assert {(each.resolution, each.closed_at) for each in archived} == {("archived", NOW)}
    assert store.dead_letters.delete(LetterFilter(ids=(retried.id, archived[0].id))) == 0
    assert store.dead_letters.delete(EVERY) == 1_099
    assert [letter.id for letter in all_of(store)] == [retried.id]


def test_a_letter_that_is_closed_before_its_turn_comes_is_not_deleted_as_an_open_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(store, 1, 2)
    first = all_of(store)[0]
    real = dead_letters.collections_of

    def close_first(connection: Connection, ids: list[str]) -> list[str]:
        connection.execute(dead_letters_sql.ARCHIVE, {"letter_ids": [first.id], "now": 1})
        return real(connection, ids)

    monkeypatch.setattr(dead_letters, "collections_of", close_first)

    assert store.dead_letters.delete(OPEN) == 1
    assert [letter.id for letter in all_of(store)] == [first.id]


def test_letters_expire_by_when_they_were_closed(store: Store, clock: Clock) -> None:
    added(store, *range(600))
    store.dead_letters.archive(LetterFilter(ids=tuple(each.id for each in all_of(store)[:550])))
    clock.advance(60)
    store.dead_letters.archive(OPEN)
    added(store, 1)

    assert store.dead_letters.expire(NOW) == 0
    assert store.dead_letters.expire(NOW + timedelta(seconds=30)) == 550
    assert store.dead_letters.counts() == {
        LetterStatus.OPEN: 1,
        LetterStatus.RETRYING: 0,
        LetterStatus.ADDRESSED: 0,
        LetterStatus.ARCHIVED: 50,
    }


def test_a_backup_has_the_letters(store_url: str, clock: Clock, tmp_path: Path) -> None:
    with Store.open(store_url, clock=clock) as store:
        added(store, 1, 2)
        store.dead_letters.retry([retry_of(all_of(store)[0])])
        submit(store)
        before = all_of(store)
    file, target = tmp_path / "backup.db", STORES["sqlite"](tmp_path / "restored")

    back_up(store_url, file)
    restore(file, target)

    with Store.open(target, clock=clock) as restored:
        assert all_of(restored) == before
