from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lexigram_ray.cli.app import run
from lexigram_ray.cli.submit_log import JobLog
from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import ClusterUnreachableError, UsageError
from lexigram_ray.runtime.cluster_file import NotedCluster, note_cluster
from lexigram_ray.runtime.submission_address import dashboard_of, submission_address
from lexigram_ray.runtime.working_dir import MOST_BYTES, check_working_dir

RAY_VARIABLES = (
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
)


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in RAY_VARIABLES:
        # What a test has the process set is taken back as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEXIGRAM_RAY_STATE", str(tmp_path / "state"))


WRONG = {
    "nothing": ([], "nothing to submit"),
    "another command": (["--", "search", "x"], "search is no command that is submitted"),
    "an unknown option": (["ingest", "/data", "-c", "data", "--colour"], "no such option"),
    "no collection": (["ingest", "/data"], "missing option"),
    "an address behind it": (["ingest", "/d", "-c", "d", "--address", "h:1"], "--address of the"),
    "no waiting behind it": (["ingest", "/d", "-c", "d", "--no-wait"], "only record a job"),
    "a relative path": (["ingest", "notes", "-c", "d"], "notes is a path in this folder"),
    "a relative state": (["ingest", "/d", "-c", "d", "--state", "s"], "--state s is a path"),
    "stdin": (["embed", "-", "-c", "d"], "stdin"),
    "a path that does not go along": (
        ["--working-dir", ".", "ingest", "notes", "-c", "d"],
        "no notes in",
    ),
    "no JSON": (["--runtime-env-json", "{", "ingest", "/d", "-c", "d"], "is no JSON"),
    "no object": (["--runtime-env-json", "[]", "ingest", "/d", "-c", "d"], "holds no object"),
    "a wrong id": (["--submission-id", "../x", "ingest", "/d", "-c", "d"], "no id of a job"),
    "two things at once": (["--attach", "a", "--stop", "b"], "takes one of these"),
    "no cluster": (["ingest", "/d", "-c", "d"], "no cluster was named"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_what_cannot_be_submitted_is_refused_before_a_cluster_is_asked(
    case: tuple[list[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = case

    code = run(["--json", "submit", *arguments])

    answered = json.loads(capsys.readouterr().out)
    assert code == 2
    assert message in answered["error"]["message"]
    assert answered["error"]["hint"]


def test_the_log_of_a_job_is_told_apart_into_lines_and_its_result() -> None:
    lines: list[str] = []
    log = JobLog(lines.append, wants_result=True)

    for piece in (
        "Running entrypoint for job x: python -m lexigram_ray\n3 of ",
        '5 documents\n{"message_type": "status"}\n\x1b[1mnote:\x1b[0m done\n{"rows"',
        ": 5}\n\n{not JSON}\nthe end without a newline",
    ):
        log.take(piece)
    log.end()

    assert log.result == {"rows": 5}
    assert lines == [
        "3 of 5 documents",
        '{"message_type": "status"}',
        "note: done",
        "{not JSON}",
        "the end without a newline",
    ]


def test_without_json_an_object_in_the_log_is_a_line_like_others() -> None:
    lines: list[str] = []
    log = JobLog(lines.append, wants_result=False)

    log.take('{"rows": 5}\n')

    assert (log.result, lines) == (None, ['{"rows": 5}'])


def test_the_address_is_the_one_asked_for_then_ray_s_own_then_the_noted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(state_dir=tmp_path / "state")
    token = str(tmp_path / "token")
    noted = NotedCluster(
        address="h:6379", auth_mode="token", token_path=token, dashboard="http://noted:8265"
    )
    with pytest.raises(UsageError):
        submission_address(config, None)

    note_cluster(config, noted)
    assert submission_address(config, None).url == "http://noted:8265"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == token
    # However it is named, it is the one whose token was noted.
    for same in ("H:6379", "http://noted:8265/"):
        monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
        assert submission_address(config, same).url == "http://noted:8265"
        assert os.environ["RAY_AUTH_TOKEN_PATH"] == token
    assert submission_address(config, "https://noted:8265").url == "https://noted:8265"
    monkeypatch.setenv("RAY_ADDRESS", "http://cluster:8265/")
    assert submission_address(config, None).url == "http://cluster:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "https://dashboard")
    assert submission_address(config, None).url == "https://dashboard"
    assert submission_address(config, "http://asked:1").url == "http://asked:1"


def test_an_address_without_a_port_is_refused_and_a_closed_port_is_unreachable() -> None:
    with pytest.raises(UsageError):
        dashboard_of("ray-head")
    with pytest.raises(UsageError):
        dashboard_of("ray://head:10001")
    with pytest.raises(ClusterUnreachableError, match=r"nothing answers at 127\.0\.0\.1:1"):
        dashboard_of("127.0.0.1:1")


def test_a_folder_is_sent_only_if_what_is_not_left_out_of_it_is_small_enough(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "note.md").write_text("A note.\n")
    with (folder / "large.bin").open("wb") as sparse:
        sparse.truncate(MOST_BYTES)

    with pytest.raises(UsageError, match="512 MiB") as refused:
        check_working_dir(folder, [])
    assert ".rayignore" in (refused.value.hint or "")
    check_working_dir(folder, ["large.bin"])
    (folder / ".rayignore").write_text("*.bin\n")
    check_working_dir(folder, [])
    with pytest.raises(UsageError, match="neither a folder nor"):
        check_working_dir(tmp_path / "nowhere", [])
