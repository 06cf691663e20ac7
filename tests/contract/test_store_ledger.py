"""What every store promises of the ledger: what it says `done` of is so, and no intent is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.core.types import FailureCategory, FileStamp, JobStatus
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState, UnitState
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import (
    NOW,
    STAMP,
    Clock,
    claimed,
    elsewhere,
    entry,
    result,
    written,
)

Write = Callable[[Store, Claim], object]


def state_of(store: Store, number: int = 1) -> LedgerState:
    return store.ledger("docs")[entry(number).document_id].state


def test_an_intent_then_done_is_kept_whole(store: Store) -> None:
    claim = claimed(store)
    store.record_intent(claim, [entry()])
    assert state_of(store) is LedgerState.WRITING
    store.mark_done(claim, [entry()], [result()])

    kept = store.ledger("docs")[entry().document_id]
    assert kept.updated_at is not None
    assert replace(kept, updated_at=None) == entry(job_id=claim.job_id, had_intent=True)
    assert [unit.state for unit in store.units(claim.job_id)] == [UnitState.DONE]


def test_a_failure_is_kept_whole(store: Store) -> None:
    claim = claimed(store)
    failed = entry(
        state=LedgerState.FAILED,
        category=FailureCategory.INVALID_INPUT,
        code="corrupt",
        reason="not a zip: \udcff",
        chunks=0,
        chunks_digest="",
    )
    store.mark_outcome(claim, [failed], [result(state=UnitState.FAILED)])

    kept = store.ledger("docs")[entry().document_id]
    assert replace(kept, updated_at=None) == replace(
        failed, reason="not a zip: \\udcff", job_id=claim.job_id
    )
    assert [unit.state for unit in store.units(claim.job_id)] == [UnitState.FAILED]


@pytest.mark.parametrize(
    "stamp",
    [
        None,
        FileStamp(size=1 << 50, mtime_ns=-5, ctime_ns=1 << 61, inode=(1 << 64) - 1),
        FileStamp(size=0, mtime_ns=0, ctime_ns=0, inode=0),
    ],
)
def test_any_stamp_comes_back_as_it_went_in(store: Store, stamp: FileStamp | None) -> None:
    written(store, claimed(store), entry(stamp=stamp))

    assert store.ledger("docs")[entry().document_id].stamp == stamp


def test_an_intent_says_which_documents_had_one_before(store: Store) -> None:
    claim = claimed(store)

    first = store.record_intent(claim, [entry(1), entry(2)])
    second = store.record_intent(claim, [entry(2), entry(3)])

    assert first == frozenset()
    assert second == {entry(2).document_id}
    assert store.record_intent(claim, []) == frozenset()


LATER_WRITES: dict[str, Write] = {
    "done": lambda store, claim: store.mark_done(claim, [entry()], []),
    "failed": lambda store, claim: store.mark_outcome(
        claim, [entry(state=LedgerState.FAILED, had_intent=False)], []
    ),
    "skipped": lambda store, claim: store.mark_outcome(
        claim, [entry(state=LedgerState.SKIPPED, had_intent=False)], []
    ),
    "removed": lambda store, claim: store.mark_removed(claim, "docs", [entry().document_id]),
    "touched": lambda store, claim: store.touch(claim, "docs", [(entry().document_id, STAMP, 99)]),
    "intended again": lambda store, claim: store.record_intent(claim, [entry(had_intent=False)]),
}


@pytest.mark.parametrize("first", sorted(LATER_WRITES))
@pytest.mark.parametrize("second", sorted(LATER_WRITES))
def test_that_an_intent_was_recorded_is_never_forgotten(
    store: Store, first: str, second: str
) -> None:
    claim = claimed(store)
    store.record_intent(claim, [entry()])

    LATER_WRITES[first](store, claim)
    LATER_WRITES[second](store, claim)

    assert store.ledger("docs")[entry().document_id].had_intent
    assert store.record_intent(claim, [entry()]) == {entry().document_id}


def test_a_document_that_only_failed_had_no_intent(store: Store) -> None:
    claim = claimed(store)
    store.mark_outcome(claim, [entry(state=LedgerState.FAILED)], [])
    store.mark_outcome(claim, [entry(state=LedgerState.SKIPPED)], [])

    assert not store.ledger("docs")[entry().document_id].had_intent


def test_an_outcome_must_be_skipped_or_failed(store: Store) -> None:
    with pytest.raises(ValueError, match="neither skipped nor failed"):
        store.mark_outcome(claimed(store), [entry(state=LedgerState.DONE)], [])


def test_a_removed_document_has_no_chunks_and_no_stamp(store: Store) -> None:
    claim = claimed(store)
    written(store, claim, entry(1), entry(2))
    store.record_intent(claim, [entry(1)])
    assert store.mark_removed(claim, "docs", [entry(1).document_id, "unknown"]) == {
        entry(1).document_id
    }

    removed = store.ledger("docs")[entry(1).document_id]
    assert (removed.state, removed.chunks, removed.chunks_digest, removed.stamp) == (
        LedgerState.REMOVED,
        0,
        "",
        None,
    )
    assert state_of(store, 2) is LedgerState.DONE
    assert "unknown" not in store.ledger("docs")


def test_only_what_a_job_meant_to_remove_is_called_removed_by_it(store: Store) -> None:
    first, second = claimed(store, "a"), claimed(store, "b")
    written(store, first, *(entry(number) for number in range(1, 5)))
    store.record_intent(first, [entry(1), entry(2), entry(3)])
    written(store, second, entry(2, content_hash="new"))
    store.record_intent(second, [entry(3, content_hash="new")])

    ids = [entry(number).document_id for number in range(1, 5)]
    assert store.mark_removed(first, "docs", ids) == {ids[0]}

    assert [state_of(store, number) for number in range(1, 5)] == [
        LedgerState.REMOVED,
        LedgerState.DONE,
        LedgerState.WRITING,
        LedgerState.DONE,
    ]
    assert store.ledger("docs")[ids[1]].content_hash == "new"
    assert store.mark_removed(first, "docs", []) == frozenset()


INTERVENTIONS: dict[str, Write] = {
    "done anew": lambda store, claim: written(store, claim, entry(content_hash="new")),
    "done of the same content": lambda store, claim: written(store, claim, entry()),
    "being written": lambda store, claim: store.record_intent(claim, [entry()]),
    "failed": lambda store, claim: store.mark_outcome(claim, [entry(state=LedgerState.FAILED)], []),
    "forgotten": lambda store, claim: store.forget_collection("docs"),
}


@pytest.mark.parametrize("meanwhile", sorted(INTERVENTIONS))
def test_an_intent_does_not_stand_where_another_job_has_written_since_what_was_seen(
    store: Store, meanwhile: str
) -> None:
    first, second = claimed(store, "a"), claimed(store, "b")
    written(store, first, entry(1), entry(2))
    seen = store.ledger("docs")
    INTERVENTIONS[meanwhile](store, second)
    before = store.ledger("docs")

    wanted = [seen[entry(number).document_id] for number in (1, 2)]
    replaced = {each.document_id: 3 for each in wanted}
    intended = store.intend(first, wanted, replaced, seen=seen)

    standing = set() if meanwhile == "forgotten" else {entry(2).document_id}
    assert (intended.recorded, intended.before) == (standing, standing)
    after = store.ledger("docs")
    assert after.get(entry(1).document_id) == before.get(entry(1).document_id)
    assert {each for each, now in after.items() if now.job_id == first.job_id} == standing
    assert {each.unit_id for each in store.units(first.job_id)} == standing


def test_an_intent_on_what_nobody_knew_does_not_stand_once_somebody_knows_it(store: Store) -> None:
    first, second = claimed(store, "a"), claimed(store, "b")
    written(store, second, entry(1))

    intended = store.intend(first, [entry(1), entry(2)], seen={})

    assert (intended.recorded, intended.before) == ({entry(2).document_id}, frozenset())
    assert (state_of(store, 1), state_of(store, 2)) == (LedgerState.DONE, LedgerState.WRITING)
    again = store.intend(first, [entry(2)], seen=store.ledger("docs"))
    assert (again.recorded, again.before) == ({entry(2).document_id}, {entry(2).document_id})


def test_a_new_stamp_stands_in_no_intents_way_and_a_resumed_job_takes_up_its_own(
    store: Store,
) -> None:
    first, second = claimed(store, "a"), claimed(store, "b")
    written(store, first, entry())
    seen = store.ledger("docs")
    store.touch(second, "docs", [(entry().document_id, replace(STAMP, size=11), 99)])
    assert store.intend(first, list(seen.values()), seen=seen).recorded == set(seen)

    store.release(first, "interrupted")
    resumed = store.claim(first.job_id, elsewhere(2), 60)
    assert isinstance(resumed, Claim)
    now = store.ledger("docs")
    assert store.intend(resumed, list(now.values()), seen=now).recorded == set(now)
    assert store.mark_removed(resumed, "docs", list(now)) == set(now)


def test_an_entry_that_is_written_back_as_it_was_read_keeps_its_time(
    store: Store, clock: Clock
) -> None:
    claim = claimed(store)
    written(store, claim, entry())
    seen = store.ledger("docs")
    clock.advance(1_000)

    store.intend(
        claim, [replace(each, state=LedgerState.WRITING) for each in seen.values()], seen=seen
    )
    assert store.ledger("docs")[entry().document_id].updated_at == NOW
    store.mark_done(claim, list(seen.values()), [])
    assert store.ledger("docs") == seen
    written(store, claim, entry())
    assert store.ledger("docs")[entry().document_id].updated_at == NOW + timedelta(seconds=1_000)


def test_intents_stand_however_many_they_are(store: Store) -> None:
    claim = claimed(store)
    many = [entry(number) for number in range(2500)]
    store.record_intent(claim, many[::2])

    intended = store.intend(claim, many, seen=store.ledger("docs"))

    assert len(intended.recorded) == 2500
    assert len(intended.before) == 1250


def test_the_last_intent_is_the_one_that_counts(store: Store) -> None:
    first, second = claimed(store, "a"), claimed(store, "b")
    store.record_intent(first, [entry(content_hash="old"), entry(2)])
    store.record_intent(second, [entry(content_hash="new")])

    overtaken = store.mark_done(first, [entry(content_hash="old"), entry(2)], [result(1)])

    assert overtaken == {entry(1).document_id}
    assert state_of(store, 1) is LedgerState.WRITING
    assert state_of(store, 2) is LedgerState.DONE
    assert [unit.state for unit in store.units(first.job_id)] == [UnitState.DONE]
    assert store.mark_done(second, [entry(content_hash="new")], []) == frozenset()
    assert store.ledger("docs")[entry(1).document_id].content_hash == "new"


def test_done_may_be_said_twice(store: Store) -> None:
    claim = claimed(store)
    written(store, claim, entry())

    assert store.mark_done(claim, [entry()], [result()]) == frozenset()
    assert state_of(store) is LedgerState.DONE


def test_done_without_an_intent_is_not_recorded(store: Store) -> None:
    claim = claimed(store)

    assert store.mark_done(claim, [entry()], []) == {entry().document_id}
    assert store.ledger("docs") == {}


def test_another_unfinished_jobs_intent_outlasts_a_failure_and_a_removal(store: Store) -> None:
    first, second = claimed(store, "a"), claimed(store, "b")
    store.record_intent(first, [entry()])

    overtaken = store.mark_outcome(second, [entry(state=LedgerState.FAILED)], [])
    store.mark_removed(second, "docs", [entry().document_id])
    store.touch(second, "docs", [(entry().document_id, STAMP, 99)])

    assert overtaken == {entry().document_id}
    kept = store.ledger("docs")[entry().document_id]
    assert (kept.state, kept.job_id) == (LedgerState.WRITING, first.job_id)


def test_a_finished_jobs_intent_gives_way_to_a_failure(store: Store) -> None:
    first, second = claimed(store, "a"), claimed(store, "b")
    store.record_intent(first, [entry()])
    store.finish(first, JobStatus.FAILED, error="crashed", summary={})

    assert store.mark_outcome(second, [entry(state=LedgerState.FAILED)], []) == frozenset()
    assert state_of(store) is LedgerState.FAILED


def test_a_jobs_own_intent_gives_way_to_its_failure(store: Store) -> None:
    claim = claimed(store)
    store.record_intent(claim, [entry()])

    assert store.mark_outcome(claim, [entry(state=LedgerState.FAILED)], []) == frozenset()
    assert state_of(store) is LedgerState.FAILED


def test_a_resumed_job_finishes_what_its_earlier_attempt_intended(store: Store) -> None:
    first = claimed(store)
    store.record_intent(first, [entry()])
    store.release(first, "interrupted")
    second = store.claim(first.job_id, elsewhere(2), 60)
    assert isinstance(second, Claim)

    with pytest.raises(LeaseLostError):
        store.mark_done(first, [entry()], [])
    assert store.mark_done(second, [entry()], []) == frozenset()
    assert state_of(store) is LedgerState.DONE


def test_a_touch_gives_a_new_stamp_and_nothing_else(store: Store) -> None:
    claim = claimed(store)
    written(store, claim, entry())
    newer = FileStamp(size=10, mtime_ns=21, ctime_ns=31, inode=41)
    store.touch(claim, "docs", [(entry().document_id, newer, 51), ("unknown", newer, 51)])

    kept = store.ledger("docs")
    assert list(kept) == [entry().document_id]
    assert replace(kept[entry().document_id], updated_at=None) == entry(
        stamp=newer, checked_at_ns=51, job_id=claim.job_id, had_intent=True
    )


def test_a_touch_from_before_the_last_look_is_ignored(store: Store) -> None:
    claim = claimed(store)
    written(store, claim, entry(checked_at_ns=50))
    store.touch(claim, "docs", [(entry().document_id, replace(STAMP, size=1), 49)])

    assert store.ledger("docs")[entry().document_id].stamp == STAMP


def test_only_done_contents_of_these_settings_are_known(store: Store) -> None:
    claim = claimed(store)
    written(store, claim, entry(1), entry(2), entry(3, content_hash="content-1"))
    written(store, claim, entry(4, chunker="characters:1000:200"), entry(5, model="other"))
    written(store, claim, entry(6, collection="another"))
    store.record_intent(claim, [entry(7)])
    store.mark_outcome(claim, [entry(8, state=LedgerState.FAILED)], [])

    assert store.known_contents("docs", "tokens:254:0", "minilm@1") == {"content-1", "content-2"}


def test_a_dropped_collections_ledger_starts_afresh(store: Store) -> None:
    claim = claimed(store)
    written(store, claim, entry(1), entry(2), entry(1, collection="another"))
    store.record_intent(claim, [entry(3)])

    assert store.has_ledger("docs")
    assert store.forget_collection("docs") == 3
    assert not store.has_ledger("docs")
    assert store.has_ledger("another")
    assert store.mark_done(claim, [entry(3)], []) == {entry(3).document_id}
    assert store.record_intent(claim, [entry(1)]) == frozenset()


def test_some_entries_are_read_by_id_however_many(store: Store) -> None:
    claim = claimed(store)
    written(store, claim, *(entry(number) for number in range(2500)))
    wanted = [entry(number).document_id for number in range(0, 5000, 2)]

    found = store.ledger_entries("docs", wanted)

    assert list(found) == wanted[:1250]
    assert all(isinstance(value, LedgerEntry) for value in found.values())
    assert store.ledger_entries("docs", []) == {}
    assert len(store.ledger("docs")) == 2500


def test_nothing_is_written_when_one_entry_cannot_be(store: Store) -> None:
    claim = claimed(store)
    broken = entry(2, checked_at_ns=None)

    with pytest.raises(Exception, match=r"(?i)not.null"):
        store.record_intent(claim, [entry(1), broken])

    assert store.ledger("docs") == {}
    store.beat(claim, 60)
