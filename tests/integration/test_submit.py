"""`lexigram-ray submit` to a head of its own, with token authentication, through Ray's job API."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.runtime.cluster_file import NotedCluster, note_cluster
from lexigram_ray.runtime.head import Head, address_of, end_head, start_head
from lexigram_ray.runtime.token_auth import ensure_token
from tests.command_line import Result, run_cli, start_cli
from tests.integration.cut_connections import Way
from tests.integration.processes import ended
from tests.tables import sources

pytestmark = [pytest.mark.slow, pytest.mark.ray]

READY_SECONDS = 60
GUTTED_PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\nstartxref\n9999\n%%EOF\n"


@dataclass(frozen=True)
class Cluster:
    """A head, and what shows its token."""

    head: Head
    address: str
    url: str
    environment: Mapping[str, str]

    def submit(self, *arguments: str | Path, state: Path) -> Result:
        return run_cli(
            "submit", "--address", self.url, *arguments, state=state, env=self.environment
        )

    def job(self, submission_id: str) -> dict[str, object]:
        token = Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{self.url}/api/jobs/{submission_id}", headers=headers, timeout=60)
        found: dict[str, object] = answer.raise_for_status().json()
        return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        ensure_token()
        head = start_head(uuid4().hex, folder, dashboard_port=0)
    try:
        address = address_of(head, folder)
        url = dashboard_url(head)
        yield Cluster(head=head, address=address, url=url, environment=environment)
    finally:
        end_head(head)


def dashboard_url(head: Head) -> str:
    """Wait for the dashboard of a head, which comes up after it."""
    started = psutil.Process(head.owner.pid).cmdline()
    (port,) = (word.partition("=")[2] for word in started if word.startswith("--dashboard-port="))
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            httpx.get(f"{url}/api/version", timeout=10)
            return url
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what a command says on stderr until it has said a text."""
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = process.stderr.readline()
        assert line, f"ended without {text!r}: {said}"
        said += line
    return said


def test_a_submitted_ingestion_is_the_same_command_with_its_result_and_exit_code(
    cluster: Cluster, state: Path, docs: Path
) -> None:
    command = ("ingest", docs, "-c", "docs", "--json")
    first = cluster.submit("--submission-id", "first", "--", *command, state=state)

    assert first.code == 0, first.stderr
    assert first.object["documents"]["ingested"] == 5  # type: ignore[index]
    assert "submitted: first" in first.stderr
    assert "Traceback" not in first.stderr
    assert len(sources(state, "docs")) == 5
    job = cluster.job("first")
    assert job["metadata"]["collection"] == "docs"  # type: ignore[index]
    assert job["metadata"]["job_name"] == "ingest docs"  # type: ignore[index]

    refused = cluster.submit("--submission-id", "first", "--", *command, state=state)
    assert refused.code == 2
    assert "has a job first already" in refused.stderr
    assert "--attach first" in refused.stderr
    attached = cluster.submit("--json", "--attach", "first", state=state)
    assert (attached.code, attached.object) == (0, first.object)

    (docs / "broken.pdf").write_bytes(GUTTED_PDF)
    again = cluster.submit("--json", "ingest", docs, "-c", "docs", state=state)
    assert again.code == 3, again.stderr
    documents = again.object["documents"]
    assert (documents["unchanged"], documents["failed"]) == (5, 1)  # type: ignore[index]
    assert "ended with exit code 3" in again.stderr


def test_what_is_wrong_only_on_the_cluster_is_wrong_use_here_too(
    cluster: Cluster, state: Path
) -> None:
    result = cluster.submit("--json", "ingest", "/no/such/place", "-c", "docs", state=state)

    assert result.code == 2
    assert "/no/such/place" in result.object["error"]["message"]  # type: ignore[index]
    absent = cluster.submit("--python", "/no/python", "ingest", "/x", "-c", "docs", state=state)
    assert absent.code == 127
    assert "--python" in absent.stderr


