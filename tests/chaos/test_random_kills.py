"""Workers die all the time, and the table is that of a run in which none did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.many_documents import write_documents
from tests.chaos.random_kills import kill_at_random
from tests.chaos.same_rows import keys_of
from tests.command_line import ON_RAY, Result, run_cli, start_cli
from tests.integration.processes import ended
from tests.tables import assert_nothing_twice, assert_same, read

# `make chaos` kills workers too, and many more: these are for whoever looks for one fault.
pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.chaos]

SEED = 20261124


@dataclass(frozen=True, slots=True)
class Trial:
    """How much work, and how often it is disturbed."""

    documents: int
    kills: int
    every_seconds: tuple[float, float]


@pytest.mark.parametrize(
    "trial",
    [
        pytest.param(Trial(200, 5, (2.0, 3.0)), id="5-kills"),
        pytest.param(Trial(500, 15, (2.0, 4.0)), id="15-kills"),
    ],
)
def test_workers_killed_at_random_lose_no_row_and_double_none(
    tmp_path: Path, state: Path, converted_models: Path, trial: Trial
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    write_documents(docs, trial.documents, seed=SEED)
    undisturbed = _state(tmp_path / "undisturbed", converted_models)
    quiet = _ingest(docs, undisturbed)
    assert quiet.code == 0, quiet.stderr

    process = start_cli("ingest", docs, "-c", "docs", "--json", state=state, env=ON_RAY)
    killed = kill_at_random(
        process, times=trial.kills, every_seconds=trial.every_seconds, seed=SEED
    )
    result = ended(process)

    # Shown where anything of what follows fails.
    print(f"killed: {killed}")
    assert len(killed) == trial.kills, "it ended before: so fast a machine needs more documents"
    assert result.code == 0, f"{result.stdout}\n{result.stderr}"
    report: dict[str, Any] = result.object
    assert report["status"] == "completed"
    assert report["documents"]["ingested"] == trial.documents
    wanted, found = keys_of(undisturbed, "docs"), keys_of(state, "docs")
    assert (wanted - found, found - wanted) == (Counter(), Counter())
    assert_nothing_twice(state, "docs")
    assert_same(read(state, "docs"), read(undisturbed, "docs"))


def _ingest(docs: Path, state: Path) -> Result:
    return run_cli("ingest", docs, "-c", "docs", "--json", state=state, env=ON_RAY)


def _state(folder: Path, models: Path) -> Path:
    folder.mkdir()
    (folder / "models").symlink_to(models)
    return folder
