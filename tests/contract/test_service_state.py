"""`status` tells how the service answers that `serve` has noted."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.service import haproxy
from lexigram_ray.service.service_note import NotedService, note_service
from lexigram_ray.service.service_state import read_service
from tests.command_line import run_cli, start_cli
from tests.integration.ports import free_port

NO_REPLICA = (Path(haproxy.__file__).with_name("haproxy_answers") / "503.json").read_text()
MOST_LOOKS = 200


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state")


@contextmanager
def answering(status: int, body: str) -> Generator[int]:
    """Answer every GET with a status and a body; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def note(config: WorkersConfig, port: int) -> str:
    """Note a service, and return its URL."""
    noted = NotedService(
        host="127.0.0.1",
        port=port,
        settings_key="",
        started_serve=True,
        started_cluster=True,
        watcher=None,
    )
    note_service(config, noted)
    return noted.url


@pytest.mark.parametrize(
    ("status", "body", "readiness", "words"),
    [
        (200, '{"status": "up"}', "ready", "is ready"),
        (503, '{"status": "down"}', "not_ready", "is not ready"),
        (503, NO_REPLICA, "not_ready", "is not ready"),
        (404, "", "silent", "does not answer"),
        (200, "another program's", "silent", "does not answer"),
        (200, '{"status": ["up"]}', "silent", "does not answer"),
        (200, "[]", "silent", "does not answer"),
    ],
)
def test_it_is_ready_or_not_or_silent(
    config: WorkersConfig, status: int, body: str, readiness: str, words: str
) -> None:
    with answering(status, body) as port:
        url = note(config, port)
        shown, seen = shown_by_status(config), read_service(config)
    assert seen is not None
    assert seen.to_dict() == {"url": url, "readiness": readiness}
    assert f"service    {url} {words}\n" in shown


def test_where_nothing_listens_it_does_not_answer(config: WorkersConfig) -> None:
    url = note(config, free_port())
    seen = read_service(config)
    assert seen is not None
    assert seen.to_dict() == {"url": url, "readiness": "silent"}
    assert f"service    {url} does not answer\n" in shown_by_status(config)


def test_a_watch_tells_of_it_too(config: WorkersConfig) -> None:
    with answering(200, '{"status": "up"}') as port:
        url = note(config, port)
        options = ("--watch", "--json", "--interval", "0.2")
        process = start_cli("status", *options, state=config.paths.root)
        assert process.stdout is not None
        told = (json.loads(line)["service"] for line in islice(process.stdout, MOST_LOOKS))
        found = next((service for service in told if service is not None), None)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert found == {"url": url, "readiness": "ready"}
    assert process.returncode == 0


def test_where_none_was_started_nothing_is_shown(config: WorkersConfig) -> None:
    assert read_service(config) is None
    assert "service" not in shown_by_status(config)


def shown_by_status(config: WorkersConfig) -> str:
    return run_cli("status", state=config.paths.root).stdout
