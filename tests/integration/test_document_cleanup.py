"""The duty `document_cleanup` on real tables: what the rules say goes, and nothing else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import (
    CollectionNotFoundError,
    LeaseLostError,
    MaintenanceError,
    UsageError,
)
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import removal
from lexigram_ray.jobs.records import Owner
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance import document_cleanup
from lexigram_ray.maintenance.missing_sources import MissingNotes
from lexigram_ray.maintenance.running import run_claimed
from lexigram_ray.vectors.collection import Collection
from tests.collections_data import documents
from tests.integration.cleanup_data import NOW, Killed, days_ago, removed_of, seed
from tests.integration.commit_data import (
    NAME,
    Place,
    assert_table_equals_ledger,
    claim_job,
    commit,
    found,
    ingested,
    on_call,
)
from tests.integration.duties import claimed_run, context_of, run_duty


@pytest.fixture
def config(place: Place) -> WorkersConfig:
    return load_config(state_dir=place.root)


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.dictionaries(
        st.sampled_from("abcdef"),
        st.tuples(st.integers(0, 40), st.none() | st.integers(0, 40)),
        min_size=2,
    ),
    older=st.none() | st.integers(0, 40),
    missing=st.none() | st.integers(0, 40),
)
def test_exactly_what_the_rules_say_leaves_the_table_and_the_ledger(
    rows: dict[str, tuple[int, int | None]], older: int | None, missing: int | None
) -> None:
    with tempfile.TemporaryDirectory() as root:
        place, folder = Place(Path(root) / "state"), Path(root) / "docs"
        folder.mkdir()
        (folder / "other.txt").touch()
        config = load_config(state_dir=place.root)
        seed(place, folder, {each: age for each, (age, _) in rows.items()})
        with place.open_store() as store:
            missed = {each: days_ago(at) for each, (_, at) in rows.items() if at is not None}
            for document_id in missed:
                (folder / f"{document_id}.txt").unlink()
            MissingNotes(config.paths.payloads / "missing").write(NAME, missed)

            report = run_duty(
                document_cleanup.run,
                config,
                store,
                now=lambda: NOW,
                older_than_days=older,
                missing_for_days=missing,
            )

            expected = {
                each
                for each, (age, at) in rows.items()
                if (older is not None and age >= older)
                # Whatever was written since begins the wait anew.
                or (missing is not None and at is not None and min(at, age) >= missing)
            }
            collection = place.open_collection(store)
            assert removed_of(store) == expected
            assert set(found(collection)) == set(rows) - expected
            assert_table_equals_ledger(collection, store)
            assert report.faults == []


def test_without_rules_nothing_leaves(place: Place, config: WorkersConfig, tmp_path: Path) -> None:
    seed(place, tmp_path / "docs", {"a": 900.0, "b": 0.0})
    (tmp_path / "docs" / "a.txt").unlink()

    with place.open_store() as store:
        report = run_duty(document_cleanup.run, config, store)

        assert (report.faults, report.lines, removed_of(store)) == ([], [], set())


def test_a_dry_run_says_what_would_go_and_each_collection_may_have_rules_of_its_own(
    place: Place, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 5.0})
    rules = {"older_than_days": 1, "collections": {NAME: {"older_than_days": 10}}}
    config = load_config(state_dir=place.root, maintenance={"document_cleanup": rules})

    with place.open_store() as store:
        planned = run_duty(document_cleanup.run, config, store, dry_run=True)
        assert removed_of(store) == set()
        done = run_duty(document_cleanup.run, config, store)

        assert removed_of(store) == {"a"}
    assert planned.lines == [f"{NAME}: 1 document too old would go"]
    assert done.lines == [f"{NAME}: 1 document too old removed"]
    assert planned.figures == done.figures


def test_files_of_a_disk_that_is_not_mounted_are_not_missing(
    place: Place, config: WorkersConfig, tmp_path: Path
) -> None:
    seed(place, tmp_path / "mounted", {"a": 0.0})
    seed(place, tmp_path / "away", {"b": 0.0})
    (tmp_path / "mounted" / "a.txt").rename(tmp_path / "mounted" / "renamed.txt")
    (tmp_path / "away" / "b.txt").unlink()

    with place.open_store() as store:
        report = run_duty(document_cleanup.run, config, store, missing_for_days=0)

        assert removed_of(store) == {"a"}
    assert any("1 document left alone" in line for line in report.lines)


def test_one_folder_that_cannot_be_read_keeps_all_documents(
    place: Place, config: WorkersConfig, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 0.0, "b": 0.0})
    seed(place, tmp_path / "broken", {"c": 0.0})
    (tmp_path / "docs" / "a.txt").unlink()
    (tmp_path / "broken" / "c.txt").unlink()
    (tmp_path / "broken").rmdir()
    (tmp_path / "broken").symlink_to(tmp_path / "broken")

    with place.open_store() as store:
        report = run_duty(document_cleanup.run, config, store, missing_for_days=0)

        assert removed_of(store) == set()
    assert any(str(tmp_path / "broken") in line for line in report.lines)


@pytest.mark.parametrize(
    ("method", "goes_on"),
    [
        ("intend", True),
        ("mark_removed", True),
        ("mark_removed", False),
        ("finish_units", False),
    ],
)
def test_a_clean_up_that_is_killed_is_ended_by_the_next_attempt_or_run_and_loses_nothing_else(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, *, goes_on: bool
) -> None:
    config = load_config(state_dir=place.root)
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 0.0})

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with place.open_store() as store:
        claim = claimed_run(store, document_cleanup.NAME)
        context = context_of(config, store, claim, older_than_days=10)
        with monkeypatch.context() as patch:
            patch.setattr(Store, method, killed)
            with pytest.raises(Killed):
                document_cleanup.run(context)
        if goes_on:
            document_cleanup.run(context)
        else:
            store.finish(claim, JobStatus.FAILED, error="killed", summary={})
            run_duty(document_cleanup.run, config, store, older_than_days=10)

        collection = place.open_collection(store)
        assert removed_of(store) == {"a"}
        assert set(found(collection)) == {"b"}
        assert_table_equals_ledger(collection, store)


def test_a_document_that_is_ingested_meanwhile_stays(
    place: Place, config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 20.0})

    def ingest_first(
        real: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]
    ) -> Any:
        with place.open_store() as other:
            claim = claim_job(other, "second")
            commit(other, claim, place.open_collection(other), ingested({"a": 3}, "second"))
        return real(*arguments, **options)

    on_call(monkeypatch, "prune", ingest_first, holder=document_cleanup)
    with place.open_store() as store:
        report = run_duty(document_cleanup.run, config, store, older_than_days=10)

        collection = place.open_collection(store)
        assert removed_of(store) == {"b"}
        assert found(collection)["a"][0] == 3
        assert_table_equals_ledger(collection, store)
    assert report.lines == [f"{NAME}: 1 document too old removed"]


def test_a_run_that_has_lost_its_job_removes_nothing(
    place: Place, config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0})

    with place.open_store() as store:
        claim = claimed_run(store, document_cleanup.NAME)

        def cancel_first(
            real: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]
        ) -> Any:
            store.cancel(claim.job_id, Owner.current(), turn_seconds=5.0)
            return real(*arguments, **options)

        on_call(monkeypatch, "verify_documents", cancel_first, holder=removal)
        with pytest.raises(LeaseLostError):
            document_cleanup.run(context_of(config, store, claim, older_than_days=10))

        assert set(found(place.open_collection(store))) == {"a"}
        assert removed_of(store) == set()


def _append(collection: Collection, counts: Mapping[str, int]) -> None:
    lance.write_dataset(documents(counts), str(collection.path), mode="append")


def test_rows_that_no_ledger_knows_are_reported_and_removed_only_when_asked(
    place: Place, config: WorkersConfig, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 0.0})
    with place.open_store() as store:
        collection = place.open_collection(store)
        _append(collection, {"stray": 3, "other": 1})

        [fault] = run_duty(document_cleanup.run, config, store).faults
        assert "2 documents (4 rows) that the ledger does not know" in fault.detail
        assert "remove_orphans=true" in fault.fix
        assert set(found(collection)) == {"a", "stray", "other"}

        report = run_duty(document_cleanup.run, config, store, remove_orphans="true")
        assert report.faults == []
        assert set(found(collection)) == {"a"}
        assert removed_of(store) == {"stray", "other"}
        assert run_duty(document_cleanup.run, config, store).faults == []


def test_a_table_of_another_store_keeps_rows_that_are_unknown_here(
    place: Place, config: WorkersConfig
) -> None:
    with place.open_store() as store:
        collection = place.open_collection(store, "another-store")
        _append(collection, {"theirs": 2})

        report = run_duty(document_cleanup.run, config, store, remove_orphans=True)

        assert report.faults == []
        assert set(found(collection)) == {"theirs"}


def test_records_without_a_table_and_folders_left_aside_are_found(
    place: Place, config: WorkersConfig, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 0.0})
    left = place.root / "lancedb" / ".dropped-0123"
    (left / "data").mkdir(parents=True)
    (left / "data" / "rows.lance").write_bytes(b"x" * 10)
    os.utime(left, (0, 0))
    with place.open_store() as store:
        aside = place.root / "aside.lance"
        place.open_collection(store).path.rename(aside)

        report = run_duty(document_cleanup.run, config, store)
        assert [fault.name for fault in report.faults] == [
            f"collection {NAME}",
            "abandoned folders",
        ]
        assert (report.figures["orphaned_ledgers"], report.figures["bytes_abandoned"]) == (
            [NAME],
            10,
        )

        # Without any table the disk may be away: records stay, whatever is asked.
        report = run_duty(document_cleanup.run, config, store, remove_orphans=True)
        assert [fault.name for fault in report.faults] == [f"collection {NAME}"]
        assert store.has_ledger(NAME)
        assert not left.exists()

        aside.rename(place.root / "lancedb" / "kept.lance")
        report = run_duty(document_cleanup.run, config, store, remove_orphans=True)
        assert not store.has_ledger(NAME)


def test_a_run_of_maintenance_removes_with_the_claim_of_its_own_job(
    place: Place, config: WorkersConfig, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 0.0})
    with place.open_store() as store:
        claim = claimed_run(store, document_cleanup.NAME)
        job = store.get(claim.job_id)
        assert job is not None

        context = replace(context_of(config, store, claim, older_than_days=10), claim=None)
        run_claimed(context, job, claim)

        assert removed_of(store) == {"a"}
        ended = store.get(claim.job_id)
        assert ended is not None
        assert ended.status is JobStatus.COMPLETED
        with pytest.raises(MaintenanceError, match="holds a claim"):
            document_cleanup.run(replace(context, options={"older_than_days": 0}))


def test_a_wrong_option_is_named(place: Place, config: WorkersConfig) -> None:
    with place.open_store() as store:
        context = context_of(config, store, claimed_run(store, "x"), older_then_days=1)
        with pytest.raises(UsageError) as caught:
            document_cleanup.run(context)
        assert caught.value.hint == "did you mean older_than_days?"
        context = context_of(config, store, claimed_run(store, "x"), collection="none")
        with pytest.raises(CollectionNotFoundError):
            document_cleanup.run(context)
