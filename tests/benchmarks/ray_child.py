"""What Ray costs a job whose embedding costs nothing to speak of: cold, warm, and idle.

Usage: python -m tests.benchmarks.ray_child STATE [idle]
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.ingestion.tables import table_of
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedRequest
from lexigram_ray.jobs.recipes import read_text_recipe
from lexigram_ray.runtime.cluster import connected
from lexigram_ray.runtime.embed import run_embed
from lexigram_ray.runtime.warm import WarmEmbedders

TEXTS = 10
WARM_RUNS = 5
IDLE_SECONDS = 8.0


def main(state: Path, *, idle: bool) -> None:
    """Start Ray as a job does, measure, and print the answer."""
    bulk = load_config(state_dir=state, runtime={"inline_seconds": 0})
    small = load_config(state_dir=state)
    started = time.perf_counter()
    with connected(bulk, None):
        answer: dict[str, object] = {"init_seconds": time.perf_counter() - started}
        if idle:
            time.sleep(IDLE_SECONDS)
        else:
            answer |= _measured(bulk, small)
    print(json.dumps(answer))


def _measured(bulk: WorkersConfig, small: WorkersConfig) -> dict[str, object]:
    cold, warm = (_Timed(bulk, run) for run in ("cold", "again"))
    embedders = WarmEmbedders(small, read_text_recipe(small, None), lifetime="detached")
    embedders.on_every_node()
    runs = [_Timed(small, f"warm {run}") for run in range(WARM_RUNS)]
    embedders.end()
    return {
        "places": [cold.place, warm.place, runs[-1].place],
        "cold_seconds": cold.to_first_result,
        "again_seconds": warm.to_first_result,
        "warm_seconds": sorted(run.whole for run in runs[1:])[(WARM_RUNS - 1) // 2],
    }


class _Timed:
    """One job of a few new texts.

    Attributes:
        to_first_result: Seconds from the end of staging and planning to the first result.
        whole: Seconds from the call to the report.
    """

    def __init__(self, config: WorkersConfig, name: str) -> None:
        texts = [f"{name}: text {number} of a job that hardly embeds" for number in range(TEXTS)]
        self._phases: dict[str, float] = {}
        request = EmbedRequest(table=table_of(texts), collection="overhead")
        started = time.perf_counter()
        report = run_embed(config, request, self._note, threading.Event())
        self.whole = time.perf_counter() - started
        self.place = report.place
        # A single unit ends within a moment of the last telling, which then tells only of what
        # comes after: the later of the two is the safe one.
        ended = self._phases.get("embedding", self._phases["indexing"])
        self.to_first_result = ended - self._phases["starting"]

    def _note(self, progress: EmbedProgress) -> None:
        self._phases.setdefault(progress.phase, time.perf_counter())


if __name__ == "__main__":
    main(Path(sys.argv[1]), idle="idle" in sys.argv[2:])
