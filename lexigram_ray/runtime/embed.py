"""An embedding job with its place chosen: this process, a warm embedder, or Ray Data."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.embed import embed
from lexigram_ray.jobs.embed_report import EmbedReport, EmbedRequest
from lexigram_ray.jobs.embed_run import Work
from lexigram_ray.jobs.estimate import BYTES_PER_TOKEN, seconds_for
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.text_places import InProcessPlace, TextPlace
from lexigram_ray.jobs.text_tracker import EmbedProgressCallback
from lexigram_ray.jobs.toolbox import make_embedder

if TYPE_CHECKING:
    from lexigram_ray.runtime.warm import SessionEmbedders

__all__ = ["run_embed"]


def run_embed(
    config: WorkersConfig,
    request: EmbedRequest,
    on_progress: EmbedProgressCallback,
    stop: threading.Event,
) -> EmbedReport:
    """Embed a table; starts neither Ray nor a model when every vector is known.

    Raises:
        WorkerError: See `lexigram_ray.jobs.embed.embed`.
    """

    @contextmanager
    def make_place(recipe: Recipe, work: Work) -> Generator[TextPlace]:
        is_small = seconds_for(work.characters / BYTES_PER_TOKEN) < config.runtime.inline_seconds
        attached = request.address is not None or _ray_is_running()
        if not work.characters or (is_small and not attached):
            chosen = _in_process(config, recipe, work)
        else:
            chosen = _on_ray(config, request, recipe, work, is_small=is_small)
        with chosen as place:
            yield place

    return embed(config, request, make_place, on_progress, stop)


@cache
def _session() -> SessionEmbedders:
    from lexigram_ray.runtime.warm import SessionEmbedders

    return SessionEmbedders()


def _ray_is_running() -> bool:
    """Whether this process is attached to a cluster; Ray is not imported to find out."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@contextmanager
def _in_process(config: WorkersConfig, recipe: Recipe, work: Work) -> Generator[TextPlace]:
    place = InProcessPlace(lambda: make_embedder(config, recipe, threads=None), work.job_id)
    try:
        yield place
    finally:
        place.close()


@contextmanager
def _on_ray(
    config: WorkersConfig, request: EmbedRequest, recipe: Recipe, work: Work, *, is_small: bool
) -> Generator[TextPlace]:
    from lexigram_ray.runtime.cluster import connected, wanted_address
    from lexigram_ray.runtime.pipeline import RayDataPlace
    from lexigram_ray.runtime.warm import WarmPlace

    stays_attached = _ray_is_running()
    with connected(config, wanted_address(request.address)):
        if is_small:
            place = WarmPlace(
                config,
                recipe,
                job_id=work.job_id,
                collection=work.collection,
                embedders=_session().of(config, recipe) if stays_attached else None,
            )
        else:
            place = RayDataPlace(config, recipe, job_id=work.job_id, collection=work.collection)
        try:
            yield place
        finally:
            place.close()
