"""Which cluster a command attaches to: asked for, started in, or noted by `up` and still there."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.runtime.cluster_file import (
    NotedCluster,
    forget_cluster,
    note_cluster,
    note_path,
    noted_cluster,
    wanted_address,
)
from lexigram_ray.runtime.head import Head, end_head
from lexigram_ray.runtime.token_auth import ensure_token

TOKEN_VARIABLES = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TOKEN_VARIABLES:
        # Set first, so that it is put back whatever the code under test does.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path)


def this_process(folder: Path) -> Head:
    sockets = folder / "session_1" / "sockets"
    sockets.mkdir(parents=True, exist_ok=True)
    (sockets / "raylet").touch()
    return Head(owner=Owner.current(), folder=str(folder))


def noted(head: Head | None) -> NotedCluster:
    return NotedCluster(address="LOCALHOST:7000", head=head)


def test_without_a_note_a_command_has_a_cluster_of_its_own(config: WorkersConfig) -> None:
    assert noted_cluster(config) is None
    assert wanted_address(config, None) is None


def test_a_command_attaches_to_the_noted_cluster_until_it_is_forgotten(
    config: WorkersConfig, tmp_path: Path
) -> None:
    cluster = noted(this_process(tmp_path))
    note_cluster(config, cluster)
    assert noted_cluster(config) == cluster
    assert wanted_address(config, None) == "LOCALHOST:7000"

    forget_cluster(config)
    assert wanted_address(config, None) is None


def test_a_head_whose_sockets_were_cleaned_away_is_not_attached_to(
    config: WorkersConfig, tmp_path: Path
) -> None:
    head = this_process(tmp_path)
    note_cluster(config, noted(head))
    (tmp_path / "session_1" / "sockets" / "raylet").unlink()

    assert head.is_running()
    assert wanted_address(config, None) is None


def test_a_head_whose_process_is_gone_is_not_attached_to(
    config: WorkersConfig, tmp_path: Path
) -> None:
    head = this_process(tmp_path)
    started = head.owner.process_started
    earlier = replace(head, owner=replace(head.owner, process_started=started - 1))
    note_cluster(config, noted(earlier))

    assert wanted_address(config, None) is None
    assert earlier.processes() == []


def test_a_head_of_an_earlier_boot_has_ended_and_another_container_s_is_left_alone(
    config: WorkersConfig, tmp_path: Path
) -> None:
    head = this_process(tmp_path)
    earlier = replace(head, owner=replace(head.owner, boot_id="earlier"))
    contained = replace(head, owner=replace(head.owner, pid_namespace="pid:[1]"))

    assert (earlier.is_elsewhere, contained.is_elsewhere, head.is_elsewhere) == (False, True, False)
    for other in (earlier, contained):
        note_cluster(config, noted(other))
        assert wanted_address(config, None) is None
        assert other.processes() == []


def test_what_a_head_has_started_is_found_and_ended_though_its_first_process_has_died(
    tmp_path: Path,
) -> None:
    process = subprocess.Popen(["/bin/sh", "-c", "sleep 600 & exit"], start_new_session=True)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    head = Head(owner=Owner.of(process.pid), folder=str(tmp_path))

    assert not head.is_running()
    assert len(head.processes()) == 1
    process.wait()
    assert len(head.processes()) == 1
    assert end_head(head) == 1
    assert head.processes() == []


def test_what_is_asked_for_goes_before_the_environment_and_that_before_the_note(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_cluster(config, noted(None))
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")

    assert wanted_address(config, "other:6379") == "other:6379"
    assert wanted_address(config, None) == "head:6379"


@pytest.mark.parametrize("asked", ["127.0.0.1:7000", "localhost:7000"])
def test_the_noted_head_is_reached_however_its_address_is_written(
    config: WorkersConfig, asked: str, tmp_path: Path
) -> None:
    note_cluster(config, noted(this_process(tmp_path)))

    assert wanted_address(config, asked) == "LOCALHOST:7000"


def test_attaching_shows_the_cluster_s_token_unless_the_user_has_said_otherwise(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    note_cluster(config, replace(noted(None), auth_mode="token", token_path=str(tmp_path / "t")))
    wanted_address(config, None)

    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "t")


def test_a_token_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    found = ensure_token({"RAY_AUTH_TOKEN_PATH": str(path)})
    first = path.read_text()
    ensure_token({"RAY_AUTH_TOKEN_PATH": str(path)})

    assert found == str(path)
    assert path.read_text() == first
    assert len(first) >= 32
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"address": 1, "more": 2, "head": null}'])
def test_a_note_that_is_damaged_is_named_with_the_way_out(config: WorkersConfig, text: str) -> None:
    note_path(config).write_text(text)

    with pytest.raises(UsageError, match=r"cluster\.json is no note") as caught:
        noted_cluster(config)
    assert "remove that file" in str(caught.value.hint)


def test_a_note_whose_head_is_of_another_form_is_named_too(
    config: WorkersConfig, tmp_path: Path
) -> None:
    head = this_process(tmp_path)
    for wrong in ({"host": "here", "pid": 1}, asdict(head) | {"more": 2}, "here"):
        note_path(config).write_text(json.dumps({"address": None, "head": wrong}))
        with pytest.raises(UsageError, match=r"cluster\.json is no note"):
            noted_cluster(config)
