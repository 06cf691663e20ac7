"""Every job that has ended is in the figures once, whoever rolls up and whoever dies meanwhile."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.backup import back_up, restore
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.metrics_records import Metric, Resolution, Sample, Value
from lexigram_ray.jobs.migrations import STEPS, migrate
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import REMOVED_CODE, UnitState
from lexigram_ray.jobs.schedule_records import MAINTENANCE
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import (
    NOW,
    Clock,
    child,
    claimed,
    elsewhere,
    line_from,
    result,
    submit,
)

CHILD = Path(__file__).with_name("metrics_child.py")
BEGIN, END = NOW - timedelta(days=2), NOW + timedelta(days=2)
PDF = {"category": FailureCategory.INVALID_INPUT, "code": "encrypted"}


def ended(store: Store, key: str, units: int = 3, status: JobStatus = JobStatus.COMPLETED) -> None:
    claim = claimed(store, key)
    store.finish_units(claim, [result(number) for number in range(units)])
    error = None if status is JobStatus.COMPLETED else "it broke"
    store.finish(claim, status, error=error, summary={})


def told(store: Store, metric: Metric, by: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    """What the days say of a metric."""
    found = store.metrics.totals(metric, Resolution.DAY, BEGIN, END, by=by)
    return {labels: value.total for labels, value in found.items()}


def test_what_a_job_has_done_is_in_the_figures(store: Store, clock: Clock) -> None:
    job = submit(store)
    clock.advance(5)
    claim = store.claim(job.id, elsewhere(), 60)
    units = [
        result(1),
        result(2, seconds=2.0),
        result(3, state=UnitState.SKIPPED, chunks=0, computed=0, cached=0),
        result(4, state=UnitState.FAILED, chunks=0, computed=0, cached=0, **PDF),
        result(5, chunks=0, computed=0, cached=0, code=REMOVED_CODE, seconds=0.0),
        result(6, chunks=0, computed=0, cached=0),
    ]
    store.finish_units(claim, units)  # pyright: ignore[reportArgumentType]
    clock.advance(20)
    summary = {"documents": {"unchanged": 9}}
    store.finish(claim, JobStatus.COMPLETED, summary=summary)  # pyright: ignore[reportArgumentType]

    assert store.metrics.roll_up() == 1

    assert told(store, Metric.DOCUMENTS, ("kind", "outcome")) == {
        ("ingest", "done"): 2,
        ("ingest", "skipped"): 1,
        ("ingest", "failed"): 1,
        ("ingest", "removed"): 1,
        # One of the nine was written by another job meanwhile.
        ("ingest", "unchanged"): 9,
    }
    assert told(store, Metric.CHUNKS, ("collection",)) == {("docs",): 6}
    assert told(store, Metric.EMBEDDINGS, ("origin",)) == {("computed",): 4, ("cached",): 2}
    assert told(store, Metric.FAILURES, ("category", "code")) == {("invalid_input", "encrypted"): 1}
    assert told(store, Metric.JOBS, ("status",)) == {("completed",): 1}
    assert told(store, Metric.ATTEMPTS, ("outcome",)) == {("completed",): 1}
    assert told(store, Metric.JOB_SECONDS) == {(): 20}
    assert told(store, Metric.JOB_WAIT_SECONDS) == {(): 5}
    seconds = store.metrics.totals(Metric.DOCUMENT_SECONDS, Resolution.DAY, BEGIN, END)[()]
    assert (seconds.count, seconds.low, seconds.high) == (5, 0.5, 2.0)
    assert seconds.quantile(0.5) == pytest.approx(0.5, rel=0.05)
    assert store.metrics.compare() == []


def test_units_count_in_their_own_minute_and_the_job_in_that_of_its_end(
    store: Store, clock: Clock
) -> None:
    claim = claimed(store)
    store.finish_units(claim, [result(1)])
    clock.advance(120)
    store.finish_units(claim, [result(2), result(3)])
    clock.advance(120)
    store.finish(claim, JobStatus.COMPLETED, summary={})
    store.metrics.roll_up()

    def minutes(metric: Metric) -> list[tuple[float, float]]:
        points = store.metrics.series(metric, Resolution.MINUTE, BEGIN, END)
        return [((point.at - NOW).total_seconds(), point.value.total) for point in points]

    assert minutes(Metric.DOCUMENTS) == [(0, 1), (120, 2)]
    assert minutes(Metric.JOBS) == [(240, 1)]


def test_rows_of_a_table_are_documents_and_held_ones_are_unchanged(store: Store) -> None:
    job = submit(store, kind="embed")
    claim = store.claim(job.id, elsewhere(), 60)
    units = [
        result(1, chunks=90, computed=60, cached=30, seconds=0.0),
        result(2, chunks=0, computed=0, cached=100, seconds=0.0),
        result(3, state=UnitState.FAILED, chunks=0, computed=0, cached=0, seconds=0.0, **PDF),
    ]
    store.finish_units(claim, units)  # pyright: ignore[reportArgumentType]
    store.finish(claim, JobStatus.COMPLETED, summary={})  # pyright: ignore[reportArgumentType]
    store.metrics.roll_up()

    outcomes = {("done",): 90, ("unchanged",): 100, ("failed",): 1}
    assert told(store, Metric.DOCUMENTS, ("outcome",)) == outcomes
    assert told(store, Metric.EMBEDDINGS, ("origin",)) == {("computed",): 60, ("cached",): 30}
    assert store.metrics.compare() == []


def test_however_a_job_ends_it_is_counted_once(store: Store, clock: Clock) -> None:
    ended(store, "finished")
    ended(store, "broken", status=JobStatus.FAILED)
    store.cancel(submit(store, "cancelled").id, Owner.current(), turn_seconds=5)
    store.cancel(claimed(store, "taken away").job_id, Owner.current(), turn_seconds=5)
    late = submit(store, "late", deadline=NOW + timedelta(seconds=10))
    submit(store, "waits")
    clock.advance(11)
    assert store.fail_overdue(Owner.current(), turn_seconds=5) == [late.id]
    hopeless = submit(store, "hopeless")
    assert store.give_up(hopeless.id, 0, error="no use", error_code="hopeless")

    assert store.metrics.roll_up(limit=2) == 6
    assert store.metrics.roll_up() == 0

    jobs = {("completed",): 1, ("failed",): 3, ("cancelled",): 2}
    assert told(store, Metric.JOBS, ("status",)) == jobs
    assert told(store, Metric.JOB_FAILURES, ("code",)) == {("deadline",): 1, ("hopeless",): 1}
    assert store.metrics.compare() == []


def test_maintenance_is_counted_apart(store: Store, clock: Clock) -> None:
    job = submit(store, kind=MAINTENANCE, collection="", spec={"task": "health_check"})
    claim = store.claim(job.id, elsewhere(), 60)
    clock.advance(3)
    store.finish(claim, JobStatus.COMPLETED, summary={})  # pyright: ignore[reportArgumentType]
    store.metrics.roll_up()

    runs = told(store, Metric.MAINTENANCE_RUNS, ("task", "status"))
    assert runs == {("health_check", "completed"): 1}
    assert told(store, Metric.MAINTENANCE_RUN_SECONDS, ("task",)) == {("health_check",): 3}
    assert told(store, Metric.JOBS) == {}
    assert told(store, Metric.ATTEMPTS) == {}
    assert store.metrics.compare() == []


def test_processes_that_roll_up_at_once_count_every_job_once(store_url: str, store: Store) -> None:
    for number in range(30):
        ended(store, f"job-{number}", units=2)
    with ExitStack() as stack:
        children = [
            stack.enter_context(child("roll_up", store_url, script=CHILD)) for _ in range(3)
        ]
        assert [line_from(each) for each in children] == ["ready"] * 3
        for each in children:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        counted = [int(line_from(each)) for each in children]

    assert sum(counted) == 30
    assert told(store, Metric.JOBS) == {(): 30}
    assert told(store, Metric.DOCUMENTS) == {(): 60}
    assert store.metrics.compare() == []


def test_a_roll_up_that_is_killed_again_and_again_loses_and_repeats_nothing(
    store_url: str, store: Store
) -> None:
    for turn in range(3):
        with child("roll_up_for_ever", store_url, script=CHILD) as process:
            assert line_from(process) == "ready"
            for number in range(12):
                ended(store, f"job-{turn}-{number}", units=2)
            # In the middle of whatever it does.
            process.kill()

    store.metrics.roll_up()

    assert told(store, Metric.JOBS) == {(): 36}
    assert told(store, Metric.CHUNKS) == {(): 216}
    assert store.metrics.compare() == []


def test_a_store_without_figures_gets_those_of_all_that_has_ended(store_url: str) -> None:
    with Store.open(store_url) as store:
        ended(store, "before")
        submit(store, "waits")
    # As an older version left it.
    database = Database(store_url, NOW.timestamp)
    with database.write() as connection:
        for statement in (
            "DROP TABLE rollup_pending",
            "DROP TABLE metrics_rollup",
            "DROP TABLE access_tokens",
            "DROP TABLE audit_log",
            "DELETE FROM schema_version WHERE version >= 6",
        ):
            connection.execute(text(statement))
    migrate(database, STEPS[: [step.version for step in STEPS].index(6) + 1])
    database.close()

    with Store.open(store_url) as store:
        assert store.metrics.roll_up() == 1
        assert store.metrics.compare() == []


def test_figures_go_into_a_backup_with_what_is_still_pending(
    store_url: str, store: Store, tmp_path: Path
) -> None:
    ended(store, "counted")
    store.metrics.roll_up()
    ended(store, "pending")

    back_up(store_url, tmp_path / "backup.db")
    restore(tmp_path / "backup.db", f"sqlite:///{tmp_path / 'restored' / 'jobs.db'}")

    with Store.open(f"sqlite:///{tmp_path / 'restored' / 'jobs.db'}") as restored:
        assert restored.metrics.roll_up() == 1
        assert told(restored, Metric.JOBS) == {(): 2}
        assert restored.metrics.compare() == []


def test_a_difference_is_named(store: Store) -> None:
    ended(store, "one")
    assert store.metrics.pending() == 1
    assert store.metrics.compare() == []
    store.metrics.roll_up()
    store.metrics.prune(Resolution.HOUR, END)

    complaints = store.metrics.compare()

    assert "hours of jobs" in " ".join(complaints)
    assert "days of jobs" not in " ".join(complaints)


def test_samples_keep_the_last_the_lowest_and_the_highest(store: Store, clock: Clock) -> None:
    labels = {"collection": "docs"}
    for minutes, rows in enumerate((5.0, 9.0, 7.0)):
        sample = Sample(metric=Metric.COLLECTION_ROWS, value=rows, labels=labels)
        store.metrics.sample([sample], NOW + timedelta(minutes=minutes))

    hour = store.metrics.totals(Metric.COLLECTION_ROWS, Resolution.HOUR, BEGIN, END)[()]
    minutes = store.metrics.series(
        Metric.COLLECTION_ROWS, Resolution.MINUTE, BEGIN, END, labels=labels
    )

    assert (hour.last, hour.low, hour.high, hour.mean) == (7.0, 5.0, 9.0, 7.0)
    assert [point.value.last for point in minutes] == [5.0, 9.0, 7.0]


def test_labels_choose_and_tell_apart(store: Store) -> None:
    samples = [
        Sample(metric=Metric.UNFINISHED_JOBS, value=value, labels={"kind": kind, "status": status})
        for kind, status, value in (("ingest", "running", 1), ("embed", "running", 2))
    ]
    store.metrics.sample(samples, NOW)

    def asked(**chosen: object) -> dict[tuple[str, ...], Value]:
        return store.metrics.totals(
            Metric.UNFINISHED_JOBS,
            Resolution.DAY,
            BEGIN,
            END,
            **chosen,  # pyright: ignore[reportArgumentType]
        )

    assert asked(by=("kind",)).keys() == {("ingest",), ("embed",)}
    assert asked(labels={"kind": "embed"})[()].total == 2
    assert asked(labels={"kind": "other"}) == {}


def test_pruning_forgets_only_what_is_older(store: Store) -> None:
    sample = Sample(metric=Metric.DISK_FREE_BYTES, value=1.0)
    for hours in (0, 1, 2):
        store.metrics.sample([sample], NOW + timedelta(hours=hours))

    assert store.metrics.prune(Resolution.MINUTE, NOW + timedelta(hours=1)) == 1

    minutes = store.metrics.series(Metric.DISK_FREE_BYTES, Resolution.MINUTE, BEGIN, END)
    hours = store.metrics.series(Metric.DISK_FREE_BYTES, Resolution.HOUR, BEGIN, END)
    assert (len(minutes), len(hours)) == (2, 3)
