"""Ray started beside the reading of a table: only where it is certain to be needed, and ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ray]

# Read for long enough that progress is told meanwhile, however fast the machine.
TEXTS = 200_000

JOB = """
import sys, threading
from pathlib import Path
from lexigram_ray.core.config import load_config
from lexigram_ray.ingestion.tables import open_table
from lexigram_ray.jobs.embed_report import EmbedRequest
from lexigram_ray.runtime import early_ray
from lexigram_ray.runtime.embed import run_embed
from tests.benchmarks.fake_provider import FixedVectors

begun = []
original = early_ray.EarlyRay._run
early_ray.EarlyRay._run = lambda self: (begun.append(1), original(self))
config = load_config(state_dir=Path(sys.argv[2]), runtime={"inline_seconds": 0.5})
request = EmbedRequest(
    table=open_table(Path(sys.argv[1])), collection="many", provider=FixedVectors()
)
for _ in range(2):
    report = run_embed(config, request, lambda _: None, threading.Event())
    texts = report.texts
    print(len(begun), texts.read, texts.embedded, report.rows, sys.modules["ray"].is_initialized())
"""


def test_a_large_table_starts_ray_while_it_is_read_and_a_known_one_does_not(
    tmp_path: Path,
) -> None:
    file = tmp_path / "many.parquet"
    texts = [
        f"{number}: a sentence that says a little about number {number}" for number in range(TEXTS)
    ]
    pq.write_table(pa.table({"id": list(map(str, range(TEXTS))), "text": texts}), file)

    done = subprocess.run(
        [sys.executable, "-c", JOB, str(file), str(tmp_path / "state")],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"1 {TEXTS} {TEXTS} {TEXTS} False",
        f"1 {TEXTS} 0 {TEXTS} False",
    ]
