"""What `serve` notes for the commands after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.service.service_note import (
    NotedService,
    forget_service,
    note_service,
    noted_service,
    url_at,
)


def noted(watcher: Owner | None) -> NotedService:
    return NotedService(
        host="127.0.0.1",
        port=8000,
        settings_key="k",
        started_serve=True,
        started_cluster=False,
        watcher=watcher,
    )


@pytest.mark.parametrize("watcher", [None, Owner.current()])
def test_a_note_is_read_back_as_it_was_written(tmp_path: Path, watcher: Owner | None) -> None:
    config = WorkersConfig(state_dir=tmp_path)
    assert noted_service(config) is None
    note_service(config, noted(watcher))
    found = noted_service(config)
    assert found == noted(watcher)
    assert found is not None
    assert found.is_watched is (watcher is not None)
    forget_service(config)
    assert noted_service(config) is None


def test_a_watcher_that_has_died_watches_no_more() -> None:
    gone = Owner(host=Owner.current().host, pid=1, process_started=1, boot_id="another boot")
    assert not noted(gone).is_watched


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"watcher": null}', '{"watcher": 3}'])
def test_a_note_that_cannot_be_read_says_what_to_do(tmp_path: Path, text: str) -> None:
    config = WorkersConfig(state_dir=tmp_path)
    (tmp_path / "service.json").write_text(text)
    with pytest.raises(UsageError) as raised:
        noted_service(config)
    assert "remove that file" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("[::1]", "http://[::1]:80"),
        ("models.example.org", "http://models.example.org:80"),
    ],
)
def test_the_url_is_one_that_answers_on_this_machine(host: str, url: str) -> None:
    assert url_at(host, 80) == url
