"""Other jobs, other stores and LanceDB's users write into the same collection: nobody is lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lance
import lancedb
import pytest

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs import conflicts, removal
from lexigram_ray.jobs.records import LedgerState, UnitState
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import replace_documents
from tests.collections_data import documents
from tests.integration.commit_data import (
    CHILD_SECONDS,
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
)


@pytest.fixture
def no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns that hold nobody up, as if each had expired while its holder was paused."""
    monkeypatch.setattr(Store, "turn", lambda *_: nullcontext())


def test_what_another_job_has_done_from_the_same_content_is_not_written_again(
    place: Place, store: Store, collection: Collection
) -> None:
    commit(store, claim_job(store, "one"), collection, ingested({"a": 3, "b": 2}))
    version = collection.version
    other = claim_job(store, "other")
    later = place.open_collection(store)
    result = commit(store, other, later, ingested({"a": 3, "b": 2}))
    assert later.refresh() == version
    assert result.committed.elsewhere == {"a", "b"}
    assert result.committed.ingested == set()
    units = store.units(other.job_id)
    assert {(unit.unit_id, unit.state, unit.chunks, unit.computed) for unit in units} == {
        ("a", UnitState.DONE, 0, 0),
        ("b", UnitState.DONE, 0, 0),
    }

    result = commit(store, other, later, ingested({"b": 2, "c": 4}), ingested({"a": 1}, "new"))
    assert result.committed.elsewhere == {"b"}
    assert result.committed.ingested == {"a", "c"}
    assert found(collection) == one_copy({"b": 2, "c": 4}) | one_copy({"a": 1}, "new")
    assert_table_equals_ledger(collection, store)


def test_a_large_document_that_another_job_has_done_leaves_no_file(
    store: Store, collection: Collection, tmp_path: Path
) -> None:
    commit(store, claim_job(store, "one"), collection, ingested({"a": 150}))
    file = tmp_path / "a.arrow"
    result = commit(store, claim_job(store, "other"), collection, spilled("a", 150, file))
    assert result.committed.elsewhere == {"a"}
    assert not file.exists()


