"""The main job on a cluster that runs already: attached to, and as the entrypoint of a Ray job."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.command_line import ON_RAY, clean_environment, run_cli
from tests.integration.ports import free_port
from tests.tables import sources

pytestmark = [pytest.mark.slow, pytest.mark.ray]

RAY = str(Path(sys.executable).with_name("ray"))


@dataclass(frozen=True)
class Head:
    """A running head node."""

    address: str
    dashboard: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A head node of two CPUs with a dashboard, started as a user starts it, with a token."""
    port, dashboard = free_port(), free_port()
    token = tmp_path_factory.mktemp("token") / "token"
    environment = clean_environment(
        HOME=os.environ["HOME"], RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token)
    )
    token.write_text("a-token-for-this-test-of-at-least-32-characters")
    process = subprocess.Popen(
        [
            RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
            f"--dashboard-port={dashboard}", "--include-dashboard=true",
            "--object-store-memory=200000000", "--disable-usage-stats",
        ],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", environment)
    try:
        _wait_until_ready(found)
        yield found
    finally:
        # Not `ray stop`: it would end every cluster of this machine.
        family = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=20)
        for member in alive:
            member.kill()
        process.wait()


def test_the_same_command_attaches_to_a_running_cluster_and_leaves_it_running(
    head: Head, docs: Path, state: Path
) -> None:
    result = run_cli(
        "ingest", docs, "-c", "docs", "--json", "--address", head.address,
        state=state, env=head.environment,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert result.object["documents"]["ingested"] == 5
    assert len(sources(state, "docs")) == 5
    status = subprocess.run(
        [RAY, "status", f"--address={head.address}"],
        env=head.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert status.returncode == 0, status.stderr


def test_the_command_is_the_entrypoint_of_a_ray_job(head: Head, docs: Path, state: Path) -> None:
    submitted = subprocess.run(
        [
            RAY, "job", "submit", "--address", head.dashboard, "--",
            sys.executable, "-m", "lexigram_ray", "ingest", str(docs), "-c", "docs",
            "--state", str(state), "--json",
        ],
        env=head.environment | ON_RAY,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert '"ingested": 5' in submitted.stdout
    assert len(sources(state, "docs")) == 5


def test_a_cluster_that_is_not_there_is_exit_code_4(docs: Path, state: Path) -> None:
    started = time.monotonic()
    result = run_cli(
        "ingest", docs, "-c", "docs", "--json", "--address", f"127.0.0.1:{free_port()}",
        state=state,
    )  # fmt: skip
    assert result.code == 4, result.stderr
    assert "no Ray cluster answers" in result.stderr
    assert "Traceback" not in result.stderr
    assert time.monotonic() - started < 120


def _wait_until_ready(head: Head) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        listed = subprocess.run(
            [RAY, "job", "list", "--address", head.dashboard],
            env=head.environment, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        if listed.returncode == 0:
            return
        time.sleep(1)
    pytest.fail("the head node did not start")
