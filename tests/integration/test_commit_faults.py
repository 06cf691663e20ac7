"""Whatever happens in the middle of a commit: one copy of each document, and a true ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lance
import pytest

from lexigram_ray.core.errors import IntegrityError, LeaseLostError, WriteConflictError
from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs import removal
from lexigram_ray.jobs.records import LedgerState, UnitState
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from tests.contract.store_data import gone
from tests.integration.commit_data import (
    NAME,
    Place,
    assert_table_equals_ledger,
    child,
    claim_job,
    commit,
    done,
    ended,
    found,
    ingested,
    on_call,
    one_copy,
    spilled,
    states,
    wait_for_death,
)

# -- Killed in the middle --------------------------------------------------------------------------


@pytest.mark.chaos
@pytest.mark.parametrize("kind", ["small", "spilled"])
@pytest.mark.parametrize("moment", ["after the intent", "after the write", "after done"])
def test_a_commit_that_was_killed_is_done_again_and_leaves_one_copy(
    place: Place, store: Store, collection: Collection, moment: str, kind: str
) -> None:
    # One document shrinks, one grows, one is new, and one is left alone.
    before = {"shrinks": 5, "grows": 2, "stays": 3}
    commit(store, claim_job(store, "earlier"), collection, ingested(before, "old"))
    wanted = {"shrinks": 2, "grows": 6, "new": 4}

    wait_for_death(child("die_committing", place, moment, kind, json.dumps(wanted), "new"))
    at_death = found(collection)
    # Spilled documents are committed one by one; the child dies with the first.
    landed = wanted if kind == "small" else {"shrinks": 2}
    whole = [one_copy(before, "old") | one_copy(each, "new") for each in ({}, landed)]
    assert at_death in whole, "a reader has seen half a document"

    claim = claim_job(store, "dying")
    assert claim.fence == 2
    executions = [ingested(wanted, "new")]
    if kind == "spilled":
        executions = [
            spilled(document, count, place.root / f"{document}.arrow", "new")
            for document, count in wanted.items()
        ]
    result = commit(store, claim, collection, *executions)
    assert found(collection) == one_copy({"stays": 3}, "old") | one_copy(wanted, "new")
    assert states(store) == done("stays", *wanted)
    assert result.committed.ingested == set(wanted)
    units = {unit.unit_id: (unit.state, unit.chunks) for unit in store.units(claim.job_id)}
    assert units == {each: (UnitState.DONE, count) for each, count in wanted.items()}
    assert_table_equals_ledger(collection, store)


@pytest.mark.chaos
@pytest.mark.parametrize("moment", ["after the intent", "after the write"])
def test_a_killed_commit_is_not_called_done(
    place: Place, store: Store, collection: Collection, moment: str
) -> None:
    wait_for_death(child("die_committing", place, moment, "small", '{"a": 3}', "first"))
    assert states(store) == {"a": LedgerState.WRITING}
    assert found(collection) == ({} if moment == "after the intent" else one_copy({"a": 3}))


@pytest.mark.chaos
def test_a_document_that_has_shrunk_since_its_commit_was_killed_leaves_no_old_row(
    place: Place, store: Store, collection: Collection
) -> None:
    # Its rows were never recorded as done: only the intent tells that there may be any.
    wait_for_death(child("die_committing", place, "after the write", "small", '{"a": 9}', "first"))
    commit(store, claim_job(store, "dying"), collection, ingested({"a": 2}, "second"))
    assert found(collection) == one_copy({"a": 2}, "second")


@pytest.mark.chaos
@pytest.mark.parametrize("how", ["emptied", "pruned"])
def test_a_removal_that_was_killed_does_not_leave_the_ledger_saying_done(
    place: Place, store: Store, collection: Collection, how: str
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3}))
    wait_for_death(child("die_removing", place, how, "a"))
    assert found(collection) == {}
    assert states(store)["a"] is not LedgerState.DONE


# -- Answers lost, rows doubled --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["small", "spilled"])
def test_a_commit_whose_answer_was_lost_leaves_one_copy(
    store: Store,
    collection: Collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 5}, "old"))

    def land_and_say_refused(real: Any, arguments: Any, options: Any) -> int:
        real(*arguments, **options)
        raise WriteConflictError("another commit came first")

    calls = on_call(monkeypatch, "replace_documents", land_and_say_refused)
    wanted = {"a": 3} if kind == "spilled" else {"a": 3, "b": 2}
    large = kind == "spilled"
    execution = spilled("a", 3, tmp_path / "a.arrow", "new") if large else ingested(wanted, "new")
    result = commit(store, claim_job(store, "later"), collection, execution)
    assert len(calls) == 2
    assert found(collection) == one_copy(wanted, "new")
    assert states(store) == done(*wanted)
    assert result.committed.ingested == set(wanted)
    assert_table_equals_ledger(collection, store)


def double_a_row(real: Any, arguments: Any, options: Any) -> int:
    """Write, then append one of the rows again, as a writer without a key would."""
    real(*arguments, **options)
    written: Collection = arguments[0]
    again = written.dataset.to_table(filter="document_id = 'a' AND chunk_index = 1")
    lance.write_dataset(again, str(written.path), mode="append")
    return written.refresh()


def lose_a_row(real: Any, arguments: Any, options: Any) -> int:
    """Write, then delete one of the rows."""
    real(*arguments, **options)
    written: Collection = arguments[0]
    written.dataset.delete("document_id = 'a' AND chunk_index = 1")
    return written.refresh()


def alter_a_row(real: Any, arguments: Any, options: Any) -> int:
    """Write, then give one of the rows the hash of another text."""
    real(*arguments, **options)
    written: Collection = arguments[0]
    written.dataset.update({"content_hash": "'0'"}, "document_id = 'a' AND chunk_index = 1")
    return written.refresh()


@pytest.mark.parametrize("damage", [double_a_row, lose_a_row, alter_a_row])
def test_rows_that_differ_after_a_commit_are_healed(
    store: Store,
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[..., int],
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"other": 4}))
    calls = on_call(monkeypatch, "replace_documents", damage)
    commit(store, claim_job(store, "later"), collection, ingested({"a": 3, "b": 2}))
    assert len(calls) == 2
    assert found(collection) == one_copy({"other": 4, "a": 3, "b": 2})
    assert states(store) == done("other", "a", "b")


def test_rows_that_stay_different_are_an_error_that_names_the_document(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_call(monkeypatch, "replace_documents", double_a_row, times=1_000)
    claim = claim_job(store, "job")
    with pytest.raises(IntegrityError, match=r"collection docs does not hold .* first a$"):
        commit(store, claim, collection, ingested({"a": 3, "b": 2}))
    assert states(store) == {"a": LedgerState.WRITING, "b": LedgerState.WRITING}
    assert {unit.state for unit in store.units(claim.job_id)} <= {UnitState.PENDING}

    monkeypatch.undo()
    commit(store, claim, collection, ingested({"a": 3, "b": 2}))
    assert found(collection) == one_copy({"a": 3, "b": 2})


# -- Claims that no longer hold --------------------------------------------------------------------


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns that hold nobody up, as if each had expired while its holder was paused."""
    monkeypatch.setattr(Store, "turn", lambda *_: nullcontext())


