"""The dead-letter actor of `up`: failures are retried and told of, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.ids import document_id
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus, NewFailure, Subject
from lexigram_ray.jobs.redriving import redrive
from lexigram_ray.jobs.store import Store
from tests.documents import docx_file, truncated_docx
from tests.integration.up_site import SETTINGS, Site
from tests.tables import sources

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.chaos]

HANDLER = """
from pathlib import Path

async def note(letter):
    with Path(__file__).with_name("told.txt").open("a") as file:
        file.write(letter.id + "\\n")
"""
REFUSALS = 2


class Receiver:
    """A real HTTP server that refuses what it is sent first.

    Attributes:
        got: Idempotency key and body of each request, in order.
    """

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.got.append((self.headers["Idempotency-Key"], body))
                self.send_response(503 if len(receiver.got) <= REFUSALS else 204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/failures?key=secret"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    with made.running():
        yield made


@pytest.fixture
def site(state: Path, tmp_path: Path, receiver: Receiver) -> Iterator[Site]:
    (tmp_path / "my_handler.py").write_text(HANDLER)
    letters = {
        "BASE_BACKOFF_SECONDS": "1",
        "WEBHOOK_URL": receiver.url,
        "HANDLER": "my_handler:note",
    }
    own = {f"LEX_AI_WORKERS__DEAD_LETTERS__{name}": value for name, value in letters.items()}
    # Small jobs in the runner's own process: it is the actor that is killed here.
    inline = {"LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "100"}
    found = Site(state, SETTINGS | inline | own | {"PYTHONPATH": str(tmp_path)})
    yield found
    found.close()


def actor_pid(site: Site) -> int | None:
    pids = [pid for name, pid in site.actor_pids().items() if name.startswith("dlq:")]
    return pids[0] if pids else None


def is_addressed(store: Store, letter_id: str) -> bool:
    letter = store.dead_letters.get(letter_id)
    assert letter is not None
    return letter.status is LetterStatus.ADDRESSED


def test_failures_are_told_and_retried_though_the_actor_is_killed(
    site: Site, receiver: Receiver, docs: Path, tmp_path: Path
) -> None:
    begun, again = site.done("up"), site.done("up")
    assert (begun["started_dead_letters"], again["started_dead_letters"]) == (True, False)
    assert again["dead_letters"] == begun["dead_letters"]
    killed = begun["dead_letters"]["pid"]
    os.kill(killed, signal.SIGKILL)
    site.wait_for("another actor", lambda _: actor_pid(site) not in (None, killed))

    # One that nobody retries is told of, until it is taken, to each who is to be told.
    broken = docs / "broken.docx"
    broken.write_bytes(truncated_docx())
    ingested = site.run("ingest", docs, "-c", "docs")
    assert ingested.code == 3, ingested.stderr
    with site.store() as store:
        [letter] = store.dead_letters.each(LetterFilter())
    told = tmp_path / "told.txt"
    site.wait_for("the handler", lambda _: told.exists())
    # The refusals of one keep nothing from the other.
    site.wait_for("the webhook", lambda _: len(receiver.got) > REFUSALS)
    assert told.read_text().split() == [letter.id]
    assert len(receiver.got) == REFUSALS + 1
    assert len({key for key, _ in receiver.got}) == 1
    assert [body["letter"]["id"] for _, body in receiver.got] == [letter.id] * (REFUSALS + 1)
    assert receiver.got[-1][1]["letter"]["category"] == letter.category.value

    # Mended, and retried at a rate: the actor does it. One that may pass, it retries by itself.
    broken.unlink()
    mended, late = docs / "broken.docx", docs / "late.md"
    mended.write_bytes(docx_file())
    late.write_text("# Late\n\nAn owl sees well at night.\n")
    failure = NewFailure(
        subject=Subject.DOCUMENT,
        subject_id=document_id(late),
        source=str(late),
        origin=str(late),
        category=FailureCategory.TRANSIENT,
        code="embedder_died",
        error="the embedder died",
    )
    staged = load_config(state_dir=site.state).paths.staged
    with site.store() as store:
        done = redrive(store, LetterFilter(ids=(letter.id,)), staged=staged, per_minute=600)
        assert done.scheduled == 1
        store.dead_letters.add("ingest", "docs", letter.job_id, [failure])
        letters = store.dead_letters.each(LetterFilter())
        [passing] = [each for each in letters if each.id != letter.id]
    site.wait_for("the mended one", lambda store: is_addressed(store, letter.id))
    site.wait_for("the passing one", lambda store: is_addressed(store, passing.id))
    assert {mended.name, late.name} <= set(sources(site.state, "docs"))
    assert told.read_text().split() == [letter.id]

    assert site.done("down")["ended_head"]
