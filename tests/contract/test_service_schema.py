"""The service keeps what its openapi.json promises, whatever it is asked: schemathesis asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.filled_service import FilledService, filled_service
from tests.ready_state import converted_models, state

__all__ = ["converted_models", "state"]

HERE = Path(__file__).parent
CASES = "LEXIGRAM_SCHEMA_CASES"
"""Environment variable: at least so many cases, of all operations together."""
CASES_OF_SOAK = 10_000
CASES_ANYWAY, CASES_PER_EXAMPLE = 1_300, 20
"""Of all operations: what is asked in any case, and what one more example of each adds at least."""
SEED = 20_260_504

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def filled(state: Path, tmp_path: Path) -> Iterator[FilledService]:
    with filled_service(state, tmp_path / "docs", requests_per_minute=10_000_000) as running:
        yield running


def test_every_answer_is_as_openapi_json_says(filled: FilledService, tmp_path: Path) -> None:
    least = int(os.environ.get(CASES, "2000"))
    assert checked(filled, tmp_path, cases=least) >= least


@pytest.mark.soak
def test_many_more_answers_are_as_openapi_json_says(filled: FilledService, tmp_path: Path) -> None:
    assert checked(filled, tmp_path, cases=CASES_OF_SOAK) >= CASES_OF_SOAK


def checked(filled: FilledService, folder: Path, *, cases: int) -> int:
    """Have the service asked, and return how often; an answer that will not do is told in full."""
    paths = filled.site.client.get("/openapi.json").json()["paths"]
    operations = sum(len(methods) for methods in paths.values())
    report = folder / "report.json"
    examples = max(1, -(-(cases - CASES_ANYWAY) // CASES_PER_EXAMPLE))
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{filled.site.url}/openapi.json"),
        *("--header", f"Authorization: {filled.bearer()['Authorization']}"),
        *("--seed", str(SEED), "--generation-database", "none"),
        *("--max-examples", str(examples)),
        *("--report-json-path", str(report)),
    ]
    letters = filled.ask("GET", "/v1/dead-letters").json()["items"]
    environment = {
        "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
        "PYTHONPATH": str(HERE.parents[1]),
        "LEXIGRAM_SCHEMA_LETTERS": ",".join(letter["id"] for letter in letters),
    }
    run = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    found = json.loads(report.read_text())
    assert not found["failures"]
    assert not found["errors"]
    assert found["operations"]["tested"] == operations
    print(f"{found['test_cases']['generated']} cases in {found['running_time']} s")
    return int(found["test_cases"]["generated"])
