"""Whatever happens in the middle of a commit: one copy of each document, and a true ledger."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lance
import lancedb
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import IntegrityError, LeaseLostError, WriteConflictError
from lexigram_ray.core.types import JobStatus, Outcome
from lexigram_ray.jobs import commit as commit_module
from lexigram_ray.jobs import prune
from lexigram_ray.jobs.reconcile import check_rows
from lexigram_ray.jobs.records import LedgerState, UnitState
from lexigram_ray.jobs.report import Progress
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import remove_documents, replace_documents
from tests.collections_data import documents
from tests.contract.store_data import gone
from tests.integration.commit_data import (
    NAME,
    Place,
    claim_job,
    commit,
    ended,
    found,
    ingested,
    one_copy,
    spilled,
)
from tests.integration.local_ingest import ingest_here
from tests.tables import sources

REPOSITORY = Path(__file__).parents[2]
CHILD_SECONDS = 60.0
KNOWN_DEFECT = "known defect, see the comment above"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "state")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open_store() as opened:
        yield opened


@pytest.fixture
def collection(place: Place, store: Store) -> Collection:
    return place.open_collection(store)


def states(store: Store) -> dict[str, LedgerState]:
    return {each: entry.state for each, entry in store.ledger(NAME).items()}


def done(*ids: str) -> dict[str, LedgerState]:
    return dict.fromkeys(ids, LedgerState.DONE)


def assert_table_equals_ledger(collection: Collection, store: Store) -> None:
    check_rows(collection, store.ledger(NAME).values())


def child(command: str, place: Place, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.commit_child", command, str(place.root)]
        + [str(argument) for argument in arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_death(process: subprocess.Popen[str]) -> None:
    """Wait until the child has killed itself; any other end is a fault of the test."""
    process.communicate(timeout=CHILD_SECONDS)
    assert process.returncode == -signal.SIGKILL


def on_call(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wrapped: Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any],
    *,
    times: int = 1,
    holder: Any = commit_module,
) -> list[Sequence[Any]]:
    """Let the first calls of a function go through `wrapped`; returns the list of all calls."""
    real = getattr(holder, name)
    calls: list[Sequence[Any]] = []

    def hooked(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) <= times:
            return wrapped(real, arguments, options)
        return real(*arguments, **options)

    monkeypatch.setattr(holder, name, hooked)
    return calls


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
    whole = [one_copy(before, "old") | one_copy(each, "new") for each in at_death_cases(wanted)]
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


def at_death_cases(wanted: dict[str, int]) -> list[dict[str, int]]:
    """What may have been written: nothing, everything, or the first of three spilled ones."""
    first = next(iter(wanted))
    return [{}, {first: wanted[first]}, wanted]


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


# DEFECT in jobs/commit.py (_record_outcomes) and jobs/prune.py (remove): rows are removed without
# an intent before it. Killed in between, the ledger says `done` of a document that has no rows; a
# file that comes back with its old content is `unchanged` then, and can never be found again.
# `record_intent` before `remove_documents` would make the next run look again.
@pytest.mark.chaos
@pytest.mark.xfail(strict=True, raises=AssertionError, reason=KNOWN_DEFECT)
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
    assert store.units(claim.job_id) == []

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


def test_a_stale_claim_takes_no_rows_away(store: Store, collection: Collection) -> None:
    commit(store, claim_job(store, "earlier"), collection, ingested({"a": 3}))
    stale = claim_job(store, "job", owner=gone())
    claim_job(store, "job")
    with pytest.raises(LeaseLostError):
        commit(store, stale, collection, ended(Outcome.SKIPPED, ["a"]))
    assert found(collection) == one_copy({"a": 3})


# -- Two jobs, two stores, other writers -----------------------------------------------------------


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
    assert min(times) >= 3, times

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


LANCEDB_WRITES = [update_by_lancedb, delete_by_lancedb, optimize_by_lancedb, add_by_lancedb]

# DEFECT in jobs/commit.py (_record_outcomes) and jobs/prune.py (remove): `remove_documents` starts
# from one version and is refused when another commit came first, as it must be, but nobody tries
# again as `_write` does: the whole run ends with WriteConflictError.
NOT_TRIED_AGAIN = pytest.mark.xfail(strict=True, raises=WriteConflictError, reason=KNOWN_DEFECT)
REMOVALS = [
    pytest.param(update_by_lancedb, marks=NOT_TRIED_AGAIN),
    pytest.param(delete_by_lancedb, marks=NOT_TRIED_AGAIN),
    pytest.param(optimize_by_lancedb, marks=NOT_TRIED_AGAIN),
    add_by_lancedb,
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


# DEFECT in jobs/commit.py (_write_once): removed rows are counted from the table's length before
# and after, so that what others add meanwhile is taken off: here the report says -2. Lance's own
# answer to the merge (rows updated and deleted) would be exact.
@pytest.mark.xfail(strict=True, raises=AssertionError, reason=KNOWN_DEFECT)
def test_rows_that_others_add_meanwhile_do_not_change_our_count_of_removed_rows(
    store: Store,
    collection: Collection,
    lancedb_table: lancedb.table.Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def add_first(real: Any, arguments: Any, options: Any) -> int:
        lancedb_table.checkout_latest()
        add_by_lancedb(lancedb_table)
        return real(*arguments, **options)

    on_call(monkeypatch, "replace_documents", add_first)
    result = commit(store, claim_job(store, "job"), collection, ingested({"new": 4}))
    assert found(collection).keys() == {"new", "added"}
    assert result.committed.chunks_removed == 0


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

    on_call(monkeypatch, "remove_documents", write_first)
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

    on_call(monkeypatch, "remove_documents", write_first, holder=prune)
    entries = [store.ledger(NAME)["a"]]
    prune.remove(store, claim_job(store, "job"), collection, entries, 30.0)
    assert "a" not in found(collection)
    assert states(store)["a"] is LedgerState.REMOVED


def test_a_collection_that_is_changed_during_every_try_is_an_error_that_says_so(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_module, "CONFLICT_TRIES", 3)

    def refuse(*_: Any) -> int:
        raise WriteConflictError("another commit came first")

    calls = on_call(monkeypatch, "replace_documents", refuse, times=1_000)
    with pytest.raises(WriteConflictError, match=r"changed by others during .* 3 tries"):
        commit(store, claim_job(store, "job"), collection, ingested({"a": 3}))
    assert len(calls) == 3
    assert states(store) == {"a": LedgerState.WRITING}


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

    shrunk = commit(store, claim, collection, spilled("large", 150, file, "second"))
    assert found(collection)["large"] == one_copy({"large": 150}, "second")["large"]
    assert shrunk.committed.chunks_removed == 1_234
    assert not file.exists()
    assert states(store) == done("before", "large", "after")
    assert_table_equals_ledger(collection, store)


def test_a_document_whose_text_is_gone_loses_its_rows_and_one_that_fails_keeps_them(
    store: Store, collection: Collection
) -> None:
    claim = claim_job(store, "job")
    commit(store, claim, collection, ingested({"emptied": 3, "broken": 2, "other": 1}))
    result = commit(
        store,
        claim,
        collection,
        ended(Outcome.SKIPPED, ["emptied", "never-seen"]),
        ended(Outcome.FAILED, ["broken"]),
    )
    assert found(collection) == one_copy({"broken": 2, "other": 1})
    assert result.committed.chunks_removed == 3
    ledger = store.ledger(NAME)
    assert {each: (entry.state, entry.chunks) for each, entry in ledger.items()} == {
        "emptied": (LedgerState.SKIPPED, 0),
        "never-seen": (LedgerState.SKIPPED, 0),
        "broken": (LedgerState.FAILED, 2),
        "other": (LedgerState.DONE, 1),
    }


# -- The last check of a run -----------------------------------------------------------------------


def delete_one_row(collection: Collection) -> None:
    collection.dataset.delete("id = 'a:1'")


def double_one_row(collection: Collection) -> None:
    row = collection.dataset.to_table(filter="id = 'a:1'")
    lance.write_dataset(row, str(collection.path), mode="append")


def delete_all_rows(collection: Collection) -> None:
    remove_documents(collection, ["a"])


@pytest.mark.parametrize(
    ("behind_our_back", "rows"), [(delete_one_row, 2), (double_one_row, 4), (delete_all_rows, 0)]
)
def test_rows_that_were_changed_behind_our_back_are_found_and_their_document_is_named(
    store: Store,
    collection: Collection,
    behind_our_back: Callable[[Collection], None],
    rows: int,
) -> None:
    commit(store, claim_job(store, "job"), collection, ingested({"a": 3, "b": 2}))
    assert_table_equals_ledger(collection, store)
    behind_our_back(collection)
    with pytest.raises(IntegrityError) as raised:
        assert_table_equals_ledger(collection, store)
    assert f"/docs/a.txt ({rows} rows instead of 3)" in raised.value.message
    assert "/docs/b.txt" not in raised.value.message


def test_many_damaged_documents_are_counted_and_five_are_named(
    store: Store, collection: Collection
) -> None:
    ids = [f"d{number}" for number in range(9)]
    commit(store, claim_job(store, "job"), collection, ingested(dict.fromkeys(ids, 2)))
    remove_documents(collection, ids[:7])
    with pytest.raises(IntegrityError, match=r"and 2 more$") as raised:
        assert_table_equals_ledger(collection, store)
    assert raised.value.message.count("rows instead of 2") == 5


@pytest.fixture
def three_texts(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("tides", "bread", "chess"):
        (folder / f"{name}.txt").write_text(f"What there is to say about {name}.")
    return folder


def lose_bread(state: Path) -> Callable[[Progress], None]:
    """Return a listener that deletes the rows of one document just before the last check."""

    def listen(progress: Progress) -> None:
        if progress.phase == "checking":
            path = state / "lancedb" / f"{NAME}.lance"
            lance.dataset(str(path)).delete("source LIKE '%bread.txt'")

    return listen


def test_a_run_that_loses_rows_before_its_end_fails_with_the_code_integrity(
    tmp_path: Path, three_texts: Path
) -> None:
    state = tmp_path / "state"
    config = load_config(state_dir=state)
    report = ingest_here(config, three_texts, lose_bread(state))
    assert report.status is JobStatus.FAILED
    assert report.error is not None
    assert "bread.txt (0 rows instead of 1)" in report.error
    assert report.documents.found == report.documents.ingested == 3
    with Store.open(config.paths.store_url) as store:
        job = store.get(report.job_id)
    assert job is not None
    assert (job.status, job.error_code, job.error) == (JobStatus.FAILED, "integrity", report.error)
    assert job.summary["status"] == "failed"


# DEFECT in jobs/run.py and jobs/plan.py: after a run has failed with `integrity`, the ledger still
# says `done` of the documents that it named. The next run calls them unchanged, checks only what it
# wrote itself, and ends `completed` without them; not even the error's own hint (touch those files
# and run again) brings them back, as their content is the same.
@pytest.mark.xfail(strict=True, raises=AssertionError, reason=KNOWN_DEFECT)
@pytest.mark.parametrize("as_the_hint_says", [False, True], ids=["run again", "touch, run again"])
def test_a_run_after_lost_rows_brings_them_back_or_fails_again(
    tmp_path: Path, three_texts: Path, as_the_hint_says: bool
) -> None:
    state = tmp_path / "state"
    config = load_config(state_dir=state)
    assert ingest_here(config, three_texts, lose_bread(state)).status is JobStatus.FAILED
    if as_the_hint_says:
        (three_texts / "bread.txt").touch()
    again = ingest_here(config, three_texts)
    assert "bread.txt" in sources(state, NAME) or again.status is JobStatus.FAILED
