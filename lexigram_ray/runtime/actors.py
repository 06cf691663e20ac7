"""What runs inside Ray's workers. Each actor only holds tools and calls the plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import EmbedderDiedError, WorkerError
from lexigram_ray.core.types import Document
from lexigram_ray.embedding.cached import Embedded
from lexigram_ray.embedding.devices import available_cpus
from lexigram_ray.jobs.executor import Execution, Tools, execute
from lexigram_ray.jobs.toolbox import Recipe, make_embedder, make_tools


class EmbedderActor:
    """Cache and model of one node, warm for as long as it lives.

    Args:
        label: Shown by the Ray dashboard and in log lines.
    """

    def __init__(self, config: WorkersConfig, recipe: Recipe, label: str) -> None:
        self._label = label
        # Ray gives workers as many threads as they reserve CPUs; the engine needs the node's.
        self._embedder = make_embedder(config, recipe, threads=available_cpus())

    def __repr__(self) -> str:
        return self._label

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed documents in order."""
        return self._embedder.embed(texts, hashes)

    def close(self) -> None:
        """Write what the cache holds back."""
        self._embedder.close()


class IngestionActor:
    """A parser process, a chunker, and a way to the embedder."""

    def __init__(
        self, config: WorkersConfig, recipe: Recipe, embedder: Any, job_id: str, label: str
    ) -> None:
        self._label = label
        self._make = lambda: make_tools(config, recipe, RemoteEmbedder(embedder), job_id)
        self._tools: Tools | None = None

    def __repr__(self) -> str:
        return self._label

    def execute(self, documents: Sequence[Document]) -> Execution:
        """Execute a batch."""
        # Not in __init__: of an error there Ray tells the text, but not the error itself.
        if self._tools is None:
            self._tools = self._make()
        return execute(documents, self._tools)


class RemoteEmbedder:
    """An `Embedder` whose model lives in an actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed documents in order.

        Raises:
            EmbedderDiedError: The actor died, again after a new start too, or Ray failed.
        """
        try:
            embedded: Embedded = ray.get(self._actor.embed.remote(texts, hashes))
            return embedded
        except RayTaskError as error:
            if isinstance(error.cause, WorkerError):
                raise error.cause from None
            raise
        except RayError as error:
            # Its death, out of memory, a lost node or object: no document's fault for certain.
            raise EmbedderDiedError(f"the embedder does not answer: {error}") from error
