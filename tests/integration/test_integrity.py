"""The last check of a run: the table is asked whether it holds what the ledger says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lance
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.reconcile import describe, differing_rows
from lexigram_ray.jobs.report import Progress
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import remove_documents
from tests.integration.commit_data import (
    NAME,
    assert_table_equals_ledger,
    claim_job,
    commit,
    ingested,
)
from tests.integration.local_ingest import ingest_here
from tests.tables import sources


def delete_one_row(collection: Collection) -> None:
    collection.dataset.delete("id = 'a:1'")


def double_one_row(collection: Collection) -> None:
    row = collection.dataset.to_table(filter="id = 'a:1'")
    lance.write_dataset(row, str(collection.path), mode="append")


def delete_all_rows(collection: Collection) -> None:
    remove_documents(collection, ["a"])


@pytest.mark.parametrize("behind_our_back", [delete_one_row, double_one_row, delete_all_rows])
def test_rows_that_were_changed_behind_our_back_are_found_and_their_document_is_named(
    store: Store, collection: Collection, behind_our_back: Callable[[Collection], None]
) -> None:
    commit(store, claim_job(store, "job"), collection, ingested({"a": 3, "b": 2}))
    assert_table_equals_ledger(collection, store)
    behind_our_back(collection)
    collection.refresh()
    wrong = differing_rows(collection, store.ledger(NAME).values())
    assert [entry.source for entry in wrong] == ["/docs/a.txt"]
    assert "/docs/a.txt (should have 3)" in describe(collection, wrong)


def test_many_damaged_documents_are_counted_and_five_are_named(
    store: Store, collection: Collection
) -> None:
    ids = [f"d{number}" for number in range(9)]
    commit(store, claim_job(store, "job"), collection, ingested(dict.fromkeys(ids, 2)))
    remove_documents(collection, ids[:7])
    said = describe(collection, differing_rows(collection, store.ledger(NAME).values()))
    assert said.count("/docs/d") == 5
    assert said.endswith("and 2 more")


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
    assert "bread.txt" in report.error
    assert "chess.txt" not in report.error
    assert report.documents.found == report.documents.ingested == 3
    with Store.open(config.paths.store_url) as store:
        job = store.get(report.job_id)
    assert job is not None
    assert (job.status, job.error_code, job.error) == (JobStatus.FAILED, "integrity", report.error)
    assert job.summary["status"] == "failed"


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
