"""Submit and walk away: whatever is killed, jobs come to their ends, and `down` leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.jobs.records import LOST
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.cluster_file import noted_cluster
from lexigram_ray.runtime.head import Head, end_head
from tests.command_line import Result, run_cli
from tests.tables import assert_nothing_twice, rows_of, sources

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.chaos]

SETTINGS = {
    # Not in the runner's own process: a small job is to have workers that can be killed.
    "LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "0",
    "LEX_AI_WORKERS__JOBS__LEASE_SECONDS": "8",
    "LEX_AI_WORKERS__JOBS__HEARTBEAT_SECONDS": "0.5",
}
WORDS = ["tide", "moon", "bread", "yeast", "chess", "queen", "bee", "nectar", "steel", "rope"]
DOCUMENTS = 40
MORE_DOCUMENTS = 200
"""So many that they are certainly not done when `down` comes to them."""

TEXTS = 300


class Site:
    """A state directory and its commands, each a process of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        token = state.parent / "token"
        self._environment = SETTINGS | {"RAY_AUTH_TOKEN_PATH": str(token)}

    def run(self, *arguments: str | Path) -> Result:
        return run_cli(*arguments, "--json", state=self.state, env=self._environment)

    def done(self, *arguments: str | Path) -> dict[str, Any]:
        result = self.run(*arguments)
        assert result.code == 0, result.stderr + result.stdout
        return result.object

    def store(self) -> Store:
        return Store.open(f"sqlite:///{self.state / 'jobs.db'}")

    def head(self) -> Head | None:
        noted = noted_cluster(load_config(state_dir=self.state))
        return noted.head if noted else None

    def actor_pids(self) -> dict[str, int]:
        return {actor["name"]: actor["pid"] for actor in self.done("status")["cluster"]["actors"]}

    def wait_for(self, what: str, holds: Callable[[Store], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        with self.store() as store:
            while not holds(store):
                assert time.monotonic() < deadline, f"{what}: {self._told(store)}"
                time.sleep(0.1)

    def wait_for_progress(self, job_id: str, done: int) -> None:
        def holds(store: Store) -> bool:
            job = store.get(job_id)
            assert job is not None
            assert not job.status.is_final, job
            return job.progress.get("done", 0) >= done  # pyright: ignore[reportOperatorIssue]

        self.wait_for(f"progress of {job_id}", holds)

    def wait_for_status(self, job_id: str, status: str) -> None:
        def holds(store: Store) -> bool:
            job = store.get(job_id)
            assert job is not None
            assert job.status == status or not job.status.is_final, job
            return job.status == status

        self.wait_for(f"{job_id} {status}", holds)

    def _told(self, store: Store) -> str:
        jobs, _ = store.list_jobs()
        head = self.head()
        return f"{jobs} {[store.attempts_of(job.id) for job in jobs]} {head}"


@pytest.fixture
def site(state: Path) -> Iterator[Site]:
    found = Site(state)
    yield found
    if (head := found.head()) is not None:
        end_head(head)


def write_documents(folder: Path, count: int, *, seed: int) -> Path:
    folder.mkdir()
    source = random.Random(seed)
    for number in range(count):
        paragraphs = [
            f"Part {part} of {number}. " + " ".join(source.choices(WORDS, k=90))
            for part in range(8)
        ]
        (folder / f"{folder.name}{number:03}.md").write_text("\n\n".join(paragraphs))
    return folder


def write_texts(path: Path) -> Path:
    source = random.Random(3)
    texts = [f"{number}: " + " ".join(source.choices(WORDS, k=40)) for number in range(TEXTS)]
    pq.write_table(pa.table({"id": [f"t{number}" for number in range(TEXTS)], "text": texts}), path)
    return path


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def is_alive(process: psutil.Process) -> bool:
    # Where process 1 reaps nobody, the dead stay in the list.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def workers_of(head: Head, title: str) -> list[int]:
    return [process.pid for process in head.processes() if title in " ".join(process.cmdline())]


def test_jobs_outlive_their_queue_runner_and_embedder_and_down_leaves_no_process(
    site: Site, tmp_path: Path
) -> None:
    begun = site.done("up")
    again = site.done("up")
    assert (begun["started_head"], begun["started_queue"]) == (True, True)
    assert (again["started_head"], again["started_queue"]) == (False, False)
    assert again["queue"] == begun["queue"]
    head = site.head()
    assert head is not None

    documents = write_documents(tmp_path / "docs", DOCUMENTS, seed=1)
    texts = write_texts(tmp_path / "texts.parquet")
    ingestion = site.done("ingest", documents, "-c", "docs", "--no-wait")["id"]
    embedding = site.done(
        "embed", texts, "-c", "texts", "--text-column", "text", "--id-column", "id", "--no-wait"
    )["id"]

    # Each of them in the middle of the work.
    site.wait_for_progress(ingestion, 1)
    kill(workers_of(head, "ray::Embedder")[0])
    kill(again["queue"]["pid"])
    kill(site.actor_pids()[f"job:ingest:docs:{ingestion}"])
    site.wait_for_status(ingestion, "completed")
    site.wait_for_status(embedding, "completed")

    with site.store() as store:
        attempts = [attempt.outcome for attempt in store.attempts_of(ingestion)]
        assert attempts == [LOST, "completed"]
    # A runner ends itself a moment after its job has.
    queue = {begun["queue"]["name"]}
    site.wait_for("the queue alone", lambda _: site.actor_pids().keys() == queue, seconds=30)
    assert len(sources(site.state, "docs")) == DOCUMENTS
    assert_nothing_twice(site.state, "docs")
    assert {row["id"] for row in rows_of(site.state, "texts")} == {f"t{n}" for n in range(TEXTS)}
    assert len(rows_of(site.state, "texts")) == TEXTS

    more = write_documents(tmp_path / "more", MORE_DOCUMENTS, seed=2)
    third = site.done("ingest", more, "-c", "docs", "--no-wait")["id"]
    site.wait_for_progress(third, 1)
    family = head.processes()
    assert len(family) > 5
    ended = site.done("down")
    assert ended["given_back"] == [third]
    assert ended["ended_head"]
    assert [process for process in family if is_alive(process)] == []
    assert head.processes() == []
    site.wait_for_status(third, "pending")
    assert site.run("status").code == 4

    site.done("up")
    site.wait_for_status(third, "completed")
    assert len(sources(site.state, "docs")) == DOCUMENTS + MORE_DOCUMENTS
    assert_nothing_twice(site.state, "docs")
