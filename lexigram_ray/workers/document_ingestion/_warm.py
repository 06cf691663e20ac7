"""Models that are loaded once for all documents of a worker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import WorkerError

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.types import ModelSpec
    from lexigram_ray.embedding.cached import CachedEmbedder
    from lexigram_ray.jobs.recipes import Recipe

logger = logging.getLogger("lexigram_ray")


class WarmEmbedders:
    """Cache and model of each recipe, made when they are first asked for. Safe to use from threads.

    Args:
        config: Where models and the cache are.
    """

    def __init__(self, config: WorkersConfig) -> None:
        self._config = config
        self._use = threading.Lock()
        self._embedders: dict[ModelSpec, CachedEmbedder] = {}

    @contextmanager
    def embedder(self, recipe: Recipe) -> Generator[CachedEmbedder]:
        """Lend the embedder of a recipe; what it has computed is written back afterwards.

        That of a caller's object is not kept: it is loaded anyway, and may belong to an event loop.
        """
        from lexigram_ray.jobs.recipes import GivenModel
        from lexigram_ray.jobs.toolbox import make_embedder

        if isinstance(recipe.model, GivenModel):
            given = make_embedder(self._config, recipe, threads=None)
            try:
                yield given
            finally:
                _or_say_why(given.close)
            return
        kept = self._kept(recipe)
        try:
            yield kept
        finally:
            _or_say_why(kept.flush)

    def close(self) -> None:
        """Write back what their caches hold, and let go of the models."""
        with self._use:
            embedders, self._embedders = list(self._embedders.values()), {}
        for embedder in embedders:
            _or_say_why(embedder.close)

    def _kept(self, recipe: Recipe) -> CachedEmbedder:
        from lexigram_ray.jobs.recipes import cached_spec
        from lexigram_ray.jobs.toolbox import make_embedder

        key = cached_spec(self._config, recipe)
        with self._use:
            if key not in self._embedders:
                self._embedders[key] = make_embedder(self._config, recipe, threads=None)
            return self._embedders[key]


def _or_say_why(write: Callable[[], None]) -> None:
    try:
        write()
    except WorkerError as error:
        # What the cache could not keep is only computed again.
        logger.warning("the embedding cache was not written: %s", error)