def test_ctrl_c_lets_go_of_a_job_which_comes_to_its_end(
    cluster: Cluster, state: Path, docs: Path
) -> None:
    process = start_cli(
        "submit", "--address", cluster.url, "--submission-id", "long", "--working-dir", docs,
        "--", "ingest", ".", "-c", "sent", "--json",
        state=state, env=cluster.environment,
    )  # fmt: skip
    read_until(process, "submitted: long")
    process.send_signal(signal.SIGINT)
    let_go = ended(process)

    assert let_go.code == 130
    assert let_go.object["submission_id"] == "long"
    assert "detached: long" in let_go.stderr
    assert "submit --attach long" in let_go.stderr
    assert f"ray job logs -f long --address {cluster.url}" in let_go.stderr
    assert "submit --stop long" in let_go.stderr
    attached = cluster.submit("--json", "--attach", "long", state=state)
    assert attached.code == 0, attached.stderr
    assert attached.object["documents"]["ingested"] == 5  # type: ignore[index]
    assert len(sources(state, "sent")) == 5


def test_a_connection_that_breaks_loses_no_line_and_repeats_none(
    cluster: Cluster, state: Path, tmp_path: Path
) -> None:
    # A program that prints for a while, in the place of the interpreter.
    counting = program(
        tmp_path / "counting", "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; sleep 1; done; exit 3"
    )

    with Way(int(cluster.url.rpartition(":")[2])) as way:
        url = f"http://127.0.0.1:{way.port}"
        process = start_cli(
            "submit", "--address", url, "--python", counting, "ingest", "/x", "-c", "docs",
            state=state, env=cluster.environment,
        )  # fmt: skip
        said = read_until(process, "line 2")
        assert way.cut() > 0
        result = ended(process)

    lines = (said + result.stderr).splitlines()
    assert [line for line in lines if line.startswith("line")] == [
        f"line {n}" for n in range(1, 10)
    ]
    assert result.code == 3, result.stderr


def test_a_job_of_the_noted_cluster_that_nobody_waits_for_can_be_stopped(
    cluster: Cluster, state: Path, tmp_path: Path
) -> None:
    noted = NotedCluster(
        address=cluster.address,
        auth_mode="token",
        token_path=cluster.environment["RAY_AUTH_TOKEN_PATH"],
        head=cluster.head,
        dashboard=cluster.url,
    )
    note_cluster(load_config(state_dir=state), noted)
    sleeper = program(tmp_path / "sleeper", "exec sleep 600")

    submitted = run_cli(
        "submit", "--no-wait", "--python", sleeper, "ingest", "/x", "-c", "docs", state=state
    )
    job_id = submitted.stdout.strip()
    stopped = run_cli("submit", "--json", "--stop", job_id, state=state)
    attached = run_cli("submit", "--attach", job_id, state=state)

    assert submitted.code == 0, submitted.stderr
    assert job_id.startswith("ingest-docs-")
    assert f"--attach {job_id}" in submitted.stderr
    assert (stopped.code, stopped.object["status"]) == (0, "STOPPED")
    assert attached.code == 130
    assert "was stopped" in attached.stderr
    by_address = run_cli(
        "submit", "--address", cluster.address, "--json", "--stop", job_id,
        state=state, env=cluster.environment,
    )  # fmt: skip
    assert by_address.object["status"] == "STOPPED", by_address.stderr


@pytest.mark.parametrize(
    ("mode", "token"),
    [("token", "f" * 64), ("disabled", "")],
    ids=["a wrong token", "no token"],
)
def test_who_is_not_let_in_is_told_so_with_the_way_out(
    cluster: Cluster, state: Path, tmp_path: Path, mode: str, token: str
) -> None:
    (tmp_path / "wrong").write_text(token)
    environment = {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "wrong")}
    arguments = ("submit", "--address", cluster.url, "--json", "ingest", "/x", "-c", "docs")

    result = run_cli(*arguments, state=state, env=environment)

    assert result.code == 4
    assert result.object["error"]["code"] == "cluster_unreachable"  # type: ignore[index]
    assert "does not let us in" in result.stderr
    assert "RAY_AUTH_TOKEN_PATH" in result.stderr
    assert "Traceback" not in result.stderr


def test_where_no_dashboard_answers_the_exit_code_is_4(state: Path) -> None:
    for address in ("http://127.0.0.1:1", "127.0.0.1:1"):
        result = run_cli("submit", "--address", address, "ingest", "/x", "-c", "docs", state=state)
        assert result.code == 4
        assert "answers at" in result.stderr
        assert "try:" in result.stderr
        assert "Traceback" not in result.stderr
