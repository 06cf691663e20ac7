"""Submit and walk away: whatever is killed, jobs come to their ends, and `down` leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lexigram_ray.jobs.records import LOST
from lexigram_ray.runtime import head as head_module
from lexigram_ray.runtime.head import Head, PortTakenError, address_of, end_head, start_head
from tests.integration.up_site import Site
from tests.tables import assert_nothing_twice, rows_of, sources

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.chaos]

WORDS = ["tide", "moon", "bread", "yeast", "chess", "queen", "bee", "nectar", "steel", "rope"]
DOCUMENTS = 200
MORE_DOCUMENTS = 500
"""So many that they are certainly not done when `down` comes to them."""

TEXTS = 300
RUNNER = "ray::JobRunner"


@pytest.fixture
def site(state: Path) -> Iterator[Site]:
    found = Site(state)
    yield found
    found.close()


def write_documents(folder: Path, count: int, *, seed: int) -> Path:
    folder.mkdir()
    source = random.Random(seed)
    for number in range(count):
        paragraphs = [
            f"Part {part} of {number}. " + " ".join(source.choices(WORDS, k=90))
            for part in range(4)
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


def workers_of(head: Head, *titles: str) -> list[int]:
    shown = {process.pid: " ".join(process.cmdline()) for process in head.processes()}
    return [pid for pid, title in shown.items() if any(each in title for each in titles)]


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
    # Now, while it is the only one; later, a `status` may take as long as the job.
    site.wait_for("a runner", lambda _: bool(workers_of(head, RUNNER)))
    runner = workers_of(head, RUNNER)[0]
    embedding = site.done(
        "embed", texts, "-c", "texts", "--text-column", "text", "--id-column", "id", "--no-wait"
    )["id"]

    # Each of them in the middle of the work.
    site.wait_for_progress(ingestion, 1)
    # A worker at work has the title of its task.
    kill(workers_of(head, "ray::Embedder", "ray::embed:")[0])
    kill(again["queue"]["pid"])
    kill(runner)
    site.wait_for_status(ingestion, "completed")
    site.wait_for_status(embedding, "completed")

    with site.store() as store:
        attempts = [attempt.outcome for attempt in store.attempts_of(ingestion)]
        assert attempts == [LOST, "completed"]
    # A runner ends itself a moment after its job has.
    kept = {begun[name]["name"] for name in ("queue", "dead_letters", "maintenance")}
    site.wait_for("no runner", lambda _: site.actor_pids().keys() == kept)
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


def test_two_that_start_at_once_may_not_have_the_same_dashboard_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        # As if it had been free a moment ago.
        free_port = head_module._free_port
        monkeypatch.setattr(head_module, "_free_port", lambda wanted: wanted or free_port(0))
        head = start_head(uuid4().hex, tmp_path, dashboard_port=port)
        try:
            with pytest.raises(PortTakenError):
                address_of(head, tmp_path)
        finally:
            end_head(head)
