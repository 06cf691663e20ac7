"""The health check: well where all is well, and each part broken on purpose is found and named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.embedding.json_file import read_object, write_object
from lexigram_ray.embedding.models import describe_model
from lexigram_ray.jobs.letter_records import NewFailure, Subject
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.schedule_records import Schedule
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance import health_check
from lexigram_ray.maintenance.canary import FOLDER, canary_file
from lexigram_ray.maintenance.duty import DutyContext, DutyReport, Fault
from lexigram_ray.maintenance.health_looks import CLUSTER_NOTE
from lexigram_ray.maintenance.verdicts import Check, Verdict, take
from lexigram_ray.runtime import cluster_file
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.writing import replace_documents
from tests.collections_data import SETTINGS, documents
from tests.job_data import claimed, ended, submitted
from tests.misbehaving_server import DIMENSION, MODEL, changed, running

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def looking_leaves_no_setting_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state")


@pytest.fixture
def store(config: WorkersConfig) -> Iterator[Store]:
    with Store.open(config.paths.store_url) as opened:
        yield opened


def look(config: WorkersConfig, store: Store, **options: object) -> DutyReport:
    """Run the duty; the model is left out, unless a test is about it."""
    context = DutyContext(
        config=config,
        store=store,
        options={"embedder": False, "disk_warn_share": 0.0, "disk_warn_bytes": 0, **options},
        now=lambda: NOW,
        tell=lambda _: None,
        should_stop=lambda: False,
        dry_run=False,
    )
    return health_check.run(context)


def make_collection(config: WorkersConfig, store: Store, name: str) -> Path:
    """Make a collection of a few rows, and return its folder."""
    collection = Collections(config.paths.lancedb).create(name, SETTINGS, store.store_id)
    replace_documents(collection, documents({"a": 3, "b": 2}), delete_for=())
    return collection.path


def status_of(report: DutyReport, name: str) -> object:
    checks = cast("list[Mapping[str, object]]", report.figures["checks"])
    return next(check["status"] for check in checks if check["name"] == name)


def only_fault(report: DutyReport) -> Fault:
    assert len(report.faults) == 1, report.faults
    return report.faults[0]


def test_where_all_is_well_each_part_is_named_and_nothing_is_a_fault(
    config: WorkersConfig, store: Store
) -> None:
    make_collection(config, store, "papers")

    report = look(config, store)

    assert report.faults == []
    assert report.figures["status"] == "ok"
    assert [line.partition(":")[0] for line in report.lines] == [
        "ok    store", "ok    disk", "ok    cluster", "ok    jobs", "ok    dead letters",
        "ok    collection papers",
    ]  # fmt: skip
    assert "5 rows" in report.lines[-1]


def remove_manifests(folder: Path) -> None:
    for manifest in (folder / "_versions").iterdir():
        manifest.unlink()


def remove_versions(folder: Path) -> None:
    shutil.rmtree(folder / "_versions")


def remove_rows(folder: Path) -> None:
    shutil.rmtree(folder / "data")


def cut_rows_short(folder: Path) -> None:
    for file in (folder / "data").iterdir():
        os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize(
    "break_it", [remove_manifests, remove_versions, remove_rows, cut_rows_short]
)
def test_a_broken_collection_is_a_fault_and_its_neighbour_is_well(
    config: WorkersConfig, store: Store, break_it: object
) -> None:
    assert callable(break_it)
    break_it(make_collection(config, store, "papers"))
    make_collection(config, store, "reviews")

    report = look(config, store)

    assert only_fault(report).name == "collection papers"
    assert not only_fault(report).detail.startswith("collection papers")
    assert only_fault(report).fix
    assert status_of(report, "collection reviews") == "ok"


def test_a_collection_that_hangs_fails_after_its_time_and_the_next_one_is_looked_at(
    config: WorkersConfig, store: Store
) -> None:
    folder = make_collection(config, store, "papers")
    make_collection(config, store, "reviews")
    for manifest in (folder / "_versions").iterdir():
        manifest.unlink()
        os.mkfifo(manifest)

    report = look(config, store, check_seconds=0.5)

    fault = only_fault(report)
    assert (fault.name, fault.detail) == ("collection papers", "no answer within 0.5 s")
    assert status_of(report, "collection reviews") == "ok"
    for fifo in (folder / "_versions").iterdir():
        # Whoever still waits for it reads an empty file, and ends.
        os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))


def test_what_comes_after_the_time_of_all_looks_is_named_and_not_begun() -> None:
    begun: list[str] = []

    def begin() -> Verdict:
        begun.append("disk")
        return Verdict(status="ok", detail="")

    finding = take(Check(name="disk", seconds=1.0, look=begin), seconds_left=0.0)

    assert finding.is_fault
    assert "not looked at" in finding.verdict.detail
    assert begun == []


def remove_store(path: Path) -> None:
    path.unlink()


def overwrite_store(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)


def replace_store(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    Store.open(f"sqlite:///{path}").close()


@pytest.mark.parametrize("break_it", [remove_store, overwrite_store, replace_store])
def test_a_store_that_is_gone_damaged_or_another_one_is_a_fault(
    config: WorkersConfig, store: Store, break_it: object
) -> None:
    assert callable(break_it)
    break_it(config.state_dir / "jobs.db")

    report = look(config, store)

    assert status_of(report, "store") == "fail"
    assert report.faults[0].name == "store"
    assert report.faults[0].fix


def test_a_full_disk_is_a_fault_and_one_that_fills_is_a_warning(
    config: WorkersConfig, store: Store
) -> None:
    full = look(config, store, disk_fail_bytes=10**18)
    filling = look(config, store, disk_warn_share=1.0)

    assert only_fault(full).name == "disk"
    assert "free some space" in only_fault(full).fix
    assert filling.faults == []
    assert status_of(filling, "disk") == "warn"
    assert set(cast("Mapping[str, object]", filling.figures["disk"])) == {
        "state", "data", "scratch",
    }  # fmt: skip


def test_letters_that_become_many_between_two_looks_are_a_fault(
    config: WorkersConfig, store: Store
) -> None:
    first = look(config, store, dead_letter_growth=3)
    complete_a_run(store, first)
    job = ended(store, submitted(store), JobStatus.COMPLETED)
    store.dead_letters.add("ingest", "papers", job.id, [failure(number) for number in range(3)])

    few = look(config, store, dead_letter_growth=4)
    many = look(config, store, dead_letter_growth=3)

    assert few.faults == []
    assert only_fault(many).name == "dead letters"
    assert "3 more than at the last look" in only_fault(many).detail
    assert many.figures["open_dead_letters"] == 3


def complete_a_run(store: Store, report: DutyReport) -> None:
    """Record a run of the schedule that has ended with this report."""
    schedule = Schedule(
        name=health_check.NAME, task=health_check.NAME, cron=None, interval_seconds=300.0
    )
    store.schedules.define([schedule], origins=["builtin"])
    run = store.schedules.run_now(health_check.NAME)
    assert run.job_id is not None
    claim = store.claim(run.job_id, Owner.current(), 60.0)
    assert isinstance(claim, Claim)
    store.finish(claim, JobStatus.COMPLETED, summary={"figures": dict(report.figures)})


def failure(number: int) -> NewFailure:
    return NewFailure(
        subject=Subject.DOCUMENT,
        subject_id=f"{number:032x}",
        source=f"/papers/{number}.pdf",
        origin=f"file:///papers/{number}.pdf",
        category=FailureCategory.INVALID_INPUT,
        code="corrupt",
        error="it ends too early",
    )


def test_a_job_whose_process_is_gone_is_a_fault_and_one_at_work_is_not(
    config: WorkersConfig, store: Store
) -> None:
    claimed(store, submitted(store))
    at_work = look(config, store)
    other = submitted(store, kind="embed", collection="reviews")
    store.claim(other.id, gone_process(), 60.0)

    left_alone = look(config, store)

    assert at_work.faults == []
    assert only_fault(left_alone).name == "jobs"
    assert other.id in only_fault(left_alone).detail
    assert "lexigram-ray up" in only_fault(left_alone).fix


def gone_process() -> Owner:
    current = Owner.current()
    return Owner(
        host=current.host,
        pid=current.pid,
        process_started=current.process_started - 1,
        boot_id=current.boot_id,
        pid_namespace=current.pid_namespace,
    )


def test_a_job_that_waits_for_long_is_a_warning_without_up_and_a_fault_with_it(
    config: WorkersConfig, store: Store
) -> None:
    submitted(store)
    soon = look(config, store, stuck_seconds=timedelta(days=36500).total_seconds())
    without = look(config, store)
    note_head(config, Owner.current())

    with_up = look(config, store)

    assert status_of(soon, "jobs") == "ok"
    assert without.faults == []
    assert status_of(without, "jobs") == "warn"
    assert only_fault(with_up).name == "jobs"


def note_head(config: WorkersConfig, owner: Owner) -> None:
    head = cluster_file.Head(owner=owner, folder=str(config.state_dir))
    cluster_file.note_cluster(config, cluster_file.NotedCluster(address="h:1", head=head))


def test_a_head_that_is_gone_is_a_fault_and_one_that_runs_is_not(
    config: WorkersConfig, store: Store
) -> None:
    note_head(config, Owner.current())
    runs = look(config, store)
    note_head(config, gone_process())

    gone = look(config, store)

    assert cluster_file.NAME == CLUSTER_NOTE
    assert runs.faults == []
    assert only_fault(gone).name == "cluster"
    assert only_fault(gone).fix == "lexigram-ray up"


def test_a_model_that_makes_another_vector_than_at_first_is_a_fault(
    tmp_path: Path, converted_models: Path
) -> None:
    # Its own copy: other tests keep vectors beside the model that they share.
    shutil.copytree(
        converted_models, tmp_path / "state" / "models", ignore=shutil.ignore_patterns(FOLDER)
    )
    config = load_config(state_dir=tmp_path / "state")
    spec = describe_model(
        config.embedding.model, precision="auto", models_dir=config.paths.models
    ).spec
    file = canary_file(config.paths.models, spec)
    with Store.open(config.paths.store_url) as store:
        first = look(config, store, embedder=True)
        again = look(config, store, embedder=True)
        kept = read_object(file)
        vector = cast("list[float]", kept["vector"])
        write_object(file, kept | {"vector": [*vector[1:], vector[0]]})
        other = look(config, store, embedder=True)
        file.unlink()

    assert "kept from now on" in " ".join(first.lines)
    assert first.faults == again.faults == []
    assert cast("float", again.figures["canary_cosine"]) > 0.9999
    assert only_fault(other).name == "embedder"
    assert str(file) in only_fault(other).fix


def test_no_model_is_fetched_or_converted_where_nothing_was_embedded_yet(
    config: WorkersConfig, store: Store
) -> None:
    report = look(config, store, embedder=True)

    assert report.faults == []
    assert status_of(report, "embedder") == "ok"
    assert not list(config.paths.models.glob("*/*.xml"))


def test_a_server_that_has_another_model_now_is_a_fault(tmp_path: Path) -> None:
    def another_vector(_: object, body: dict[str, Any]) -> None:
        for entry in body["data"]:
            entry.update(embedding=[0.25] * DIMENSION)

    with running() as server:
        config = load_config(
            state_dir=tmp_path / "state",
            embedding={"model": MODEL, "server": {"url": server.url, "max_attempts": 1}},
        )
        with Store.open(config.paths.store_url) as store:
            well = look(config, store, embedder=True)
            server.always = changed(another_vector)
            other = look(config, store, embedder=True)

    assert well.faults == []
    assert only_fault(other).name == "embedder"
    assert "not the one that the server sent at first" in only_fault(other).detail


def test_an_unknown_option_is_refused_with_the_nearest_one(
    config: WorkersConfig, store: Store
) -> None:
    with pytest.raises(UsageError) as refused:
        look(config, store, disk_fail_byte=1)

    assert "disk_fail_bytes" in str(refused.value.hint)
