"""An embedding job with its place chosen: this process, a warm embedder, or Ray Data."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import cache
from typing import TYPE_CHECKING

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.embed import embed
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport, EmbedRequest
from lexigram_ray.jobs.embed_run import Work
from lexigram_ray.jobs.estimate import BYTES_PER_TOKEN, seconds_for
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.text_places import InProcessPlace, TextPlace
from lexigram_ray.jobs.text_tracker import EmbedProgressCallback
from lexigram_ray.jobs.toolbox import make_embedder
from lexigram_ray.runtime.cluster_file import wanted_address
from lexigram_ray.runtime.early_ray import EarlyRay, ray_is_running

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
    # Before Ray is imported: it may have to know of a token.
    address = wanted_address(config, request.address)
    with closing(EarlyRay(config, request, address)) as early:

        @contextmanager
        def make_place(recipe: Recipe, work: Work) -> Generator[TextPlace]:
            seconds = seconds_for(work.characters / BYTES_PER_TOKEN)
            is_small = seconds < config.runtime.inline_seconds
            early.wait()
            attached = request.address is not None or ray_is_running()
            if not work.characters or (is_small and not attached):
                chosen = _in_process(config, recipe, work)
            else:
                chosen = _on_ray(
                    config,
                    address,
                    recipe,
                    work,
                    is_small=is_small,
                    stays_attached=ray_is_running() and not early.is_begun,
                )
            with chosen as place:
                yield place

        def tell(progress: EmbedProgress) -> None:
            early.look(progress)
            on_progress(progress)

        return embed(config, request, make_place, tell, stop)


@cache
def _session() -> SessionEmbedders:
    from lexigram_ray.runtime.warm import SessionEmbedders

    return SessionEmbedders()


@contextmanager
def _in_process(config: WorkersConfig, recipe: Recipe, work: Work) -> Generator[TextPlace]:
    place = InProcessPlace(lambda: make_embedder(config, recipe, threads=None), work.job_id)
    try:
        yield place
    finally:
        place.close()


@contextmanager
def _on_ray(
    config: WorkersConfig,
    address: str | None,
    recipe: Recipe,
    work: Work,
    *,
    is_small: bool,
    stays_attached: bool,
) -> Generator[TextPlace]:
    from lexigram_ray.runtime.cluster import connected
    from lexigram_ray.runtime.pipeline import RayDataPlace
    from lexigram_ray.runtime.warm import WarmPlace

    with connected(config, address):
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
