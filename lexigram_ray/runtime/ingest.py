"""The main job with its place chosen: this process for a little work, Ray for more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import WorkerError
from lexigram_ray.jobs.estimate import dry_run, estimate_seconds
from lexigram_ray.jobs.ingest import ingest
from lexigram_ray.jobs.pool import LocalPool, WorkerPool
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.report import IngestReport, IngestRequest, ProgressCallback
from lexigram_ray.jobs.stages import Stages
from lexigram_ray.jobs.toolbox import make_embedder, make_tools

logger = logging.getLogger("lexigram_ray")

__all__ = ["dry_run", "run_ingest"]


def run_ingest(
    config: WorkersConfig,
    request: IngestRequest,
    on_progress: ProgressCallback,
    stop: threading.Event,
) -> IngestReport:
    """Ingest documents; starts neither Ray nor a model when nothing has changed.

    Raises:
        WorkerError: See `lexigram_ray.jobs.ingest.ingest`.
    """
    request = replace(request, stages=None if request.document is None else Stages())

    @contextmanager
    def make_pool(recipe: Recipe, job_id: str, unknown_bytes: int) -> Generator[WorkerPool]:
        if _stays_here(config, request, unknown_bytes):
            with _local_pool(config, recipe, job_id, request) as pool:
                yield pool
        else:
            with _ray_pool(config, request, recipe, job_id) as pool:
                yield pool

    return ingest(config, request, make_pool, on_progress, stop)


def _stays_here(config: WorkersConfig, request: IngestRequest, unknown_bytes: int) -> bool:
    if request.address is not None:
        return False
    most = config.runtime.inline_seconds
    # One document is one worker's work, wherever it is done.
    return (request.document is not None and most > 0) or estimate_seconds(unknown_bytes) < most


@contextmanager
def _local_pool(
    config: WorkersConfig, recipe: Recipe, job_id: str, request: IngestRequest
) -> Generator[WorkerPool]:
    embedder = make_embedder(config, recipe, threads=None)
    pool = LocalPool(lambda: make_tools(config, recipe, embedder, job_id, request=request))
    try:
        yield pool
    finally:
        pool.close()
        try:
            embedder.close()
        except WorkerError as error:
            # What the cache could not keep is only computed again.
            logger.warning("the embedding cache was not written: %s", error)


@contextmanager
def _ray_pool(
    config: WorkersConfig, request: IngestRequest, recipe: Recipe, job_id: str
) -> Generator[WorkerPool]:
    from lexigram_ray.runtime.cluster_file import wanted_address

    # Before Ray is imported: it may have to know of a token.
    address = wanted_address(config, request.address)
    from lexigram_ray.runtime.cluster import cluster_cpus, connected
    from lexigram_ray.runtime.ray_pool import RayPool

    with connected(config, address):
        pool = RayPool(
            config, recipe, collection=request.collection, job_id=job_id, cpus=cluster_cpus()
        )
        try:
            yield pool
        finally:
            pool.close()
