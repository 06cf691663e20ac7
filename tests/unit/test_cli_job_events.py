"""`jobs events`: what happened to a job in words, as JSON, and as it happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lexigram_ray.cli.app import run
from lexigram_ray.cli.job_events import words_of
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.following import followed
from lexigram_ray.jobs.job_events import JobEvent
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.schedule_records import PlannedRun, Schedule, Trigger
from lexigram_ray.jobs.store import Store
from tests.job_data import claimed, submitted

AT = datetime(2027, 1, 15, 8, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as opened:
        yield opened


def ended(store: Store) -> Job:
    job = submitted(store)
    store.finish(claimed(store, job), JobStatus.COMPLETED, summary={})
    return job


def maintained(store: Store) -> Job:
    """A pending job of a schedule."""
    store.schedules.define(
        [Schedule(name="nightly", task="cache_cleanup", cron="1 1 * * *", interval_seconds=None)],
        origins=[],
    )
    (schedule,) = store.schedules.list()
    planned = PlannedRun(due_at=AT, trigger=Trigger.SCHEDULE, start_at=AT)
    store.schedules.record(schedule, [planned], AT)
    (job,) = store.list_jobs(kind="maintenance")[0]
    return job


def shown(capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str) -> tuple[str, str]:
    assert run([*arguments, "--state", str(tmp_path)]) == 0
    said = capsys.readouterr()
    return said.out, said.err


@pytest.mark.parametrize(
    ("event_type", "data", "words"),
    [
        ("submitted", {"kind": "ingest", "collection": "docs"}, "ingest into collection docs"),
        ("submitted", {"kind": "maintenance", "collection": ""}, "maintenance"),
        (
            "claimed",
            {"attempt": 2, "pid": 7, "node": "a", "actor": "job:1"},
            "attempt 2: by process 7 on a: job:1",
        ),
        (
            "released",
            {"outcome": "error", "error": "no route", "wait_seconds": 90},
            "error: not before 1 min 30 s later: no route",
        ),
        ("postponed", {"wait_seconds": 2.5}, "not before 2.5 s later"),
        ("lost", {"attempt": 1, "error": "its owner died"}, "attempt 1: its owner died"),
        (
            "unit_crashed",
            {"units": ["a", "b", "c", "d"], "count": 30, "crashes": 1},
            "a worker died with 30 units (a, b, c, …)",
        ),
        (
            "quarantined",
            {"units": ["a"], "count": 1, "code": "timed_out"},
            "1 unit (a) given up (timed_out)",
        ),
        ("failed", {"code": "disk_full", "error": "no space"}, "disk_full: no space"),
        ("completed", {}, ""),
        ("stage", {"name": "indexing", "rows": [1, 2]}, "name indexing: rows [1, 2]"),
    ],
)
def test_an_event_is_told_in_words(event_type: str, data: dict[str, object], words: str) -> None:
    assert words_of(JobEvent(job_id="j", seq=1, at=AT, type=event_type, data=data)) == words


def test_events_are_one_line_each_and_one_object_as_json(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ended(store)

    out, _ = shown(capsys, tmp_path, "jobs", "events", job.id[:18])
    page, _ = shown(capsys, tmp_path, "jobs", "events", job.id, "--json", "--limit", "2")
    rest, _ = shown(capsys, tmp_path, "jobs", "events", job.id, "--json", "--after", "1")

    assert [line.split()[3] for line in out.splitlines()] == ["submitted", "claimed", "completed"]
    first = json.loads(page)
    assert first["job_id"] == job.id
    assert ([each["seq"] for each in first["items"]], first["next"]) == ([0, 1], 1)
    last = json.loads(rest)
    assert ([each["type"] for each in last["items"]], last["next"]) == (["completed"], None)


def test_following_a_job_that_has_ended_shows_its_events_line_by_line_and_ends(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = ended(store)

    out, _ = shown(capsys, tmp_path, "jobs", "events", job.id, "--follow", "--json")

    assert [json.loads(line)["seq"] for line in out.splitlines()] == [0, 1, 2]


def test_following_shows_each_event_once_as_it_comes_until_the_end(store: Store) -> None:
    job = submitted(store)
    seen: list[str] = []

    def show(event: JobEvent) -> None:
        """Do the next step of the job whenever the step before was seen."""
        seen.append(event.type)
        if event.type == "submitted":
            claimed(store, job)
        elif event.type == "claimed":
            store.cancel(job.id, Owner.current(), turn_seconds=60)

    followed(store, job.id, -1, show, threading.Event(), every_seconds=0)

    assert seen == ["submitted", "claimed", "cancelled"]


def test_whoever_stops_following_gets_no_more(store: Store) -> None:
    job = submitted(store)
    stop, seen = threading.Event(), list[JobEvent]()
    stop.set()

    followed(store, job.id, -1, seen.append, stop)

    assert [event.type for event in seen] == ["submitted"]


def test_a_job_of_maintenance_is_shown_by_its_schedule_and_run_rather_than_retried(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = maintained(store)

    listed, _ = shown(capsys, tmp_path, "jobs", "list", "--kind", "maintenance")
    others, _ = shown(capsys, tmp_path, "jobs", "list")
    page, _ = shown(capsys, tmp_path, "jobs", "show", job.id)
    cancelled, said = shown(capsys, tmp_path, "jobs", "cancel", job.id)
    code = run(["jobs", "retry", job.id, "--state", str(tmp_path)])

    assert "nightly" in listed
    assert others == ""
    assert page.startswith("pending: maintenance nightly\n")
    assert cancelled.startswith(f"cancelled: maintenance nightly, job {job.id}")
    assert "maintenance run nightly" in said
    assert code == 2
    assert "maintenance run nightly" in capsys.readouterr().err
