"""Whatever is killed, and whenever: the same `embed` goes on, and the collection is right."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import lance
import pytest

from tests.command_line import ON_RAY, Result, run_cli, start_cli
from tests.embedding_models import real_texts
from tests.integration.processes import ended, kill_whole_family, kill_workers
from tests.tables import assert_same, read

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

ROWS = 700


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven hundred real passages: two units, some seconds of work for the model."""
    path = tmp_path_factory.mktemp("table") / "passages.jsonl"
    with path.open("w") as file:
        for number, text in enumerate(real_texts(ROWS)):
            file.write(json.dumps({"id": f"p{number:04}", "text": text}) + "\n")
    return path


@pytest.fixture(scope="module")
def undisturbed(
    table: Path, tmp_path_factory: pytest.TempPathFactory, converted_models: Path
) -> Path:
    """The state directory of an uninterrupted run."""
    state = tmp_path_factory.mktemp("undisturbed") / "state"
    state.mkdir()
    (state / "models").symlink_to(converted_models)
    assert _embed(table, state).code == 0
    return state


@pytest.mark.parametrize(
    "on_ray",
    [pytest.param(False, id="in-process"), pytest.param(True, id="ray", marks=pytest.mark.soak)],
)
def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(
    table: Path, undisturbed: Path, state: Path, on_ray: bool
) -> None:
    # The cache would make every run but the first too short to be killed in the middle.
    seconds = random.Random(5)
    longest, kills = (16.0, 2) if on_ray else (6.0, 3)
    for _ in range(kills):
        env = ON_RAY if on_ray else {}
        process = start_cli("embed", table, "-c", "texts", "--json", state=state, env=env)
        time.sleep(seconds.uniform(0.8, longest))
        kill_whole_family(process)
        shutil.rmtree(state / "cache", ignore_errors=True)
    result = _embed(table, state)
    assert result.code == 0, result.stderr
    report: dict[str, Any] = result.object
    assert report["texts"]["read"] == ROWS
    assert report["texts"]["embedded"] + report["texts"]["cached"] == ROWS
    assert_same(read(state, "texts"), read(undisturbed, "texts"))
    assert len(_ids(state)) == len(set(_ids(state))) == ROWS


def test_an_embedder_that_is_killed_costs_no_text(
    table: Path, undisturbed: Path, state: Path
) -> None:
    process = start_cli("embed", table, "-c", "texts", "--json", state=state, env=ON_RAY)
    killed = kill_workers(process, ("ray::MapWorker", "EmbedUnits"), times=1)
    result = ended(process)
    assert killed == 1
    assert result.code == 0, result.stderr
    assert_same(read(state, "texts"), read(undisturbed, "texts"))


def test_the_same_command_twice_at_once_is_one_job(table: Path, state: Path) -> None:
    processes = [start_cli("embed", table, "-c", "texts", "--json", state=state) for _ in range(2)]
    reports = [ended(process).object for process in processes]
    assert reports[0]["job_id"] == reports[1]["job_id"]
    assert reports[0]["texts"] == reports[1]["texts"]
    assert len(_ids(state)) == ROWS


def _embed(table: Path, state: Path) -> Result:
    return run_cli("embed", table, "-c", "texts", "--json", state=state)


def _ids(state: Path) -> list[str]:
    dataset = lance.dataset(str(state / "lancedb" / "texts.lance"))
    return dataset.to_table(columns=["id"]).column("id").to_pylist()
