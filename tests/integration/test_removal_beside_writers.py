"""A removal that is overtaken takes no rows of whoever was faster, and does not call them gone."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import lance
import pytest

from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs import removal
from lexigram_ray.jobs.records import LedgerState, UnitState
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from tests.collections_data import documents
from tests.integration.commit_data import (
    NAME,
    Place,
    assert_table_equals_ledger,
    claim_job,
    commit,
    committer,
    done,
    ended,
    found,
    ingested,
    on_call,
    one_copy,
    states,
)


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns that hold nobody up, as if each had expired while its holder was paused."""
    monkeypatch.setattr(Store, "turn", lambda *_: nullcontext())


@pytest.mark.usefixtures("no_turns")
@pytest.mark.parametrize(
    ("how", "moment"),
    product(["emptied", "pruned"], ["ledger_entries", "verify_documents", "remove_documents"]),
)
def test_rows_that_come_during_a_removal_stay_whenever_they_come(
    place: Place, collection: Collection, monkeypatch: pytest.MonkeyPatch, how: str, moment: str
) -> None:
    store = place.open_store()
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3, "b": 1}, "old"))
    seen = store.ledger(NAME)
    claim, other = claim_job(store, "removing"), claim_job(store, "ingesting")

    def let_the_other_one_in(real: Any, arguments: Any, options: Any) -> Any:
        before = real(*arguments, **options) if moment == "ledger_entries" else None
        commit(store, other, place.open_collection(store), ingested({"a": 2}, "new"))
        return before if moment == "ledger_entries" else real(*arguments, **options)

    holder: Any = Store if moment == "ledger_entries" else removal
    on_call(monkeypatch, moment, let_the_other_one_in, holder=holder)
    if how == "pruned":
        removed = removal.prune(store, claim, collection, list(seen.values()), 30.0)
        assert removed == ["b"]
    else:
        emptied = ended(Outcome.SKIPPED, ["a", "b"])
        result = commit(store, claim, collection, emptied, planned=seen)
        assert result.committed.elsewhere == {"a"}

    assert found(collection) == one_copy({"a": 2}, "new")
    assert states(store)["a"] is LedgerState.DONE
    assert states(store)["b"] is not LedgerState.DONE
    assert_table_equals_ledger(collection, store)


@pytest.mark.usefixtures("no_turns")
def test_a_document_that_is_written_anew_after_its_removal_is_not_called_removed(
    place: Place, store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3, "b": 1}, "old"))
    seen = store.ledger(NAME)
    claim, other = claim_job(store, "removing"), claim_job(store, "ingesting")

    def let_the_other_one_follow(real: Any, arguments: Any, options: Any) -> Any:
        result = real(*arguments, **options)
        commit(store, other, place.open_collection(store), ingested({"a": 2}, "new"))
        return result

    on_call(monkeypatch, "remove_documents", let_the_other_one_follow, holder=removal)
    removed = removal.prune(store, claim, collection, list(seen.values()), 30.0)

    assert removed == ["b"]
    assert found(collection) == one_copy({"a": 2}, "new")
    assert states(store) == {"a": LedgerState.DONE, "b": LedgerState.REMOVED}
    assert store.unit_totals(claim.job_id).removed == 1
    assert_table_equals_ledger(collection, store)


