"""Whatever is killed, and whenever: the same command goes on, and the table is right."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import lance
import psutil
import pytest

from tests.command_line import ON_RAY, Result, run_cli, start_cli
from tests.integration.processes import ended, kill_whole_family, kill_workers
from tests.tables import assert_nothing_twice, assert_same, read, sources

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

PYTHON_DOCS = Path("/usr/share/doc/python3.11/html")


@pytest.fixture(scope="module")
def many_docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small documents of several formats, a second's work or more for the model."""
    folder = tmp_path_factory.mktemp("many")
    source = random.Random(7)
    words = [
        "tide",
        "moon",
        "bread",
        "yeast",
        "chess",
        "queen",
        "bee",
        "nectar",
        "steel",
        "carbon",
        "harbour",
        "crane",
        "rope",
    ]
    for number in range(60):
        paragraphs = [
            f"Part {part} of {number}. " + " ".join(source.choices(words, k=90))
            for part in range(source.randint(1, 14))
        ]
        suffix = ("txt", "md", "html")[number % 3]
        body = "\n\n".join(paragraphs)
        if suffix == "html":
            body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
        (folder / f"doc{number:02}.{suffix}").write_text(body)
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    many_docs: Path, tmp_path_factory: pytest.TempPathFactory, converted_models: Path
) -> Path:
    """The state directory of an uninterrupted run over `many_docs`."""
    state = tmp_path_factory.mktemp("undisturbed") / "state"
    state.mkdir()
    (state / "models").symlink_to(converted_models)
    assert _ingest(many_docs, state).code == 0
    return state


def _ingest(docs: Path, state: Path, *options: str, env: dict[str, str] | None = None) -> Result:
    return run_cli("ingest", docs, "-c", "docs", "--json", *options, state=state, env=env)


@pytest.mark.parametrize(
    "on_ray",
    [pytest.param(False, id="in-process"), pytest.param(True, id="ray", marks=pytest.mark.soak)],
)
def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(
    many_docs: Path,
    undisturbed: Path,
    state: Path,
    on_ray: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The cache would make every run but the first too short to be killed in the middle.
    seconds = random.Random(20261124)
    longest = 14.0 if on_ray else 9.0
    for _ in range(3 if on_ray else 4):
        env = ON_RAY if on_ray else {}
        process = start_cli("ingest", many_docs, "-c", "docs", "--json", state=state, env=env)
        time.sleep(seconds.uniform(0.8, longest))
        kill_whole_family(process)
        shutil.rmtree(state / "cache", ignore_errors=True)
    result = _ingest(many_docs, state)
    assert result.code == 0, result.stderr
    assert_same(read(state, "docs"), read(undisturbed, "docs"))
    assert_nothing_twice(state, "docs")


def test_a_killed_run_is_adopted_and_its_work_is_not_done_again(
    many_docs: Path, state: Path
) -> None:
    process = start_cli("ingest", many_docs, "-c", "docs", "--json", state=state)
    _wait_for_rows(state, process)
    kill_whole_family(process)
    survived = sources(state, "docs")
    result = _ingest(many_docs, state)
    report: dict[str, Any] = result.object
    assert report["documents"]["ingested"] == 60
    assert report["chunks"]["written"] == report["rows"]
    jobs = _jobs(state)
    assert [job["status"] for job in jobs] == ["completed"]
    assert jobs[0]["id"] == report["job_id"]
    assert jobs[0]["attempt"] == 2
    assert survived.total() > 0


def test_two_runs_over_overlapping_folders_both_end_well_and_write_nothing_twice(
    many_docs: Path, state: Path, tmp_path: Path
) -> None:
    # One folder lies within the other: the runs are different jobs over the same documents.
    whole = tmp_path / "whole"
    shutil.copytree(many_docs, whole / "part")
    for number in range(10):
        (whole / f"own{number}.txt").write_text(f"A document of its own, number {number}.")
    first = start_cli("ingest", whole, "-c", "docs", "--json", state=state)
    second = start_cli("ingest", whole / "part", "-c", "docs", "--json", state=state)
    reports = [ended(process).object for process in (first, second)]
    assert [report["status"] for report in reports] == ["completed", "completed"]
    assert [report["documents"]["found"] for report in reports] == [70, 60]
    assert_nothing_twice(state, "docs")
    assert len(sources(state, "docs")) == 70


def test_the_same_command_twice_at_once_is_one_job(many_docs: Path, state: Path) -> None:
    # Both begin together: one that begins later may come when the other has ended.
    begun = [start_cli("ingest", many_docs, "-c", "docs", "--json", state=state) for _ in range(2)]
    first, second = (ended(process) for process in begun)
    assert first.code == second.code == 0
    assert first.object["job_id"] == second.object["job_id"]
    assert first.object["documents"] == second.object["documents"]


def test_a_ray_worker_that_is_killed_costs_no_document(many_docs: Path, state: Path) -> None:
    process = start_cli("ingest", many_docs, "-c", "docs", "--json", state=state, env=ON_RAY)
    killed = kill_workers(process, ("ray::ingest", "ray::Ingestion", "ray::Embedder"), times=2)
    result = ended(process)
    assert killed == 2
    assert result.code == 0, result.stderr
    assert result.object["documents"]["ingested"] == 60
    assert_nothing_twice(state, "docs")


def test_a_parser_that_is_killed_costs_one_document_at_most(many_docs: Path, state: Path) -> None:
    process = start_cli("ingest", many_docs, "-c", "docs", "--json", state=state)
    assert kill_workers(process, ("lexigram_ray.ingestion.sandbox_child",), times=1) == 1
    documents = ended(process).object["documents"]
    assert documents["failed"] <= 1
    assert documents["ingested"] >= 59


def test_nothing_is_left_running_after_a_run_on_ray(docs: Path, state: Path) -> None:
    assert _ingest(docs, state, env=ON_RAY).code == 0
    deadline = time.monotonic() + 10
    while (left := _started_for(state)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def _wait_for_rows(state: Path, process: subprocess.Popen[str]) -> None:
    table = state / "lancedb" / "docs.lance"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if table.exists():
            try:
                if lance.dataset(str(table)).count_rows() > 0:
                    return
            except (OSError, ValueError):
                pass
        time.sleep(0.05)
    pytest.fail("no row was written")


def _jobs(state: Path) -> list[dict[str, object]]:
    from lexigram_ray.jobs.store import Store

    with Store.open(f"sqlite:///{state / 'jobs.db'}") as store:
        return [job.to_dict() for job in store.list_jobs()[0]]


def _started_for(state: Path) -> list[str]:
    """Return the processes that inherited this state directory from a command."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LEXIGRAM_RAY_STATE") == str(state):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
