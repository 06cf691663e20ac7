"""Our bare engine in one process: `embed_texts` over a file of texts, then single questions.

Usage: python -m tests.benchmarks.engine_child TEXTS STATE
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.models import describe_model
from tests.benchmarks.peers.warm_up import WARM_UP
from tests.corpus import questions

QUERIES = 200


def main(file: Path, state: Path) -> None:
    """Measure, and print the answer."""
    texts = pq.read_table(file, columns=["text"])["text"].to_pylist()
    config = load_config(state_dir=state)
    started = time.perf_counter()
    models_dir = config.paths.models
    model = describe_model(DEFAULT_MODEL, precision="auto", models_dir=models_dir)
    provider = load_provider(model, models_dir=models_dir)
    loaded = time.perf_counter()
    provider.embed_texts(WARM_UP)
    warm = time.perf_counter()
    provider.embed_texts(texts)
    done = time.perf_counter()
    asked = itertools.cycle(question.text for question in questions())
    queries = itertools.islice(asked, QUERIES)
    latencies = sorted(_milliseconds(provider.embed_query, query) for query in queries)
    answer = {
        "load_seconds": loaded - started,
        "seconds": done - warm,
        "query_ms": statistics.median(latencies),
        "query_p95_ms": latencies[int(0.95 * (len(latencies) - 1))],
        "precision": model.spec.precision,
        "torch_imported": "torch" in sys.modules,
        "config": json.loads((model.folder / "config.json").read_text(encoding="utf-8")),
        "max_tokens": model.spec.max_tokens,
    }
    print(json.dumps(answer))


def _milliseconds(embed: Callable[[str], object], query: str) -> float:
    started = time.perf_counter()
    embed(query)
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