def test_a_stale_claim_writes_nothing(store: Store, collection: Collection) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3}, "old"))
    stale = claim_job(store, "job", owner=gone())
    fresh = claim_job(store, "job")
    assert (stale.job_id, stale.fence + 1) == (fresh.job_id, fresh.fence)
    version = collection.refresh()
    for execution in (ingested({"a": 1, "new": 2}, "new"), ended(Outcome.FAILED, ["a"])):
        with pytest.raises(LeaseLostError):
            commit(store, stale, collection, execution)
    assert collection.refresh() == version
    assert found(collection) == one_copy({"a": 3}, "old")
    assert states(store) == done("a")


@pytest.mark.usefixtures("no_turns")
def test_a_claim_that_is_lost_between_intent_and_write_ends_as_one_copy(
    place: Place, store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 6}, "old"))
    stale = claim_job(store, "job", owner=gone())
    theirs = place.open_collection(store)

    def lose_the_claim(real: Any, arguments: Any, options: Any) -> int:
        # The new owner has found the file changed once more, and is quicker.
        commit(store, claim_job(store, "job"), theirs, ingested({"a": 2}, "newest"))
        return real(*arguments, **options)

    on_call(monkeypatch, "replace_documents", lose_the_claim)
    with pytest.raises(LeaseLostError):
        commit(store, stale, collection, ingested({"a": 4}, "new"))
    assert found(collection) == one_copy({"a": 2}, "newest")
    assert states(store) == done("a")
    assert_table_equals_ledger(collection, store)


