"""Embedders of one store at a server that throttles: what one of them is told, all heed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.ids import hash_text
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.embedding.server_limits import estimate_tokens
from lexigram_ray.jobs.rate_limits import LOOK_SECONDS
from lexigram_ray.jobs.recipes import read_text_recipe
from lexigram_ray.jobs.toolbox import make_embedder
from tests.misbehaving_server import MODEL, MisbehavingServer, error, expected, running


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with running() as started:
        yield started


def _embedder(server: MisbehavingServer, state: Path, per_minute: int) -> CachedEmbedder:
    config = WorkersConfig(
        state_dir=state,
        embedding={
            "model": MODEL,
            "cache": False,
            "server": {"url": server.url, "tokens_per_minute": per_minute, "concurrency": 2},
        },
    )
    return make_embedder(config, read_text_recipe(config, None), threads=None)


def _embed(embedder: CachedEmbedder, texts: list[str]) -> None:
    embedded = embedder.embed(texts, [hash_text(text) for text in texts])
    np.testing.assert_allclose(embedded.vectors, expected(texts), atol=1e-6)


def test_a_wait_that_one_embedder_is_told_holds_the_other_off(
    server: MisbehavingServer, tmp_path: Path
) -> None:
    one, other = (_embedder(server, tmp_path, 10_000_000) for _ in range(2))
    for embedder in (one, other):
        _embed(embedder, ["first"])
    server.requests.clear()
    server.next = [error(429, "slow down", retry_after="2")]

    with ThreadPoolExecutor(1) as pool:
        throttled = pool.submit(_embed, one, ["of one"])
        while not server.requests:
            time.sleep(0.01)
        time.sleep(LOOK_SECONDS + 0.2)
        _embed(other, ["of the other"])
        throttled.result(timeout=20)
    one.close()
    other.close()

    told, *later = server.requests
    assert sorted(asked.texts[0] for asked in later) == ["of one", "of the other"]
    assert min(asked.at for asked in later) - told.at >= 2


def test_two_embedders_together_are_as_fast_as_the_budget_and_no_faster(
    server: MisbehavingServer, tmp_path: Path
) -> None:
    per_minute = 12_000
    text = "x" * 1_500
    embedders = [_embedder(server, tmp_path, per_minute) for _ in range(2)]
    for embedder in embedders:
        _embed(embedder, ["first"])
    server.requests.clear()
    began = time.monotonic()

    with ThreadPoolExecutor(2) as pool:
        texts = [[f"{text} {place} {number}" for number in range(2)] for place in range(2)]
        for done in [*map(pool.submit, [_embed] * 2, embedders, texts)]:
            done.result(timeout=60)
    for embedder in embedders:
        embedder.close()

    tokens = sum(estimate_tokens(each) for asked in server.requests for each in asked.texts)
    seconds = max(asked.at for asked in server.requests) - began
    assert tokens > 2_000
    assert seconds >= 0.8 * (tokens - per_minute / 12) / (per_minute / 60)
    assert seconds <= 20
