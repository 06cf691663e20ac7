"""The duty `integrity_check`: tables broken on purpose, and sound ones beside writers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.ids import digest
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Claim, LedgerState
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance import integrity_check
from lexigram_ray.maintenance.duty import DutyReport, Fault
from lexigram_ray.vectors.audit import audit_table
from lexigram_ray.vectors.collection import ROWS_CHUNKER, Collection
from lexigram_ray.vectors.collections import Collections
from tests.collections_data import SETTINGS, documents, row, table_of
from tests.integration.commit_data import NAME, Place, claim_job, commit, ingested, on_call
from tests.integration.duties import claimed_run, context_of, run_duty
from tests.integration.local_ingest import ingest_here
from tests.tables import read

COUNTS = {f"d{number}": 3 for number in range(8)}


@pytest.fixture
def config(place: Place) -> WorkersConfig:
    return load_config(state_dir=place.root)


def _committed(store: Store, collection: Collection, counts: Mapping[str, int] = COUNTS) -> None:
    claim = claim_job(store, "seed")
    commit(store, claim, collection, ingested(counts))
    store.finish(claim, JobStatus.COMPLETED, summary={})


def _append(collection: Collection, rows: pa.Table) -> None:
    lance.write_dataset(rows, str(collection.path), mode="append")


def _replace_rows(collection: Collection, rows: pa.Table) -> None:
    dataset = lance.dataset(str(collection.path))
    dataset.merge_insert("id").when_matched_update_all().execute(rows)


def _said(faults: list[Fault] | tuple[Fault, ...]) -> dict[str, str]:
    return {fault.name.removeprefix(f"collection {NAME}: "): fault.detail for fault in faults}


def _figures(report: DutyReport, name: str = NAME) -> Mapping[str, object]:
    collections = report.figures["collections"]
    assert isinstance(collections, dict)
    return collections[name]


def test_everything_that_was_broken_is_named_and_nothing_else(
    place: Place, config: WorkersConfig, store: Store, collection: Collection
) -> None:
    _committed(store, collection)
    dataset = lance.dataset(str(collection.path))
    dataset.delete("id IN ('d0:1', 'd1:0', 'd1:1', 'd1:2')")
    _append(collection, documents({"d2": 1}))
    not_a_number = np.full(SETTINGS.dimension, np.nan, np.float32)
    _replace_rows(
        collection, table_of([row("d3", 1, text="first passage 1 of d3", vector=not_a_number)])
    )
    long = np.full(SETTINGS.dimension, 0.5, np.float32)
    _replace_rows(collection, table_of([row("d4", 1, text="first passage 1 of d4", vector=long)]))
    _replace_rows(collection, table_of([row("d5", 1, text="forged")]))
    _append(collection, documents({"stray": 2}))

    report = run_duty(integrity_check.run, config, store)

    assert _said(list(report.faults)) == {
        "/docs/d0.txt": "3 rows expected, 2 rows found",
        "/docs/d1.txt": "3 rows expected, no row found",
        "/docs/d2.txt": "4 rows that have only 3 ids between them",
        "/docs/d3.txt": "row d3:1 has a vector that is not finite",
        "/docs/d4.txt": "row d4:1 has a vector of length 1.414",
        "/docs/d5.txt": "its 3 rows are of another content than was recorded",
        "/docs/stray.txt": "2 rows, and the ledger does not know the document",
    }
    figures = _figures(report)
    assert (figures["rows"], figures["wrong"], figures["ids_repeated"]) == (23, 7, 1)
    assert figures["vectors_wrong"] == 2
    fixes = {fault.name.rpartition("/")[2]: fault.fix for fault in report.faults}
    assert fixes["d0.txt"] == f"lexigram-ray ingest /docs --collection {NAME} --prune"
    assert "remove_orphans=true" in fixes["stray.txt"]
    # Marked: not healed, so they are found again, and an ingestion will write them anew.
    again = run_duty(integrity_check.run, config, store, named=2)
    assert [fault.detail for fault in again.faults][2:] == ["5 more are wrong"]
    marked = {
        each for each, entry in store.ledger(NAME).items() if entry.state is LedgerState.WRITING
    }
    assert marked == {f"d{number}" for number in range(6)}


def test_the_command_that_is_named_heals_what_was_found(tmp_path: Path) -> None:
    config = load_config(state_dir=tmp_path / "state")
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("tides", "bees", "chess"):
        (docs / f"{name}.txt").write_text(f"What there is to say about {name}.")
    ingest_here(config, docs)
    before = read(config.state_dir, "docs").drop_columns(["job_id", "created_at"])
    dataset = lance.dataset(str(config.paths.lancedb / "docs.lance"))
    dataset.delete("source LIKE '%tides%'")
    lance.write_dataset(dataset.to_table(filter="source LIKE '%bees%'"), dataset.uri, mode="append")
    with Store.open(config.paths.store_url) as store:
        dry = run_duty(integrity_check.run, config, store, dry_run=True)
        assert {entry.state for entry in store.ledger("docs").values()} == {LedgerState.DONE}
        report = run_duty(integrity_check.run, config, store)
        assert sorted(fault.fix for fault in report.faults) == [
            f"lexigram-ray ingest {docs / name}.txt --collection docs" for name in ("bees", "tides")
        ]
        assert all(fault.fix.startswith("lexigram-ray maintenance run") for fault in dry.faults)

        ingest_here(config, docs)

        report = run_duty(integrity_check.run, config, store)
        assert report.faults == []
    after = read(config.state_dir, "docs").drop_columns(["job_id", "created_at"])
    assert after.equals(before)


def test_a_check_beside_a_writer_gives_no_false_alarm(
    place: Place, config: WorkersConfig, store: Store, collection: Collection
) -> None:
    _committed(store, collection)
    enough = threading.Event()
    written: list[int] = []
    errors: list[Exception] = []

    def write() -> None:
        try:
            with place.open_store() as own:
                table = place.open_collection(own)
                for number in range(1_000):
                    if enough.is_set():
                        return
                    claim = claim_job(own, f"again {number}")
                    counts = {"d0": number % 4, "d1": 2, f"new{number}": 1}
                    commit(own, claim, table, ingested(counts, f"version {number}"))
                    own.finish(claim, JobStatus.COMPLETED, summary={})
                    written.append(number)
        except Exception as error:
            errors.append(error)
            raise

    writer = threading.Thread(target=write)
    writer.start()
    reports: list[DutyReport] = []
    try:
        # As long as enough checks had writes beside them.
        while writer.is_alive() and (len(reports) < 6 or len(written) < 6):
            reports.append(run_duty(integrity_check.run, config, store))
    finally:
        enough.set()
        writer.join()

    assert errors == []
    assert [report.faults for report in reports] == [[]] * len(reports)
    assert run_duty(integrity_check.run, config, store).faults == []


def test_what_is_written_between_a_look_at_the_table_and_one_at_the_ledger_is_no_fault(
    place: Place,
    config: WorkersConfig,
    store: Store,
    collection: Collection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _committed(store, collection)

    def write_first(
        real: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]
    ) -> Any:
        with place.open_store() as own:
            claim = claim_job(own, "meanwhile")
            table = place.open_collection(own)
            commit(own, claim, table, ingested({"d0": 5, "new": 2}, "second"))
            own.finish(claim, JobStatus.COMPLETED, summary={})
        return real(*arguments, **options)

    asked = on_call(monkeypatch, "ledger", write_first, holder=Store, times=1)
    report = run_duty(integrity_check.run, config, store)

    assert asked
    assert report.faults == []
    assert _figures(report)["version"] == collection.refresh()


def _begin_writing(store: Store, document_id: str) -> Claim:
    """Leave a document as a writer that was killed before its commit leaves it."""
    entry = store.ledger(NAME)[document_id]
    claim = claim_job(store, "replacing")
    new = replace(entry, state=LedgerState.WRITING, chunks=5, chunks_digest=digest(("new",)))
    store.record_intent(claim, [new])
    return claim


def test_a_document_is_no_fault_as_long_as_a_job_is_to_write_it(
    config: WorkersConfig, store: Store, collection: Collection
) -> None:
    _committed(store, collection)
    claim = _begin_writing(store, "d0")

    report = run_duty(integrity_check.run, config, store)
    assert report.faults == []
    assert _figures(report)["unfinished"] == 1
    assert store.ledger(NAME)["d0"].job_id == claim.job_id

    store.finish(claim, JobStatus.FAILED, error="gone", summary={})
    [fault] = run_duty(integrity_check.run, config, store).faults
    assert fault.detail == "5 rows expected, 3 rows found (its writing was begun and never ended)"


def test_rows_of_tables_are_checked_by_their_ids(
    place: Place, config: WorkersConfig, store: Store
) -> None:
    settings = replace(SETTINGS, chunker=ROWS_CHUNKER)
    collection = Collections(config.paths.lancedb).create("rows", settings, store.store_id)
    ids = [f"r{number}" for number in range(20)]
    _append(collection, table_of([row(each, 0, id=each) for each in ids]))
    report = run_duty(integrity_check.run, config, store)
    assert (report.faults, _figures(report, "rows")["ids"]) == ([], 20)

    _append(collection, table_of([row("r3", 0, id="r3"), row("r20", 0, id="r20", vector=None)]))

    report = run_duty(integrity_check.run, config, store, collection="rows")
    assert {fault.name: fault.detail for fault in report.faults} == {
        "collection rows: id r3": "2 rows have the id r3",
        "collection rows: id r20": "row r20 has no vector",
    }


def test_a_damaged_collection_and_a_foreign_table_hide_no_other(
    place: Place, config: WorkersConfig, store: Store, collection: Collection
) -> None:
    _committed(store, collection)
    lance.write_dataset(pa.table({"a": [1]}), str(config.paths.lancedb / "foreign.lance"))
    broken = Collections(config.paths.lancedb).create("broken", SETTINGS, store.store_id)
    _append(broken, documents({"b": 1}))
    for file in (broken.path / "data").iterdir():
        file.unlink()

    report = run_duty(integrity_check.run, config, store)

    assert [fault.name for fault in report.faults] == ["collection broken"]
    assert "a part of it is missing" in report.faults[0].detail
    assert _figures(report)["wrong"] == 0
    assert any(line.startswith("foreign: left alone") for line in report.lines)


def test_a_check_that_is_asked_to_stop_stops_and_accuses_nobody(
    config: WorkersConfig, store: Store, collection: Collection
) -> None:
    _committed(store, collection)
    lance.dataset(str(collection.path)).delete("document_id = 'd0'")
    asked = iter([False, True, True])
    context = replace(
        context_of(config, store, claimed_run(store, integrity_check.__name__)),
        should_stop=lambda: next(asked),
    )

    report = integrity_check.run(context)

    assert (report.faults, report.lines) == ([], [f"{NAME}: not checked to the end"])


def test_an_audit_finds_the_same_whatever_the_order_of_the_rows(
    place: Place, store: Store, collection: Collection
) -> None:
    rows = documents({f"d{number}": number % 7 + 1 for number in range(50)})
    shuffled = rows.take(np.random.default_rng(1).permutation(len(rows)))
    _append(collection, shuffled)
    collection.refresh()

    audit = audit_table(collection, tolerance=1e-3, by_document=True)

    found = dict(audit.documents())
    assert (audit.rows, audit.vectors_wrong, audit.ids_repeated) == (len(rows), 0, 0)
    for number in range(50):
        name, count = f"d{number}", number % 7 + 1
        mine = rows.filter(pc.field("document_id") == name)
        assert (found[name].count, found[name].distinct_ids) == (count, count)
        assert found[name].digest == digest(mine["content_hash"].to_pylist())
