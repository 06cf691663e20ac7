"""The main job in this process: real parser, chunker, store and table, vectors from a hash."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.jobs.ingest import ingest
from lexigram_ray.jobs.pool import LocalPool, WorkerPool
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.report import IngestReport, IngestRequest, ProgressCallback
from lexigram_ray.jobs.run import PoolFactory
from lexigram_ray.jobs.toolbox import make_tools
from tests.fakes import HashingProvider


def ingest_here(
    config: WorkersConfig,
    docs: Path,
    on_progress: ProgressCallback = lambda _: None,
    *,
    collection: str = "docs",
    prune: bool = False,
) -> IngestReport:
    """Ingest a folder; `on_progress` is called as a command's would be."""
    request = IngestRequest(paths=(docs,), collection=collection, prune=prune)
    return ingest(config, request, hashing_pool(config), on_progress, threading.Event())


def hashing_pool(config: WorkersConfig) -> PoolFactory:
    """Return what makes pools of threads whose vectors come from the texts' hashes."""

    @contextmanager
    def make_pool(recipe: Recipe, job_id: str, _: int) -> Generator[WorkerPool]:
        provider = HashingProvider(recipe.model.spec.dimension)
        embedder = CachedEmbedder(lambda: provider, None, provider.spec)
        pool = LocalPool(lambda: make_tools(config, recipe, embedder, job_id))
        try:
            yield pool
        finally:
            pool.close()

    return make_pool
