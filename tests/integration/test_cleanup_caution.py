"""A clean-up takes nothing that nobody wants gone: cancelled, by night, or by a wrong clock."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import lance
import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs import putting_back, removal
from lexigram_ray.jobs.records import Claim, LedgerState, Owner
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance import document_cleanup
from lexigram_ray.maintenance.missing_sources import MissingNotes
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import remove_documents
from tests.collections_data import documents
from tests.integration.cleanup_data import NOW, Killed, days_ago, removed_of, seed
from tests.integration.commit_data import (
    NAME,
    Place,
    assert_table_equals_ledger,
    claim_job,
    commit,
    done,
    ended,
    found,
    ingested,
    on_call,
    states,
)
from tests.integration.duties import claimed_run, context_of, run_by_schedule, run_duty


@pytest.fixture
def config(place: Place) -> WorkersConfig:
    return load_config(state_dir=place.root)


def _begin_and_die(
    config: WorkersConfig, store: Store, monkeypatch: pytest.MonkeyPatch, **options: object
) -> Claim:
    """Let a clean-up be killed between an intent and its removal; return its claim."""
    claim = claimed_run(store, document_cleanup.NAME)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(removal, "remove_documents", killed)
        with pytest.raises(Killed):
            document_cleanup.run(context_of(config, store, claim, **options))
    return claim


def _begin_and_cancel(
    config: WorkersConfig, store: Store, monkeypatch: pytest.MonkeyPatch, **options: object
) -> None:
    claim = _begin_and_die(config, store, monkeypatch, **options)
    store.cancel(claim.job_id, Owner.current(), turn_seconds=5.0)


# -- What was begun and cancelled ------------------------------------------------------------------


def test_what_a_cancelled_clean_up_has_begun_is_put_back_where_the_rules_let_it_stay(
    place: Place, config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 0.0})
    with place.open_store() as store:
        before = store.ledger(NAME)
        _begin_and_cancel(config, store, monkeypatch, older_than_days=10)
        assert states(store)["a"] is LedgerState.WRITING

        planned = run_duty(document_cleanup.run, config, store, dry_run=True)
        assert states(store)["a"] is LedgerState.WRITING
        report = run_duty(document_cleanup.run, config, store)

        collection = place.open_collection(store)
        assert (planned.lines, report.lines) == ([], [])
        assert states(store) == done("a", "b")
        assert set(found(collection)) == {"a", "b"}
        assert store.ledger(NAME)["a"].updated_at == before["a"].updated_at
        assert_table_equals_ledger(collection, store)


def test_what_a_cancelled_clean_up_has_begun_goes_where_the_rules_still_say_so(
    place: Place, config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 0.0})
    with place.open_store() as store:
        _begin_and_cancel(config, store, monkeypatch, older_than_days=10)

        planned = run_duty(document_cleanup.run, config, store, older_than_days=10, dry_run=True)
        report = run_duty(document_cleanup.run, config, store, older_than_days=10)

        assert planned.lines == [f"{NAME}: 1 document too old would go"]
        assert report.lines == [f"{NAME}: 1 document too old removed"]
        assert removed_of(store) == {"a"}
        assert set(found(place.open_collection(store))) == {"b"}


def test_the_next_attempt_of_the_same_clean_up_ends_what_it_had_begun(
    place: Place, config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 0.0})
    with place.open_store() as store:
        claim = _begin_and_die(config, store, monkeypatch, older_than_days=10)
        report = document_cleanup.run(context_of(config, store, claim, older_than_days=10))

        assert report.lines == [f"{NAME}: 1 document whose removal had been begun removed"]
        assert removed_of(store) == {"a"}


def test_a_removal_that_comes_late_takes_nothing_that_was_put_back(
    place: Place, config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 0.0})
    with place.open_store() as store:
        _begin_and_cancel(config, store, monkeypatch, older_than_days=10)
        stopped = place.open_collection(store)

        run_duty(document_cleanup.run, config, store)
        with pytest.raises(WriteConflictError):
            remove_documents(stopped, ["a"])

        assert set(found(place.open_collection(store))) == {"a", "b"}
        assert_table_equals_ledger(place.open_collection(store), store)


def test_rows_that_go_while_they_are_put_back_are_gone(
    place: Place, config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 20.0})
    with place.open_store() as store:
        _begin_and_cancel(config, store, monkeypatch, older_than_days=10)

        def remove_first(real: Any, arguments: Any, options: Any) -> Any:
            remove_documents(place.open_collection(store), ["a"])
            return real(*arguments, **options)

        on_call(monkeypatch, "replace_documents", remove_first, holder=putting_back)
        run_duty(document_cleanup.run, config, store)
        run_duty(document_cleanup.run, config, store)

        assert states(store) == {"a": LedgerState.REMOVED, "b": LedgerState.DONE}
        assert set(found(place.open_collection(store))) == {"b"}


@pytest.mark.parametrize(("older", "stays"), [(None, True), (5, False)])
def test_a_document_that_was_never_done_is_judged_although_its_removal_was_begun(
    place: Place,
    config: WorkersConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    older: int | None,
    *,
    stays: bool,
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0})
    with place.open_store() as store:
        commit(
            store,
            claim_job(store, "failing"),
            place.open_collection(store),
            ended(Outcome.FAILED, ["a"]),
        )
        _begin_and_cancel(config, store, monkeypatch, older_than_days=0)

        later = NOW + dt.timedelta(days=6)
        run_duty(document_cleanup.run, config, store, now=lambda: later, older_than_days=older)

        assert (set(found(place.open_collection(store))) == {"a"}) is stays
        state = LedgerState.WRITING if stays else LedgerState.REMOVED
        assert states(store) == {"a": state}


def test_rows_that_another_store_has_written_over_a_begun_removal_stay(
    place: Place, config: WorkersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0})
    with place.open_store() as store:
        _begin_and_cancel(config, store, monkeypatch, older_than_days=10)
        with Place(tmp_path / "elsewhere").open_store() as foreign:
            theirs = place.open_collection(foreign)
            commit(foreign, claim_job(foreign, "theirs"), theirs, ingested({"a": 3}, "theirs"))

        run_duty(document_cleanup.run, config, store, older_than_days=10)

        assert found(place.open_collection(store))["a"][0] == 3


# -- What a table has that the ledger does not know ------------------------------------------------


def _append(collection: Collection, *ids: str) -> None:
    lance.write_dataset(documents(dict.fromkeys(ids, 1)), str(collection.path), mode="append")


def test_a_table_that_was_away_for_a_night_keeps_its_rows_whatever_stands_in_the_configuration(
    place: Place, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 0.0, "b": 0.0})
    rules: dict[str, Any] = {"document_cleanup": {"remove_orphans": True}}
    config = load_config(state_dir=place.root, maintenance=rules)
    with place.open_store() as store:
        collection = place.open_collection(store)
        other = place.root / "lancedb" / "other.lance"
        aside = place.root / "aside.lance"
        collection.path.rename(aside)
        Place(place.root).collections.create("other", collection.settings, store.store_id)
        assert other.exists()

        for run in (run_duty, run_by_schedule):
            report = run(document_cleanup.run, config, store)
            assert [fault.name for fault in report.faults] == [f"collection {NAME}"]
        assert set(states(store)) == {"a", "b"}
        aside.rename(collection.path)
        assert run_duty(document_cleanup.run, config, store).faults == []
        assert set(found(collection)) == {"a", "b"}


@pytest.mark.parametrize("by_schedule", [True, False])
def test_documents_that_an_older_store_does_not_know_go_only_where_somebody_asks_for_it(
    place: Place, tmp_path: Path, *, by_schedule: bool
) -> None:
    seed(place, tmp_path / "docs", {"a": 0.0, "b": 0.0})
    rules: dict[str, Any] = {"document_cleanup": {"remove_orphans": True}}
    config = load_config(state_dir=place.root, maintenance=rules)
    with place.open_store() as store:
        collection = place.open_collection(store)
        _append(collection, "stray")

        assert run_duty(document_cleanup.run, config, store).faults
        run = run_by_schedule if by_schedule else run_duty
        report = run(document_cleanup.run, config, store, remove_orphans=True)

        assert ("stray" in found(collection)) is by_schedule
        assert bool(report.faults) is by_schedule


def test_a_table_of_which_the_ledger_knows_nothing_is_not_emptied_whoever_asks(
    place: Place, config: WorkersConfig, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 0.0, "b": 0.0})
    with place.open_store() as store:
        store.forget_collection(NAME)

        report = run_duty(document_cleanup.run, config, store, remove_orphans=True)

        assert set(found(place.open_collection(store))) == {"a", "b"}
    [fault] = report.faults
    assert fault.fix == f"ingest them again, or lexigram-ray collections drop {NAME}"


# -- Waiting times and clocks ----------------------------------------------------------------------


def _notes(config: WorkersConfig) -> MissingNotes:
    return MissingNotes(config.paths.payloads / "missing")


def test_a_dry_run_begins_no_wait(place: Place, config: WorkersConfig, tmp_path: Path) -> None:
    seed(place, tmp_path / "docs", {"a": 20.0, "b": 0.0})
    (tmp_path / "docs" / "a.txt").unlink()
    with place.open_store() as store:
        run_duty(document_cleanup.run, config, store, missing_for_days=7, dry_run=True)
        assert _notes(config).read(NAME) == {}
        run_duty(document_cleanup.run, config, store, missing_for_days=7)
        noted = _notes(config).read(NAME)
        assert set(noted) == {"a"}
        run_duty(document_cleanup.run, config, store, dry_run=True)
        assert _notes(config).read(NAME) == noted


def test_a_wait_begins_anew_after_the_rule_was_off_and_for_a_document_written_since(
    place: Place, config: WorkersConfig, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 30.0, "b": 1.0, "c": 30.0})
    (tmp_path / "docs" / "a.txt").unlink()
    (tmp_path / "docs" / "b.txt").unlink()
    with place.open_store() as store:
        _notes(config).write(NAME, {"a": days_ago(20), "b": days_ago(20)})
        run_duty(document_cleanup.run, config, store, missing_for_days=7)
        assert removed_of(store) == {"a"}

        _notes(config).write(NAME, {"b": days_ago(20)})
        run_duty(document_cleanup.run, config, store)
        assert _notes(config).read(NAME) == {}


def test_a_clock_that_was_set_forward_lets_nothing_leave_before_a_day_has_passed_by_it(
    place: Place, tmp_path: Path
) -> None:
    seed(place, tmp_path / "docs", {"a": 1.0, "b": 1.0})
    rules: dict[str, Any] = {"document_cleanup": {"older_than_days": 30}}
    config = load_config(state_dir=place.root, maintenance=rules)
    ahead = NOW + dt.timedelta(days=400)
    with Store.open(place.store_url, clock=ahead.timestamp) as store:
        report = run_by_schedule(document_cleanup.run, config, store, now=lambda: ahead)
        assert removed_of(store) == set()
        assert any("this machine's clock" in line for line in report.lines)

    later = ahead + dt.timedelta(days=1, hours=1)
    with Store.open(place.store_url, clock=later.timestamp) as store:
        report = run_by_schedule(document_cleanup.run, config, store, now=lambda: later)
        assert removed_of(store) == {"a", "b"}
        assert report.lines == [f"{NAME}: 2 documents too old removed"]


def test_whoever_asks_for_a_run_does_not_wait(place: Place, tmp_path: Path) -> None:
    seed(place, tmp_path / "docs", {"a": 1.0})
    config = load_config(state_dir=place.root)
    ahead = NOW + dt.timedelta(days=400)
    with place.open_store() as store:
        run_duty(document_cleanup.run, config, store, now=lambda: ahead, older_than_days=30)
        assert removed_of(store) == {"a"}
