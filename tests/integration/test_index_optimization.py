"""Collections are looked after while they are written and searched: nothing is lost or refused."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lance.optimize
import numpy as np
import pyarrow as pa
import pytest
from lance.optimize import Compaction
from numpy.typing import NDArray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import DiskFullError, UsageError, WriteConflictError
from lexigram_ray.jobs.executor import Execution
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance import index_optimization
from lexigram_ray.maintenance.duty import DutyContext
from lexigram_ray.vectors import upkeep, vector_upkeep
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.compaction_plan import CompactionRules
from lexigram_ray.vectors.index_building import partitions_of
from lexigram_ray.vectors.index_plan import IndexRules, VectorStep
from lexigram_ray.vectors.recall import share_found
from lexigram_ray.vectors.search import search
from lexigram_ray.vectors.search_tuning import keep_tuning, read_tuning
from lexigram_ray.vectors.upkeep import Surroundings, Upkeep, UpkeepRules, keep_up
from lexigram_ray.vectors.versions import clean_versions, disk_use
from lexigram_ray.vectors.writing import replace_documents
from tests.collections_data import DIMENSION, SETTINGS, STORE_ID, documents
from tests.integration.commit_data import (
    NAME,
    Place,
    assert_table_equals_ledger,
    claim_job,
    commit,
    ingested,
)

RULES = UpkeepRules(
    index=IndexRules(min_rows=1_000),
    compaction=CompactionRules(target_rows=100_000),
    keep_versions=timedelta(hours=1),
)
COMMITS, DOCUMENTS, CHUNKS = 6, 25, 20
ROWS = COMMITS * DOCUMENTS * CHUNKS


def of(number: int, version: str = "first") -> tuple[dict[str, int], str]:
    """Return the documents of one commit."""
    return {f"d{number}-{each}": CHUNKS for each in range(DOCUMENTS)}, version


def rows_of(counts: Mapping[str, int], version: str, seed: int) -> pa.Table:
    """Return whole documents whose vectors all differ."""
    table = documents(counts, version)
    numbers = np.random.default_rng(seed).standard_normal((len(table), DIMENSION))
    vectors = (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSION)
    pages = pa.array(np.arange(len(table)) % 30, pa.int32())
    table = table.set_column(table.schema.names.index("vector"), table.field("vector"), column)
    return table.set_column(table.schema.names.index("page"), table.field("page"), pages)


def execution(number: int, version: str = "first") -> Execution:
    counts, version = of(number, version)
    return replace(ingested(counts, version), rows=rows_of(counts, version, number))


def query(seed: int) -> NDArray[np.float32]:
    vector = np.random.default_rng(1_000 + seed).standard_normal(DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def surroundings(turn: Callable[[], object] = nullcontext, *, hours: float = 0.0) -> Surroundings:
    return Surroundings(
        turn=turn,  # pyright: ignore[reportArgumentType]
        now=lambda: datetime.now(UTC) + timedelta(hours=hours),
        rng=np.random.default_rng(5),
        queries=50,
        cores=2,
        tell=lambda _: None,
        should_stop=lambda: False,
    )


def look_after(collection: Collection, *, hours: float = 0.0) -> Upkeep:
    return keep_up(collection, RULES, surroundings(hours=hours))


@pytest.fixture(scope="module")
def many_commits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many") / "lancedb"
    collection = Collections(root).create(NAME, SETTINGS, STORE_ID)
    for number in range(COMMITS):
        counts, version = of(number)
        replace_documents(collection, rows_of(counts, version, number), delete_for=[])
    return root


@pytest.fixture(scope="module")
def looked_after(many_commits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("after") / "lancedb"
    shutil.copytree(many_commits, root)
    done = look_after(Collections(root).open(NAME))
    assert (done.failed, done.put_off) == ([], [])
    return root


def copied(root: Path, folder: Path) -> Collection:
    shutil.copytree(root, folder / "lancedb")
    return Collections(folder / "lancedb").open(NAME)


def found(
    collection: Collection, vector: NDArray[np.float32], limit: int, where: str | None = None
) -> list[str]:
    hits = search(collection, mode="vector", text=None, vector=vector, limit=limit, where=where)
    return [hit.id for hit in hits]


def exactly(
    collection: Collection, vector: NDArray[np.float32], limit: int, where: str | None = None
) -> list[str]:
    """Search by arithmetic alone."""
    table = collection.dataset.to_table(columns=["id", "vector"], filter=where)
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, DIMENSION)
    order = np.argsort(-(vectors @ vector), kind="stable")[:limit]
    return table["id"].take(pa.array(order)).to_pylist()


def test_fragments_become_one_and_the_index_finds_what_exact_search_finds(
    many_commits: Path, tmp_path: Path
) -> None:
    collection = copied(many_commits, tmp_path)
    done = look_after(collection)

    assert (done.before.fragments, done.after.fragments) == (COMMITS, 1)
    assert done.vector is not None
    assert done.vector.plan.step is VectorStep.BUILD
    assert collection.count_rows() == ROWS
    shares = [
        share_found(exactly(collection, query(each), 10), found(collection, query(each), 10))
        for each in range(50)
    ]
    assert float(np.mean(shares)) >= 0.95
    again = look_after(collection)
    assert again.vector is not None
    assert again.vector.plan.step is VectorStep.NOTHING
    assert again.compacted.groups == 0


def test_conditions_and_both_searches_together_find_the_right_rows_by_the_index(
    looked_after: Path,
) -> None:
    collection = Collections(looked_after).open(NAME)

    for condition in ("page = 7", "page < 15"):
        right = exactly(collection, query(1), 10, condition)
        assert found(collection, query(1), 10, condition) == right
    hits = search(
        collection, mode="hybrid", text="passage", vector=query(2), limit=5, where="page = 3"
    )
    assert {hit.page for hit in hits} == {3}
    assert len(hits) == 5


def test_rows_that_are_in_no_index_yet_are_found_and_then_folded_in(
    looked_after: Path, tmp_path: Path
) -> None:
    collection = copied(looked_after, tmp_path)
    new = rows_of({"new": 100}, "new", 77)
    replace_documents(collection, new, delete_for=[])
    vector = np.asarray(new["vector"][42].as_py(), np.float32)

    assert found(collection, vector, 1) == ["new:42"]
    done = look_after(collection)
    assert done.vector is not None
    assert done.vector.plan.step is VectorStep.FOLD_IN
    assert found(collection, vector, 1) == ["new:42"]


def test_writers_and_searches_go_on_while_a_collection_is_looked_after(
    store: Store, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    collection = place.open_collection(store)
    first = claim_job(store, "first")
    for number in range(COMMITS):
        commit(store, first, collection, execution(number))
    over, errors = threading.Event(), list[BaseException]()
    counts = {"commits": 0, "searches": 0}

    def write() -> None:
        ours, claim = place.open_collection(store), claim_job(store, "writer")
        while not over.is_set():
            number = counts["commits"]
            commit(store, claim, ours, execution(number % 9, f"v{number}"))
            counts["commits"] += 1

    def ask() -> None:
        ours = place.collections.open(NAME)
        while not over.is_set():
            ours.refresh()
            assert len(found(ours, query(counts["searches"]), 10)) == 10
            counts["searches"] += 1

    def turn() -> object:
        return store.turn(NAME, Owner.current(), 30.0)

    with caplog.at_level(logging.INFO, logger="lexigram_ray"):
        others = [_started(write, errors), _started(ask, errors)]
        ours = place.collections.open(NAME)
        done = [keep_up(ours, RULES, surroundings(turn)) for _ in range(2)]
        over.set()
        for other in others:
            other.join()

    assert errors == []
    assert [each.failed for each in done] == [[], []]
    assert counts["commits"] > 0
    assert counts["searches"] > 0
    assert not [record for record in caplog.records if "refused, try" in record.getMessage()]
    assert_table_equals_ledger(collection, store)
    look_after(ours)
    assert ours.count_rows() == len(store.ledger(NAME)) * CHUNKS
    assert_table_equals_ledger(collection, store)


def _started(work: Callable[[], None], errors: list[BaseException]) -> threading.Thread:
    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
            raise

    thread = threading.Thread(target=guarded)
    thread.start()
    return thread


def test_a_merge_that_a_writer_has_come_before_is_put_off_and_leaves_no_file(
    many_commits: Path, tmp_path: Path
) -> None:
    collection = copied(many_commits, tmp_path)
    counts, version = {"d0-0": CHUNKS}, "theirs"

    @contextmanager
    def late_turn() -> Generator[None]:
        theirs = Collections(collection.path.parent).open(NAME)
        replace_documents(theirs, rows_of(counts, version, 9), delete_for=list(counts))
        yield

    before = {file.name for file in (collection.path / "data").iterdir()}
    done = upkeep.compact(collection, RULES.compaction, turn=late_turn, should_stop=lambda: False)

    assert (done.refused, done.groups) == (1, 0)
    assert collection.count_rows() == ROWS
    added = {file.name for file in (collection.path / "data").iterdir()} - before
    assert len(added) == 1
    assert disk_use(collection).fragments == COMMITS + 1


def test_a_merge_that_was_committed_and_told_as_a_conflict_loses_no_file(
    many_commits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = copied(many_commits, tmp_path)

    class LostAnswer:
        plan = staticmethod(Compaction.plan)

        @staticmethod
        def commit(*given: object) -> None:
            Compaction.commit(*given)  # pyright: ignore[reportArgumentType]
            raise OSError("Commit conflict for version 1: the answer was lost")

    monkeypatch.setattr(lance.optimize, "Compaction", LostAnswer)
    done = upkeep.compact(collection, RULES.compaction, turn=nullcontext, should_stop=lambda: False)

    assert done.refused == 1
    table = Collections(collection.path.parent).open(NAME).dataset.to_table()
    assert table.num_rows == ROWS


def test_old_versions_go_even_where_merging_fails(
    many_commits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = copied(many_commits, tmp_path)

    def full(*_: object, **__: object) -> None:
        raise DiskFullError("no space is left")

    monkeypatch.setattr(upkeep, "compact", full)
    monkeypatch.setattr(upkeep, "keep_up_vector_index", full)
    done = look_after(collection, hours=2)

    assert [what for what, _ in done.failed] == ["merging fragments", "indexing vectors"]
    assert done.cleaned.versions >= COMMITS
    assert (done.after.versions, done.after.dead_bytes) == (1, 0)
    assert collection.count_rows() == ROWS


def test_a_version_that_was_replaced_within_the_hour_stays_and_refuses_its_late_writer(
    many_commits: Path, tmp_path: Path
) -> None:
    collection = copied(many_commits, tmp_path)
    late = Collections(collection.path.parent).open(NAME)
    replace_documents(collection, documents({"d0-0": 1}, "new"), delete_for=["d0-0"])
    soon = datetime.now(UTC) + timedelta(minutes=30)
    clean_versions(collection, keep=timedelta(hours=1), now=soon)

    with pytest.raises(WriteConflictError):
        replace_documents(late, documents({"d0-0": 2}, "late"), delete_for=["d0-0"])
    with pytest.raises(ValueError, match="an hour"):
        clean_versions(collection, keep=timedelta(minutes=59), now=soon)


def test_old_versions_go_in_the_writers_turn(many_commits: Path, tmp_path: Path) -> None:
    collection = copied(many_commits, tmp_path)
    taken: list[int] = []

    @contextmanager
    def turn() -> Generator[None]:
        before = disk_use(collection).versions
        yield
        taken.append(before - disk_use(collection).versions)

    done = keep_up(collection, RULES, surroundings(turn, hours=2))

    assert done.cleaned.versions > 0
    assert taken[-1] == done.cleaned.versions


def test_a_retraining_that_is_killed_before_its_measurement_is_measured_by_the_next_run(
    looked_after: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = copied(looked_after, tmp_path)
    counts = {f"more{number}": CHUNKS for number in range(DOCUMENTS * COMMITS)}
    replace_documents(collection, rows_of(counts, "more", 78), delete_for=[])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vector_upkeep, "tune", killed)
        with pytest.raises(KeyboardInterrupt):
            look_after(collection)
    between = read_tuning(Collections(collection.path.parent).open(NAME).dataset)
    assert between is not None
    assert not between.is_measured

    done = look_after(collection)

    assert done.vector is not None
    assert done.vector.plan.step is VectorStep.TUNE
    tuning = read_tuning(collection.dataset)
    assert tuning is not None
    assert tuning.is_measured
    assert tuning.partitions == partitions_of(collection, "vector_idx") > between.partitions


def context(store: Store, state: Path, *, dry_run: bool = False, **options: object) -> DutyContext:
    return DutyContext(
        config=WorkersConfig(state_dir=state),
        store=store,
        options=options,
        now=lambda: datetime.now(UTC),
        tell=lambda _: None,
        should_stop=lambda: False,
        dry_run=dry_run,
    )


def test_the_duty_reports_figures_and_a_dry_run_changes_nothing(
    store: Store, many_commits: Path, tmp_path: Path
) -> None:
    collection = copied(many_commits, tmp_path)
    version = collection.version
    planned = index_optimization.run(context(store, tmp_path, dry_run=True, min_rows=1_000))
    assert "build" in planned.lines[0]
    assert collection.refresh() == version

    report = index_optimization.run(context(store, tmp_path, min_rows=1_000))
    collections = report.figures["collections"]
    assert isinstance(collections, dict)
    figures = collections[NAME]
    assert figures["after"]["fragments"] == 1
    assert figures["vector_index"]["after"]["recall_at_10"] >= 0.95
    assert not report.faults
    with pytest.raises(UsageError, match="min_row"):
        index_optimization.run(context(store, tmp_path, min_row=1))


def test_an_index_that_finds_too_little_is_not_used_and_is_a_fault(
    store: Store, looked_after: Path, tmp_path: Path
) -> None:
    collection = copied(looked_after, tmp_path)
    tuning = read_tuning(collection.dataset)
    assert tuning is not None
    keep_tuning(collection, replace(tuning, usable=False, recall_at_10=0.5))

    assert found(collection, query(3), 10) == exactly(collection, query(3), 10)
    report = index_optimization.run(context(store, tmp_path, min_rows=1_000))
    assert [fault.name for fault in report.faults] == [f"collection {NAME}"]
    assert "50%" in report.faults[0].detail