@pytest.mark.usefixtures("no_turns")
def test_a_job_that_is_overtaken_between_intent_and_write_starts_again_from_the_intent(
    place: Place, store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = claim_job(store, "one"), claim_job(store, "other")
    theirs = place.open_collection(store)

    def let_the_other_one_in(real: Any, arguments: Any, options: Any) -> int:
        commit(store, other, theirs, ingested({"a": 5}, "theirs"))
        return real(*arguments, **options)

    on_call(monkeypatch, "replace_documents", let_the_other_one_in)
    result = commit(store, one, collection, ingested({"a": 2, "b": 2}, "ours"))
    assert result.committed.ingested == {"a", "b"}
    assert found(collection) == one_copy({"a": 2, "b": 2}, "ours")
    assert states(store) == done("a", "b")
    assert_table_equals_ledger(collection, store)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("turns", ["with-turns", "without-turns"])
def test_two_processes_that_write_the_same_documents_never_mix_them(
    place: Place, store: Store, collection: Collection, turns: str
) -> None:
    writers = [
        child("rewrite", place, who, ids, 5.0, turns)
        for who, ids in (("x", "a,b,c"), ("y", "b,c,d"))
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    times = [int(writer.communicate(timeout=CHILD_SECONDS)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    # Without turns one of them may starve; nothing may be lost or mixed all the same.
    assert min(times) >= (3 if turns == "with-turns" else 1), times

    collection.refresh()
    for version in collection.dataset.versions():
        assert_whole(collection.dataset.checkout_version(version["version"]))
    assert states(store) == done("a", "b", "c", "d")
    assert_table_equals_ledger(collection, store)


def assert_whole(dataset: lance.LanceDataset) -> None:
    """Check that every document is of one writing, which names its length."""
    ids: dict[str, list[str]] = defaultdict(list)
    writings: dict[str, set[str]] = defaultdict(set)
    for row in dataset.to_table(columns=["id", "document_id", "text"]).to_pylist():
        ids[row["document_id"]].append(row["id"])
        writings[row["document_id"]].add(row["text"].split()[0])
    for document, names in writings.items():
        assert len(names) == 1, f"version {dataset.version}: {document} is of {names}"
        length = int(names.pop().rsplit(".", 1)[1])
        assert sorted(ids[document]) == [f"{document}:{index}" for index in range(length)]


def test_a_collection_of_another_store_keeps_no_old_row_of_a_shrunk_document(
    place: Place, store: Store, tmp_path: Path
) -> None:
    # Its ledger is not ours: that we never intended to write a document says nothing.
    with Place(tmp_path / "elsewhere").open_store() as foreign:
        collection = place.open_collection(store, foreign.store_id)
        replace_documents(collection, documents({"a": 7, "b": 3}, "old"), delete_for=[])
    commit(store, claim_job(store, "job"), collection, ingested({"a": 2, "c": 1}, "new"))
    assert found(collection) == one_copy({"b": 3}, "old") | one_copy({"a": 2, "c": 1}, "new")
    assert states(store) == done("a", "c")


def update_by_lancedb(table: lancedb.table.Table) -> None:
    table.update(where="document_id = 'a'", values={"title": "theirs"})


def delete_by_lancedb(table: lancedb.table.Table) -> None:
    table.delete("document_id = 'a'")


def optimize_by_lancedb(table: lancedb.table.Table) -> None:
    table.add(documents({"more": 1}, "theirs"))
    table.optimize()


def add_by_lancedb(table: lancedb.table.Table) -> None:
    table.add(documents({"added": 2}, "theirs"))


def merge_by_lancedb(table: lancedb.table.Table) -> None:
    merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    merge.execute(documents({"merged": 2}, "theirs"))


LANCEDB_WRITES = [
    update_by_lancedb,
    delete_by_lancedb,
    optimize_by_lancedb,
    add_by_lancedb,
    merge_by_lancedb,
]


REMOVALS = [
    update_by_lancedb,
    delete_by_lancedb,
    optimize_by_lancedb,
    add_by_lancedb,
    merge_by_lancedb,
]


@pytest.fixture
def lancedb_table(collection: Collection) -> lancedb.table.Table:
    return lancedb.connect(str(collection.path.parent)).open_table(NAME)


@pytest.mark.parametrize("write", LANCEDB_WRITES)
def test_a_lancedb_write_between_our_reading_and_our_writing_costs_a_try_not_the_run(
    store: Store,
    collection: Collection,
    lancedb_table: lancedb.table.Table,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[lancedb.table.Table], None],
) -> None:
    for each in ("a", "b"):  # two fragments, so that there is something to compact
        commit(store, claim_job(store, each), collection, ingested({each: 5}, "old"))

    def write_first(real: Any, arguments: Any, options: Any) -> int:
        lancedb_table.checkout_latest()
        write(lancedb_table)
        return real(*arguments, **options)

    on_call(monkeypatch, "replace_documents", write_first)
    result = commit(store, claim_job(store, "job"), collection, ingested({"a": 3, "new": 4}, "new"))
    rows = found(collection)
    assert rows | one_copy({"a": 3, "new": 4}, "new") | one_copy({"b": 5}, "old") == rows
    assert result.committed.ingested == {"a", "new"}
    assert states(store) == done("a", "b", "new")
    titles = collection.dataset.to_table(columns=["title"], filter="document_id = 'a'")
    assert set(titles["title"].to_pylist()) == {""}


def test_rows_that_others_add_meanwhile_do_not_change_our_count_of_removed_rows(
    store: Store,
    collection: Collection,
    lancedb_table: lancedb.table.Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def merge_first(real: Any, arguments: Any, options: Any) -> int:
        lancedb_table.checkout_latest()
        merge_by_lancedb(lancedb_table)
        return real(*arguments, **options)

    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 5}, "old"))
    on_call(monkeypatch, "replace_documents", merge_first)
    claim = claim_job(store, "job")
    commit(store, claim, collection, ingested({"a": 3, "new": 4}, "new"))
    assert found(collection).keys() == {"a", "new", "merged"}
    assert store.unit_totals(claim.job_id).replaced == 5


@pytest.mark.parametrize("write", REMOVALS)
def test_a_lancedb_write_between_our_reading_and_our_removing_costs_a_try_not_the_run(
    store: Store,
    collection: Collection,
    lancedb_table: lancedb.table.Table,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[lancedb.table.Table], None],
) -> None:
    for each in ("a", "b"):
        commit(store, claim_job(store, each), collection, ingested({each: 5}))

    def write_first(real: Any, arguments: Any, options: Any) -> tuple[int, int]:
        lancedb_table.checkout_latest()
        write(lancedb_table)
        return real(*arguments, **options)

    on_call(monkeypatch, "remove_documents", write_first, holder=removal)
    commit(store, claim_job(store, "job"), collection, ended(Outcome.SKIPPED, ["a"]))
    assert "a" not in found(collection)
    assert states(store)["a"] is LedgerState.SKIPPED


@pytest.mark.parametrize("write", REMOVALS)
def test_a_lancedb_write_during_pruning_costs_a_try_not_the_run(
    store: Store,
    collection: Collection,
    lancedb_table: lancedb.table.Table,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[lancedb.table.Table], None],
) -> None:
    for each in ("a", "b"):
        commit(store, claim_job(store, each), collection, ingested({each: 5}))

    def write_first(real: Any, arguments: Any, options: Any) -> tuple[int, int]:
        lancedb_table.checkout_latest()
        write(lancedb_table)
        return real(*arguments, **options)

    on_call(monkeypatch, "remove_documents", write_first, holder=removal)
    entries = [store.ledger(NAME)["a"]]
    removal.prune(store, claim_job(store, "job"), collection, entries, 30.0)
    assert "a" not in found(collection)
    assert states(store)["a"] is LedgerState.REMOVED


def test_a_collection_that_is_changed_during_every_try_is_an_error_that_says_so(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conflicts, "TRIES", 3)

    def refuse(*_: Any) -> int:
        raise WriteConflictError("another commit came first")

    calls = on_call(monkeypatch, "replace_documents", refuse, times=1_000)
    with pytest.raises(WriteConflictError, match=r"changed by others during .* 3 tries"):
        commit(store, claim_job(store, "job"), collection, ingested({"a": 3}))
    assert len(calls) == 3
    assert states(store) == {"a": LedgerState.WRITING}
