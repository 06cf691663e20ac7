"""`lexigram-ray serve`: it says where it answers, is found again, and ends without a loss."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from lexigram_ray.core.environment_checks import is_loopback
from tests.integration.ports import free_port
from tests.integration.served_site import (
    PROXY,
    REPLICA,
    ServedSite,
    eventually,
    serving,
    status_of,
)
from tests.ready_state import with_model

pytestmark = [pytest.mark.slow, pytest.mark.ray]

BODY = {"collection": "notes", "texts": [{"id": "t1", "text": "Fog signals are given twice."}]}


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, converted_models: Path
) -> Iterator[ServedSite]:
    state = with_model(tmp_path_factory.mktemp("served") / "state", converted_models)
    with serving(state) as site:
        yield site


def test_serve_says_where_it_answers_and_a_second_one_finds_it_there(served: ServedSite) -> None:
    with served.client() as client:
        assert client.get("/livez").json() == {"status": "up"}
        assert client.get("/readyz").status_code == 200
        answer = client.post("/v1/embedding-jobs", json=BODY)
        assert answer.status_code == 202
        assert client.get(answer.headers["Location"]).json()["id"] == answer.json()["id"]
    assert served.report["started_cluster"]
    assert served.report["started_serve"]
    assert not served.report["was_up"]
    assert served.done("status")["service"] == {"url": served.url, "readiness": "ready"}
    # As the dashboard shows them.
    assert len(served.pids(REPLICA)) == 1
    assert len(served.pids(PROXY)) == 1

    again = served.done("serve", "deploy", "--port", "0")
    assert (again["url"], again["was_up"], again["watched_elsewhere"]) == (served.url, True, True)
    elsewhere = served.run("serve", "--port", str(free_port()))
    assert elsewhere.code == 2
    assert served.url in elsewhere.object["error"]["message"]  # pyright: ignore[reportIndexIssue]


def test_it_listens_to_no_other_machine(served: ServedSite) -> None:
    for pid in (*served.pids(REPLICA), *served.pids(PROXY)):
        sockets = psutil.Process(pid).net_connections("tcp")
        listening = [each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN]
        assert [ip for ip in listening if not is_loopback(ip.removeprefix("::ffff:"))] == []


def test_a_request_has_one_id_its_client_s_own_where_it_has_one(served: ServedSite) -> None:
    with served.client() as client:
        given = client.get("/v1/jobs/none", headers={"X-Request-ID": "mine-1"})
        made = client.get("/v1/jobs/none")
    assert given.headers.get_list("X-Request-ID") == ["mine-1"]
    assert given.json()["request_id"] == "mine-1"
    assert made.headers.get_list("X-Request-ID") == [made.json()["request_id"]]


def test_it_ends_not_ready_first_and_what_is_under_way_ends_well(served: ServedSite) -> None:
    head = served.head()
    assert head is not None
    with served.client() as client:
        job = client.post("/v1/embedding-jobs", json=BODY).json()
    answers: list[httpx.Response] = []
    may_finish = threading.Event()
    slow = threading.Thread(target=lambda: answers.append(post_slowly(served, may_finish)))
    slow.start()
    stream = Stream(served, job["id"])
    stream.wait_for_a_line()

    with served.client() as client:
        served.signal(signal.SIGTERM)
        eventually(lambda: status_of(client, "/readyz") == 503, "not ready")
        # Until it takes nothing new, what comes all the same is answered.
        assert client.get("/livez").status_code == 200
        eventually(lambda: status_of(client, "/livez") != 200, "nothing new is taken")
    may_finish.set()
    slow.join()

    assert answers[0].status_code == 202
    with served.store() as store:
        assert store.get(answers[0].json()["id"]) is not None
    assert served.wait() == 0
    stream.join()
    assert stream.error is None
    assert head.processes() == []
    assert not (served.state / "service.json").exists()
    assert served.run("status").object["service"] is None  # pyright: ignore[reportOptionalSubscript]
    assert not (served.state / "service-ending.json").exists()
    assert served.done("serve", "down")["was_up"] is False


def test_a_port_that_is_in_use_is_refused_before_ray_is_started(state: Path) -> None:
    site = ServedSite(state)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = site.run("serve", "--port", str(port))
    assert refused.code == 2
    error: Any = refused.object["error"]
    assert f"port {port}" in error["message"]
    assert "--port" in error["hint"]
    assert site.head() is None


def test_without_a_token_it_does_not_listen_to_other_machines(state: Path) -> None:
    site = ServedSite(state)
    refused = site.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.code == 2
    assert "token" in json.dumps(refused.object)
    assert site.head() is None


def post_slowly(served: ServedSite, may_finish: threading.Event) -> httpx.Response:
    """Send half of a submission, and the rest once that is allowed."""
    body = json.dumps(BODY).encode()

    def parts() -> Iterator[bytes]:
        yield body[:10]
        may_finish.wait(60)
        yield body[10:]

    with served.client() as client:
        return client.post(
            "/v1/embedding-jobs", content=parts(), headers={"Content-Type": "application/json"}
        )


class Stream:
    """A client that reads a job's events until they end."""

    def __init__(self, served: ServedSite, job_id: str) -> None:
        self._served = served
        self._path = f"/v1/jobs/{job_id}/events"
        self._has_line = threading.Event()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_for_a_line(self) -> None:
        assert self._has_line.wait(60), self.error

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _read(self) -> None:
        try:
            with (
                self._served.client(timeout=120.0) as client,
                client.stream("GET", self._path) as answer,
            ):
                assert answer.status_code == 200
                for _ in answer.iter_lines():
                    self._has_line.set()
        except (httpx.HTTPError, AssertionError) as error:
            self.error = error
