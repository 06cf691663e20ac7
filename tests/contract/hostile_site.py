"""The service that hostile requests are sent to, and whether it is unharmed after each."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.filled_service import ANSWER, COLLECTION, QUESTION, TEXTS, FilledService, filled_service
from tests.ready_state import converted_models, with_model

__all__ = ["converted_models", "filled", "sent_raw", "status_of", "unharmed"]

LONG = 30.0
"""Seconds that something may take on a busy machine; nothing is meant to."""

URL_HOSTS = ("169.254.169.254", "localhost", "127.0.0.1", "0x7f000001", "2130706433", "[::1]")
STREAMS = 4
SETTINGS: dict[str, object] = {
    "max_body_mb": 0.5,
    "max_upload_mb": 1.0,
    "max_files": 20,
    # One half is for those that wait.
    "max_ongoing_requests": 2 * STREAMS,
    "requests_per_minute": 1_000_000,
    "heartbeat_seconds": 0.3,
    "urls": {"enabled": True, "allowed_hosts": URL_HOSTS, "timeout_seconds": 10},
}


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, converted_models: Path
) -> Iterator[FilledService]:
    folder = tmp_path_factory.mktemp("hostile")
    state = with_model(folder / "state", converted_models)
    with filled_service(state, folder / "docs", **SETTINGS) as running:
        (running.docs / "way-out").symlink_to("/etc")
        yield running


@pytest.fixture(autouse=True)
def unharmed(filled: FilledService) -> Iterator[None]:
    """After each test it is ready, finds what it found before, and nothing is left over."""
    yield
    assert filled.ask("GET", "/readyz").status_code == 200
    found = filled.ask(
        "POST", f"/v1/collections/{COLLECTION}/search", "read", json={"query": QUESTION}
    )
    assert found.status_code == 200, found.text
    hits = found.json()["hits"]
    assert (hits[0]["text"], len(hits)) == (ANSWER, len(TEXTS))
    incoming = filled.site.context.config.paths.uploads / ".incoming"
    assert not list(incoming.glob("*"))


def sent_raw(filled: FilledService, *parts: bytes, ends: bool = False) -> bytes:
    """What is answered to bytes that no client library would send, up to the end of its headers.

    Args:
        ends: Whether the connection's sending half is closed behind them.
    """
    with socket.create_connection(("127.0.0.1", filled.site.port), timeout=LONG) as connection:
        answer = b""
        try:
            for part in parts:
                connection.sendall(part)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            while b"\r\n\r\n" not in answer and (more := connection.recv(65536)):
                answer += more
        except ConnectionError:
            # Cut in the middle of what is too much: an answer too.
            pass
    return answer


def status_of(answer: bytes) -> int:
    """The status of an answer; 0 where the connection was cut without one."""
    return int(answer.split(b" ", 2)[1]) if answer else 0
