"""One search after the other over HTTP, beside LanceDB's own with the same model in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import lancedb
import pyarrow.parquet as pq

from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.models import describe_model
from tests.benchmarks import ours
from tests.benchmarks.chunk_set import evenly, real_chunks
from tests.benchmarks.figures import Figure, figure
from tests.corpus import questions

COLLECTION = "searched"
ROWS = 5_000
ROUNDS = 15
LIMIT = 10
GOAL_MS = 30


def prepare(folder: Path, state: Path) -> None:
    """Embed real passages into the collection that is searched, unless it is there."""
    if (state / "lancedb" / f"{COLLECTION}.lance").is_dir():
        return
    file = folder / "searched.parquet"
    pq.write_table(evenly(real_chunks(folder), ROWS).select(["id", "text"]), file)
    ours.embed(file, COLLECTION, state, bulk=False)


def measure_search(state: Path, url: str) -> list[Figure]:
    """Ask the twenty questions, many times over, hybrid, embedding of the query included.

    Args:
        url: Of the service of this state.
    """
    asked = [each.text for each in questions()] * ROUNDS
    with httpx.Client(base_url=url, timeout=60.0) as client:
        route = f"/v1/collections/{COLLECTION}/search"

        def over_http(text: str) -> None:
            answer = client.post(route, json={"query": text, "limit": LIMIT})
            assert len(answer.raise_for_status().json()["hits"]) == LIMIT

        served = _p50_ms(over_http, asked)
    models = state / "models"
    provider = load_provider(
        describe_model(DEFAULT_MODEL, precision="auto", models_dir=models), models_dir=models
    )
    table = lancedb.connect(state / "lancedb").open_table(COLLECTION)

    def bare(text: str) -> None:
        vector = provider.embed_query(text)
        query = table.search(query_type="hybrid").vector(vector).text(text)
        assert len(query.limit(LIMIT).to_list()) == LIMIT

    alone = _p50_ms(bare, asked)
    return [
        figure(f"hybrid search over HTTP, {ROWS:,} rows, p50", served, "ms", below=GOAL_MS),
        figure("LanceDB's own with the same model, in one process, p50", alone, "ms"),
        figure("over HTTP to LanceDB's own", served / alone, "times"),
    ]


def _p50_ms(ask: Callable[[str], None], asked: Sequence[str]) -> float:
    for text in asked[:20]:
        ask(text)
    seconds: list[float] = []
    for text in asked:
        began = time.perf_counter()
        ask(text)
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)
