"""Ray, started beside the reading of a large table, where it is certain to be needed."""

from __future__ import annotations

import logging
import sys
import threading

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedRequest
from lexigram_ray.jobs.estimate import seconds_for
from lexigram_ray.jobs.recipes import cached_spec, keeps_vectors, read_text_recipe
from lexigram_ray.vectors.collections import Collections

FEWEST_TEXTS = 10_000
FEWEST_TOKENS = 4
"""Of a text, in the mean of a table: below it, Ray is started for work that needs no Ray."""

logger = logging.getLogger("lexigram_ray")


def ray_is_running() -> bool:
    """Whether this process is attached to a cluster; Ray is not imported to find out."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


class EarlyRay:
    """Starts Ray on this machine once a table turns out to be large and nothing of it is known."""

    def __init__(self, config: WorkersConfig, request: EmbedRequest, address: str | None) -> None:
        """Prepare.

        Args:
            address: The cluster to attach to, which is not started.
        """
        self._config = config
        self._request = request
        self._asked = address is not None or ray_is_running()
        self._thread: threading.Thread | None = None
        self._tried = threading.Event()
        self._done_with = threading.Event()

    @property
    def is_begun(self) -> bool:
        """Whether it was started early, or is being."""
        return self._thread is not None

    def look(self, progress: EmbedProgress) -> None:
        """Begin, if this is the moment."""
        if self._asked or not self._is_large(progress.texts_read):
            return
        self._asked = True
        if self._nothing_is_known():
            self._thread = threading.Thread(target=self._run, name="early ray", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return once it has started, or could not."""
        if self._thread is not None:
            self._tried.wait()

    def close(self) -> None:
        """End what was started."""
        self._done_with.set()
        if self._thread is not None:
            self._thread.join()

    def _is_large(self, texts: int) -> bool:
        inline = self._config.runtime.inline_seconds
        return texts >= FEWEST_TEXTS and seconds_for(texts * FEWEST_TOKENS) >= inline

    def _nothing_is_known(self) -> bool:
        if Collections(self._config.paths.lancedb).exists(self._request.collection):
            return False
        recipe = read_text_recipe(self._config, self._request.provider)
        if not keeps_vectors(self._config, recipe):
            return True
        cache = EmbeddingCache(self._config.paths.cache, cached_spec(self._config, recipe))
        return not len(cache)

    def _run(self) -> None:
        # Not a moment longer than this thread do the processes live that Ray starts in it: they
        # are told to die with their parent, which for Linux is the thread.
        try:
            from lexigram_ray.runtime.cluster import connected

            with connected(self._config, None):
                self._tried.set()
                self._done_with.wait()
        except Exception as error:  # noqa: BLE001 - met again, and said, by the place
            logger.debug("Ray did not start early: %s", error)
        finally:
            self._tried.set()
