"""Telling of failures: again until they are taken, and none because of another one."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs import letter_targets
from lexigram_ray.jobs.letter_records import NewFailure, Subject
from lexigram_ray.jobs.letter_targets import check_targets
from lexigram_ray.jobs.notifying import Notifier, Told
from lexigram_ray.jobs.store import Store

HANDLERS = """
import asyncio
import threading
from pathlib import Path

told, release = [], threading.Event()

def take(letter):
    told.append(letter.subject_id)

def refuse_first(letter):
    told.append(letter.subject_id)
    if told.count("1") == 1 and letter.subject_id == "1":
        raise ValueError("not this one, password=hunter2")

def hang(letter):
    told.append(letter.subject_id)
    release.wait()

def leave(letter):
    raise SystemExit(3)

async def cancelled(letter):
    raise asyncio.CancelledError

no_function = 3
"""


class Receiver(ThreadingHTTPServer):
    """A real HTTP server; what it answers is set from outside.

    Attributes:
        statuses: Of the next answers; 204 after them.
        got: The bodies.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.statuses: list[int] = []
        self.got: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?key=hunter2"


class Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Receiver)
        server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(server.statuses.pop(0) if server.statuses else 204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "my_handlers.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(tmp_path)
    import my_handlers  # pyright: ignore[reportMissingImports]

    yield my_handlers
    my_handlers.release.set()
    del sys.modules["my_handlers"]


class Desk:
    """A store with failures that nobody retries, and whoever tells of them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.seconds = 1_800_000_000.0
        self.config = load_config(state_dir=folder, dead_letters=settings)
        self.store = Store.open(self.config.paths.store_url, clock=lambda: self.seconds)
        self.restart()

    def restart(self) -> None:
        self.notifier = Notifier(self.config, self.store, lambda: self.seconds, lambda: 1.0)

    def fail(self, *numbers: int, category: FailureCategory = FailureCategory.PERMANENT) -> None:
        failures = [
            NewFailure(
                subject=Subject.DOCUMENT,
                subject_id=str(number),
                source=f"/{number}",
                origin=f"/{number}",
                category=category,
                code="unreadable",
                error="it cannot be read",
                traceback="Traceback: line 1",
            )
            for number in numbers
        ]
        self.store.dead_letters.add("ingest", "docs", "job", failures)

    def look(self, after: float = 0.0) -> Told:
        self.seconds += after
        return self.notifier.look()


def test_a_failure_is_told_once_and_only_if_nobody_retries_it(
    tmp_path: Path, receiver: Receiver
) -> None:
    desk = Desk(tmp_path, webhook_url=receiver.url)
    with desk.store:
        desk.fail(1)
        desk.fail(2, category=FailureCategory.TRANSIENT)

        assert [desk.look(), desk.look(1_000)] == [Told(told=1), Told()]

    [body] = receiver.got
    assert (body["event"], body["letter"]["source"]) == ("dead_letter", "/1")
    assert body["letter"]["attempts"][0]["traceback"] is None


def test_a_server_that_fails_is_asked_again_later_and_with_growing_waits(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [503, 429]
    desk = Desk(tmp_path, webhook_url=receiver.url)
    with desk.store, caplog.at_level(logging.WARNING, "lexigram_ray"):
        desk.fail(1)

        looks = [desk.look(), desk.look(1), desk.look(1.5), desk.look(2), desk.look(3)]

    one, nothing = Told(postponed=1), Told()
    assert looks == [one, nothing, one, nothing, Told(told=1)]
    assert len(receiver.got) == 3
    assert "status 503" in caplog.text
    assert "hunter2" not in caplog.text


def test_one_letter_that_is_refused_keeps_no_other_back(tmp_path: Path, receiver: Receiver) -> None:
    receiver.statuses = [400]
    desk = Desk(tmp_path, webhook_url=receiver.url)
    with desk.store:
        desk.fail(1, 2, 3)

        assert desk.look() == Told(told=2, postponed=1)
        assert desk.look(3) == Told(told=1)


def test_a_server_that_is_gone_is_not_asked_for_every_letter(tmp_path: Path) -> None:
    with Receiver() as gone:
        url = gone.url
    desk = Desk(tmp_path, webhook_url=url)
    with desk.store:
        desk.fail(*range(50))

        assert desk.look() == Told(postponed=1)


def test_a_letter_that_one_of_two_has_taken_is_told_only_to_the_other(
    tmp_path: Path, receiver: Receiver, handlers: Any
) -> None:
    desk = Desk(tmp_path, webhook_url=receiver.url, handler="my_handlers:refuse_first")
    with desk.store:
        desk.fail(1, 2)

        assert desk.look() == Told(told=1, postponed=1)
        assert desk.look(3) == Told(told=1)

    assert sorted(handlers.told) == ["1", "1", "2"]
    assert len(receiver.got) == 2


def test_one_that_is_gone_keeps_no_letter_from_the_other(
    tmp_path: Path, receiver: Receiver, handlers: Any
) -> None:
    receiver.statuses = [503]
    desk = Desk(tmp_path, webhook_url=receiver.url, handler="my_handlers:take")
    with desk.store:
        desk.fail(*range(150))

        # The webhook is asked once, and left alone; a look reads 100 letters.
        assert [desk.look(), desk.look()] == [Told(postponed=100), Told(postponed=50)]
        assert (len(receiver.got), len(handlers.told)) == (1, 150)
        looks = [desk.look(3), desk.look()]

    assert sum(look.told for look in looks) == 150
    assert (len(receiver.got), len(handlers.told)) == (151, 150)


def test_a_letter_that_always_makes_the_server_fail_keeps_no_other_back(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.statuses = [500]
    desk = Desk(tmp_path, webhook_url=receiver.url)
    with desk.store:
        desk.fail(1, 2, 3)
        assert desk.look() == Told(postponed=1)
        receiver.statuses = [204, 204, 500]

        assert desk.look(2) == Told(told=2, postponed=1)


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_server_that_is_not_the_right_one_is_not_asked_for_every_letter(
    tmp_path: Path, receiver: Receiver, status: int
) -> None:
    receiver.statuses = [status]
    desk = Desk(tmp_path, webhook_url=receiver.url)
    with desk.store:
        desk.fail(*range(9))

        assert [desk.look(), desk.look()] == [Told(postponed=1), Told()]
    assert len(receiver.got) == 1


@pytest.mark.parametrize("handler", ["my_handlers:leave", "my_handlers:cancelled", "leaving:take"])
@pytest.mark.usefixtures("handlers")
def test_a_function_that_ends_its_program_ends_only_its_own_call(
    tmp_path: Path, handler: str
) -> None:
    (tmp_path / "leaving.py").write_text("raise SystemExit(1)")
    desk = Desk(tmp_path, handler=handler)
    with desk.store:
        desk.fail(1)

        assert desk.look() == Told(postponed=1)


def test_a_function_that_hangs_is_left_alone_until_it_has_ended(
    tmp_path: Path, handlers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letter_targets, "HANDLER_SECONDS", 0.1)
    desk = Desk(tmp_path, handler="my_handlers:hang")
    with desk.store:
        desk.fail(1)

        assert [desk.look(), desk.look(100)] == [Told(postponed=1), Told(postponed=1)]
        assert handlers.told == ["1"]
        handlers.release.set()
        deadline = time.monotonic() + 10
        while not (last := desk.look(1_000)).told and time.monotonic() < deadline:
            time.sleep(0.01)
        assert last == Told(told=1)


def test_what_was_told_before_a_restart_is_not_told_again(tmp_path: Path, handlers: Any) -> None:
    desk = Desk(tmp_path, handler="my_handlers:take")
    with desk.store:
        desk.fail(1)
        desk.look()
        desk.restart()

        assert desk.look() == Told()
    assert handlers.told == ["1"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"webhook_url": "example.org/hook"}, "is no URL that can be sent to"),
        ({"handler": "my_handlers"}, "names no function"),
        ({"handler": "my_handlers:missing"}, "cannot be imported"),
        ({"handler": "no_such_module:take"}, "cannot be imported: ModuleNotFoundError"),
        ({"handler": "my_handlers:no_function"}, "is no function"),
    ],
)
@pytest.mark.usefixtures("handlers")
def test_settings_by_which_nobody_can_be_told_are_refused(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    config = load_config(state_dir=tmp_path, dead_letters=settings)

    with pytest.raises(ConfigError, match=reason) as refused:
        check_targets(config)

    assert refused.value.hint