@pytest.mark.usefixtures("no_turns")
@pytest.mark.parametrize("moment", ["before the intent", "before the removal", "after it"])
def test_an_unknown_document_that_becomes_known_during_its_removal_stays(
    place: Place,
    store: Store,
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    lance.write_dataset(documents({"a": 3, "b": 1}), str(collection.path), mode="append")
    claim, other = claim_job(store, "removing"), claim_job(store, "ingesting")

    def let_the_other_one_in(real: Any, arguments: Any, options: Any) -> Any:
        first = real(*arguments, **options) if moment != "before the removal" else None
        commit(store, other, place.open_collection(store), ingested({"a": 2}, "new"))
        return first if moment != "before the removal" else real(*arguments, **options)

    name = "ledger_entries" if moment == "before the intent" else "remove_documents"
    holder: Any = Store if moment == "before the intent" else removal
    on_call(monkeypatch, name, let_the_other_one_in, holder=holder)
    sources = {"a": "/docs/a.txt", "b": "/docs/b.txt"}
    removed = removal.remove_unknown(store, claim, collection, sources, 30.0)

    assert removed == ["b"]
    assert found(collection) == one_copy({"a": 2}, "new")
    assert states(store) == {"a": LedgerState.DONE, "b": LedgerState.REMOVED}


def test_rows_that_another_store_has_written_since_are_not_removed(
    place: Place, store: Store, collection: Collection, tmp_path: Path
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3, "b": 1}, "old"))
    seen = store.ledger(NAME)
    with Place(tmp_path / "elsewhere").open_store() as foreign:
        theirs = place.open_collection(foreign)
        commit(foreign, claim_job(foreign, "theirs"), theirs, ingested({"a": 2}, "theirs"))

    claim = claim_job(store, "removing")
    removed = removal.prune(store, claim, collection, list(seen.values()), 30.0)

    assert removed == ["b"]
    assert found(collection) == one_copy({"a": 2}, "theirs")
    assert states(store) == {"a": LedgerState.DONE, "b": LedgerState.REMOVED}


def test_rows_that_another_store_writes_during_a_removal_leave_the_ledger_as_it_was(
    place: Place,
    store: Store,
    collection: Collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3, "b": 1}, "old"))
    seen = store.ledger(NAME)
    claim = claim_job(store, "removing")
    with Place(tmp_path / "elsewhere").open_store() as foreign:

        def let_them_in(real: Any, arguments: Any, options: Any) -> Any:
            theirs = place.open_collection(foreign)
            commit(foreign, claim_job(foreign, "theirs"), theirs, ingested({"a": 2}, "theirs"))
            return real(*arguments, **options)

        on_call(monkeypatch, "remove_documents", let_them_in, holder=removal)
        removed = removal.prune(store, claim, collection, list(seen.values()), 30.0)

    assert removed == ["b"]
    assert found(collection) == one_copy({"a": 2}, "theirs")
    kept = store.ledger(NAME)["a"]
    assert (kept.state, kept.chunks_digest, kept.updated_at) == (
        LedgerState.DONE,
        seen["a"].chunks_digest,
        seen["a"].updated_at,
    )


@pytest.mark.usefixtures("no_turns")
def test_a_content_of_a_later_look_is_not_replaced_by_that_of_an_earlier_one(
    place: Place, store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 4}, "old"))
    late, other = claim_job(store, "late"), claim_job(store, "other")
    writing = committer(store, late, collection)

    def let_the_other_one_in(real: Any, arguments: Any, options: Any) -> Any:
        theirs = committer(store, other, place.open_collection(store))
        monkeypatch.setattr(theirs, "_books", _later(theirs))
        theirs.add(ingested({"a": 2}, "newest"))
        theirs.flush()
        return real(*arguments, **options)

    on_call(monkeypatch, "intend", let_the_other_one_in, holder=Store)
    writing.add(ingested({"a": 3, "b": 1}, "older"))
    writing.flush()

    assert found(collection) == one_copy({"a": 2}, "newest") | one_copy({"b": 1}, "older")
    assert states(store) == done("a", "b")
    assert (writing.committed.ingested, writing.committed.elsewhere) == ({"b"}, {"a"})
    units = {unit.unit_id: (unit.state, unit.chunks) for unit in store.units(late.job_id)}
    assert units == {"a": (UnitState.DONE, 0), "b": (UnitState.DONE, 1)}
    assert_table_equals_ledger(collection, store)


def _later(made: Any) -> Any:
    return replace(made._books, checked_at_ns=made._books.checked_at_ns + 1)