@pytest.mark.parametrize("how", ["emptied", "pruned"])
def test_a_stale_claim_takes_no_rows_away(store: Store, collection: Collection, how: str) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3}, "old"))
    stale = claim_job(store, "job", owner=gone())
    seen = store.ledger(NAME)
    commit(store, claim_job(store, "job"), collection, ingested({"a": 2}, "new"))
    no_words = ended(Outcome.SKIPPED, ["a"])
    removals: dict[str, Callable[[], object]] = {
        "emptied": lambda: commit(store, stale, collection, no_words, planned=seen),
        "pruned": lambda: removal.prune(store, stale, collection, [seen["a"]], 30.0),
    }
    with pytest.raises(LeaseLostError):
        removals[how]()
    assert found(collection) == one_copy({"a": 2}, "new")
    assert states(store) == done("a")


@pytest.mark.parametrize("how", ["emptied", "pruned"])
def test_what_another_job_has_written_since_we_looked_is_not_removed(
    store: Store, collection: Collection, how: str
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3, "b": 1}, "old"))
    seen = store.ledger(NAME)
    commit(store, claim_job(store, "other"), collection, ingested({"a": 2}, "new"))
    claim = claim_job(store, "job")
    if how == "emptied":
        commit(store, claim, collection, ended(Outcome.SKIPPED, ["a", "b"]), planned=seen)
    else:
        removal.prune(store, claim, collection, list(seen.values()), 30.0)
    assert found(collection) == one_copy({"a": 2}, "new")
    assert states(store)["a"] is LedgerState.DONE
    assert_table_equals_ledger(collection, store)


# -- Large documents, outcomes ---------------------------------------------------------------------


def test_a_large_document_comes_whole_into_the_table_and_its_file_goes(
    store: Store, collection: Collection, tmp_path: Path
) -> None:
    claim = claim_job(store, "job")
    file = tmp_path / "large.arrow"
    commit(
        store,
        claim,
        collection,
        ingested({"before": 2}),
        spilled("large", 1_234, file),
        ingested({"after": 3}),
    )
    assert found(collection) == one_copy({"before": 2, "large": 1_234, "after": 3})
    assert not file.exists()

    later = claim_job(store, "later")
    commit(store, later, collection, spilled("large", 150, file, "second"))
    assert found(collection)["large"] == one_copy({"large": 150}, "second")["large"]
    assert store.unit_totals(later.job_id).replaced == 1_234
    assert not file.exists()
    assert states(store) == done("before", "large", "after")
    assert_table_equals_ledger(collection, store)


def test_a_document_whose_text_is_gone_loses_its_rows_and_one_that_fails_keeps_them(
    store: Store, collection: Collection
) -> None:
    claim = claim_job(store, "job")
    commit(store, claim, collection, ingested({"emptied": 3, "broken": 2, "other": 1}))
    later = claim_job(store, "later")
    commit(
        store,
        later,
        collection,
        ended(Outcome.SKIPPED, ["emptied", "never-seen"]),
        ended(Outcome.FAILED, ["broken"]),
    )
    assert found(collection) == one_copy({"broken": 2, "other": 1})
    assert store.unit_totals(later.job_id).replaced == 3
    ledger = store.ledger(NAME)
    assert {each: (entry.state, entry.chunks) for each, entry in ledger.items()} == {
        "emptied": (LedgerState.SKIPPED, 0),
        "never-seen": (LedgerState.SKIPPED, 0),
        "broken": (LedgerState.FAILED, 2),
        "other": (LedgerState.DONE, 1),
    }
