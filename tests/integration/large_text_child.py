"""Run by test_ingest_bad_input: a whole ingestion with a fake embedder; prints its peak memory."""

from __future__ import annotations

import json
import resource
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lexigram_ray.core.config import load_config
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.jobs.ingest import ingest
from lexigram_ray.jobs.pool import LocalPool, WorkerPool
from lexigram_ray.jobs.report import IngestRequest
from lexigram_ray.jobs.toolbox import Recipe, make_tools
from tests.fakes import HashingProvider


def main(docs: Path, state: Path) -> None:
    config = load_config(state_dir=state)

    @contextmanager
    def make_pool(recipe: Recipe, job_id: str, _: int) -> Generator[WorkerPool]:
        provider = HashingProvider(recipe.model.spec.dimension)
        embedder = CachedEmbedder(lambda: provider, None, provider.spec)
        pool = LocalPool(lambda: make_tools(config, recipe, embedder, job_id))
        try:
            yield pool
        finally:
            pool.close()

    request = IngestRequest(paths=(docs,), collection="large")
    report = ingest(config, request, make_pool, lambda _: None, threading.Event())
    peak = {
        "self": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    print(json.dumps({"report": report.to_dict(), "peak_mb": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
