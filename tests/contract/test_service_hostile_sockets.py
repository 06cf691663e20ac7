"""What no client library would send, and connections that are left open, cut or half closed."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from lexigram_ray.service import body_limit
from tests.contract.hostile_site import (
    LONG,
    STREAMS,
    converted_models,
    filled,
    sent_raw,
    status_of,
    unharmed,
)
from tests.filled_service import COLLECTION, FilledService

__all__ = ["converted_models", "filled", "unharmed"]

pytestmark = pytest.mark.timeout(300)

STREAM = {"Accept": "text/event-stream"}


def head(filled: FilledService, method: str, path: str, *lines: str, token: bool = True) -> bytes:
    """The head of a request, up to and with its empty line."""
    known = [f"Authorization: {filled.bearer()['Authorization']}"] if token else []
    start = [f"{method} {path} HTTP/1.1", "Host: localhost", *known, *lines]
    return ("\r\n".join(start) + "\r\n\r\n").encode("latin-1")


@pytest.mark.parametrize("header", ["X-Request-ID", "Idempotency-Key"])
@pytest.mark.parametrize(
    "value",
    [
        "a\r\nSet-Cookie: session=1",
        "a\nSet-Cookie: session=1",
        "a\rSet-Cookie: session=1",
        "a\x00b",
        "a%0d%0aSet-Cookie: session=1",
        "a\r\n Set-Cookie: folded",
        "a" * 5_000,
        "\xff\xfe",
    ],
    ids=["crlf", "lf", "cr", "nul", "percent", "folded", "long", "latin"],
)
def test_a_header_cannot_bring_another_one_into_the_answer(
    filled: FilledService, header: str, value: str
) -> None:
    body = b'{"collection": "x", "texts": []}'
    lines = (f"{header}: {value}", "Content-Type: application/json", f"Content-Length: {len(body)}")
    answer = sent_raw(filled, head(filled, "POST", "/v1/embedding-jobs", *lines), body)
    assert status_of(answer) in (400, 422)
    assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/jobs HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /v1/jobs\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"\x00" * 1_000,
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(filled: FilledService, request_line: bytes) -> None:
    # 401 comes before what is wrong with a body.
    assert status_of(sent_raw(filled, request_line, ends=True)) in (0, 400, 401)


@pytest.mark.parametrize("target", ["http://localhost/v1/jobs", "http://evil.example/v1/jobs"])
def test_a_target_with_a_host_is_no_way_past_the_token(filled: FilledService, target: str) -> None:
    answer = sent_raw(filled, head(filled, "GET", target, token=False))
    assert status_of(answer) in (400, 401, 404)


@pytest.mark.parametrize(
    "path",
    ["/v1/../openapi.json", "/v1%2fjobs", "/%76%31/jobs", "/v1/jobs?", "/v1/jobs;x", "/V1/jobs"],
)
def test_another_spelling_of_a_path_is_no_way_past_the_token(
    filled: FilledService, path: str
) -> None:
    answer = sent_raw(filled, head(filled, "GET", path, token=False))
    assert status_of(answer) in (401, 404)


def test_headers_without_end_are_refused(filled: FilledService) -> None:
    for lines in (
        [f"X-Long: {'a' * 2_000_000}"],
        [f"X-{number}: {'a' * 100}" for number in range(10_000)],
    ):
        answer = sent_raw(filled, head(filled, "GET", "/v1/jobs", *lines))
        assert status_of(answer) in (0, 400, 431), answer[:200]
        # They come before the question who asks.
        stranger = sent_raw(filled, head(filled, "GET", "/v1/jobs", *lines, token=False))
        assert status_of(stranger) in (0, 400, 431), stranger[:200]


# -- Bodies that do not come -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        (f"/v1/collections/{COLLECTION}/search", "application/json"),
        ("/v1/embeddings", "application/json"),
        ("/v1/embedding-jobs", "application/json"),
        ("/v1/documents", "multipart/form-data; boundary=b"),
    ],
)
def test_a_body_that_stalls_is_waited_for_only_so_long(
    filled: FilledService, path: str, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limit, "IDLE_SECONDS", 0.5)
    lines = (f"Content-Type: {media_type}", "Content-Length: 1000")
    answer = sent_raw(filled, head(filled, "POST", path, *lines), b"{")
    assert status_of(answer) == 408
    # One that has gone leaves nothing either.
    with socket.create_connection(("127.0.0.1", filled.site.port), timeout=LONG) as connection:
        connection.sendall(head(filled, "POST", path, *lines) + b"{")


# -- Streams ---------------------------------------------------------------------------------------


@contextmanager
def stream(filled: FilledService, job_id: str) -> Generator[httpx.Response]:
    with (
        httpx.Client(base_url=filled.site.url, timeout=LONG) as client,
        client.stream(
            "GET", f"/v1/jobs/{job_id}/events", headers=STREAM | filled.bearer("read")
        ) as answer,
    ):
        yield answer


def may_stream(filled: FilledService, job_id: str) -> bool:
    """Whether there is room for a stream now."""
    with stream(filled, job_id) as answer:
        return answer.status_code == 200


def wait_for_room(filled: FilledService, job_id: str) -> None:
    deadline = time.monotonic() + LONG
    while not may_stream(filled, job_id):
        assert time.monotonic() < deadline, "streams that were left are still there"
        time.sleep(0.05)


def test_streams_beyond_the_room_are_refused_until_others_have_gone(filled: FilledService) -> None:
    job = filled.pending_job()
    with ExitStack() as opened:
        for _ in range(STREAMS):
            assert opened.enter_context(stream(filled, job)).status_code == 200
        for _ in range(20):
            with stream(filled, job) as answer:
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) > 0
                assert b"too_many_waiting" in answer.read()
        waiting = filled.ask("GET", f"/v1/jobs/{job}?wait=30")
        assert waiting.status_code == 503
        assert filled.ask("GET", f"/v1/jobs/{job}").status_code == 200
    wait_for_room(filled, job)


def test_a_stream_that_is_half_closed_or_cut_gives_its_room_back(filled: FilledService) -> None:
    job = filled.pending_job()
    request = head(filled, "GET", f"/v1/jobs/{job}/events", "Accept: text/event-stream")
    with ExitStack() as opened:
        for number in range(STREAMS):
            connection = opened.enter_context(
                socket.create_connection(("127.0.0.1", filled.site.port), timeout=LONG)
            )
            connection.sendall(request)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            if number % 2:
                connection.shutdown(socket.SHUT_WR)
    wait_for_room(filled, job)


def test_a_reader_that_does_not_read_keeps_nobody_from_reading(filled: FilledService) -> None:
    with socket.create_connection(("127.0.0.1", filled.site.port), timeout=LONG) as connection:
        for _ in range(200):
            connection.sendall(head(filled, "GET", "/v1/jobs?limit=1000"))
        assert filled.ask("GET", "/v1/jobs").status_code == 200
