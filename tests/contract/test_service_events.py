"""A job's events over real HTTP: pages, and streams that are cut, resumed, silent and over."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import following
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.job_watches import JobWatches
from lexigram_ray.service.models import jobs as models
from tests.job_data import claimed, ended, ingest_spec, submitted
from tests.service_answers import NO_ID, on_command_line, problem, shown
from tests.service_site import Site, running_service

LONG = 30.0
"""Seconds that something may take on a busy machine; nothing is meant to."""

HEARTBEAT_SECONDS = 0.3
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    service = {"heartbeat_seconds": HEARTBEAT_SECONDS, "max_ongoing_requests": 8}
    with running_service(load_config(state_dir=tmp_path / "state", service=service)) as running:
        yield running


@pytest.fixture
def store(site: Site) -> Store:
    return site.context.store


@pytest.fixture
def job(store: Store, tmp_path: Path) -> Job:
    return submitted(store, ingest_spec(tmp_path))


@dataclass
class Event:
    """One event of a stream, as a browser would have it."""

    type: str = ""
    id: str | None = None
    data: Any = None
    comments: list[str] = field(default_factory=list[str])


@contextmanager
def streaming(
    site: Site, job_id: str, last_id: str | None = None, **params: object
) -> Generator[Iterator[Event]]:
    headers = STREAM | ({} if last_id is None else {"Last-Event-ID": last_id})
    with (
        httpx.Client(base_url=site.url, timeout=LONG) as client,
        client.stream(
            "GET", f"/v1/jobs/{job_id}/events", headers=headers, params=cast("Any", params)
        ) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield read_events(answer.iter_lines())


def read_events(lines: Iterator[str]) -> Iterator[Event]:
    event = Event()
    for line in lines:
        name, _, value = line.partition(": ")
        if line == "":
            yield event
            event = Event()
        elif line.startswith(":"):
            event.comments.append(value)
        elif name == "event":
            event.type = value
        elif name == "id":
            event.id = value
        elif name == "data":
            event.data = json.loads(value)


def logged(events: Iterator[Event]) -> list[Event]:
    """Those of the log: neither progress, nor heartbeats, nor the end."""
    return [each for each in events if each.id is not None and each.type != "end"]


def until(events: Iterator[Event], wanted: str) -> Event:
    return next(each for each in events if each.type == wanted)


def noted(store: Store, claim: Claim, numbers: range) -> None:
    for number in numbers:
        store.events.note(claim, "stage", {"number": number})


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.02)


def watchers(site: Site) -> int:
    state = site.app.state
    return cast("JobWatches", state.watches).watchers if hasattr(state, "watches") else 0


def test_a_page_of_events_is_that_of_the_command_line(
    site: Site, store: Store, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(store, job)
    path, state = f"/v1/jobs/{job.id}/events", site.state

    page = shown(site.client.get(path, params={"limit": 2}), models.EventPage)
    rest = shown(site.client.get(path, params={"after": page["next"]}), models.EventPage)

    assert page == on_command_line(capsys, state, "jobs", "events", job.id, "--limit", "2")
    assert rest == on_command_line(capsys, state, "jobs", "events", job.id, "--after", "1")
    assert [each["type"] for each in rest["items"]] == ["completed"]
    assert rest["next"] is None


def test_a_stream_of_a_job_that_has_ended_tells_all_and_ends(
    site: Site, store: Store, job: Job
) -> None:
    ended(store, job)

    with streaming(site, job.id) as events:
        told = list(events)

    assert [(each.type, each.id) for each in told if each.type] == [
        ("submitted", "0"),
        ("claimed", "1"),
        ("completed", "2"),
        ("progress", None),
        ("end", "2-end"),
    ]
    models.Job.model_validate(told[-1].data)
    assert told[-1].data["status"] == "completed"
    models.JobEvent.model_validate(told[1].data)


def test_a_stream_tells_events_and_progress_as_they_come_until_the_end(
    site: Site, store: Store, job: Job
) -> None:
    with streaming(site, job.id) as events:
        assert until(events, "submitted").id == "0"
        assert until(events, "progress").data["progress"]["done"] == 0
        claim = claimed(store, job)
        assert until(events, "claimed").data["data"]["attempt"] == 1
        assert until(events, "progress").data["status"] == "running"
        store.save_progress(claim, {"total": 10, "done": 4, "failed": 1})
        moved = until(events, "progress")
        store.finish(claim, JobStatus.FAILED, error="broken", summary={})
        rest = list(events)

    assert (moved.id, moved.data["progress"]["percent"]) == (None, 40.0)
    assert [each.type for each in rest if each.type] == ["failed", "progress", "end"]
    assert rest[-1].data["error"] == "broken"


def test_a_client_whose_connection_is_cut_again_and_again_misses_and_repeats_nothing(
    site: Site, store: Store, job: Job
) -> None:
    claim = claimed(store, job)
    writer = threading.Thread(target=noted, args=(store, claim, range(60)))
    writer.start()
    seen: list[int] = []
    while len(seen) < 40:
        with streaming(site, job.id, str(seen[-1]) if seen else None) as events:
            for event in events:
                if event.id is not None:
                    seen.append(int(event.id))
                    if len(seen) % 7 == 0:
                        break
    writer.join()
    store.finish(claim, JobStatus.COMPLETED, summary={})
    with streaming(site, job.id, str(seen[-1])) as events:
        seen += [int(cast("str", each.id)) for each in logged(events)]

    assert seen == list(range(63))


def test_a_stream_can_begin_anywhere_and_the_header_goes_before_the_parameter(
    site: Site, store: Store, job: Job
) -> None:
    ended(store, job)

    with streaming(site, job.id, after=0) as events:
        by_parameter = [each.id for each in logged(events)]
    with streaming(site, job.id, "1", after=-1) as events:
        by_header = [each.id for each in logged(events)]

    assert (by_parameter, by_header) == (["1", "2"], ["2"])


def test_more_events_than_are_read_at_once_all_come_in_their_order(
    site: Site, store: Store, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "EVENTS_AT_ONCE", 10)
    claim = claimed(store, job)
    noted(store, claim, range(40))
    store.finish(claim, JobStatus.COMPLETED, summary={})

    with streaming(site, job.id) as events:
        told = list(events)

    numbers = [int(each.id) for each in told if each.id and each.type != "end"]
    assert numbers == list(range(43))
    assert [each.type for each in told[-2:]] == ["progress", "end"]


def test_whoever_has_the_last_event_is_told_to_ask_no_more(
    site: Site, store: Store, job: Job
) -> None:
    ended(store, job)
    path = f"/v1/jobs/{job.id}/events"

    over = site.client.get(path, headers=STREAM | {"Last-Event-ID": "2-end"})
    with streaming(site, job.id, "2") as events:
        types = [each.type for each in events if each.type]

    assert (over.status_code, over.content) == (204, b"")
    assert types == ["progress", "end"]


def test_a_silent_stream_shows_signs_of_life(site: Site, job: Job) -> None:
    with streaming(site, job.id) as events:
        until(events, "progress")
        comments = [comment for _ in range(3) for comment in next(events).comments]

    assert comments == ["ping"] * 3


def test_a_client_that_goes_away_is_no_longer_looked_for(site: Site, job: Job) -> None:
    with streaming(site, job.id) as events:
        until(events, "submitted")
        assert watchers(site) == 1

    wait_for(lambda: watchers(site) == 0)


def test_a_client_that_closes_only_its_own_side_costs_nothing(
    site: Site, store: Store, job: Job
) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=LONG) as client:
        request = (
            f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream"
        )
        client.sendall(f"{request}\r\n\r\n".encode())
        received = b""
        while b"submitted" not in received:
            piece = client.recv(65_536)
            assert piece, received
            received += piece
        client.shutdown(socket.SHUT_WR)
        wait_for(lambda: watchers(site) == 0)

    store.cancel(job.id, Owner.current(), turn_seconds=60)
    assert site.client.get(f"/v1/jobs/{job.id}").json()["status"] == "cancelled"


def test_streams_leave_room_for_others(site: Site, store: Store, job: Job) -> None:
    path = f"/v1/jobs/{job.id}/events"
    with (
        streaming(site, job.id) as first,
        streaming(site, job.id) as second,
        streaming(site, job.id) as third,
        streaming(site, job.id) as fourth,
    ):
        streams = (first, second, third, fourth)
        for each in streams:
            until(each, "submitted")
        refused = site.client.get(path, headers=STREAM)
        page = site.client.get(path)
        store.cancel(job.id, Owner.current(), turn_seconds=60)
        ends = [until(each, "end").data["status"] for each in streams]

    assert problem(refused, 503, "too_many_waiting")["hint"]
    assert int(refused.headers["Retry-After"]) > 0
    assert page.status_code == 200
    assert ends == ["cancelled"] * 4


def test_a_service_that_is_about_to_end_lets_go_of_its_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draining = threading.Event()
    config = load_config(state_dir=tmp_path / "state")
    with running_service(config, is_draining=draining.is_set) as site:
        job = submitted(site.context.store, ingest_spec(tmp_path))
        with streaming(site, job.id) as events:
            until(events, "submitted")
            draining.set()
            rest = [each.type for each in events]

    assert "end" not in rest


def test_a_stream_of_a_job_that_can_be_read_no_more_is_cut_off(site: Site, job: Job) -> None:
    with streaming(site, job.id) as events:
        next(each for each in events if each.comments)
        # What another version of the program would not write either.
        with closing(sqlite3.connect(site.state / "jobs.db")) as database:
            database.execute("UPDATE jobs SET progress = 'no JSON' WHERE id = ?", (job.id,))
            database.commit()
        with pytest.raises(httpx.RemoteProtocolError):
            until(events, "end")


@pytest.mark.parametrize("last_id", ["-1", "x", "1.5", "1-end-end", "9" * 30, "1 2"])
def test_an_id_that_no_event_has_is_refused(site: Site, job: Job, last_id: str) -> None:
    asked = site.client.get(
        f"/v1/jobs/{job.id}/events", headers=STREAM | {"Last-Event-ID": last_id}
    )

    problem(asked, 422, "invalid_request")


def test_there_are_no_events_of_a_job_that_is_not_there(site: Site) -> None:
    problem(site.client.get(f"/v1/jobs/{NO_ID}/events"), 404, "job_not_found")
    problem(site.client.get(f"/v1/jobs/{NO_ID}/events", headers=STREAM), 404, "job_not_found")
