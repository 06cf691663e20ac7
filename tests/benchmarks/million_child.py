"""A bulk job with a provider that costs nothing: `python -m tests.benchmarks.million_child`.

Usage: python -m tests.benchmarks.million_child TEXTS STATE
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from lexigram_ray.core.config import load_config
from lexigram_ray.ingestion.tables import open_table
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedRequest
from lexigram_ray.runtime.embed import run_embed
from tests.benchmarks.fake_provider import FixedVectors


def main(file: Path, state: Path) -> None:
    """Run the job through Ray Data, and print what it did and when each phase began."""
    config = load_config(state_dir=state, runtime={"inline_seconds": 0})
    request = EmbedRequest(table=open_table(file), collection="million", provider=FixedVectors())
    phases: dict[str, float] = {}
    started = time.perf_counter()

    def note(progress: EmbedProgress) -> None:
        phases.setdefault(progress.phase, time.perf_counter() - started)

    report = run_embed(config, request, note, threading.Event())
    seconds = time.perf_counter() - started
    answer = {
        "seconds": seconds,
        "status": report.status.value,
        "texts": asdict(report.texts),
        "rows": report.rows,
        "place": report.place,
        "phases": phases,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
