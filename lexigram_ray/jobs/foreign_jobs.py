"""An embedding job of the Store whose message or whose vectors come from objects of this process.

No other process has these objects, so it runs here and without Ray, however large it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ConflictError
from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.core.types import JobStatus, ModelSpec
from lexigram_ray.embedding.adapters import as_provider
from lexigram_ray.embedding.models import SERVER_MODEL
from lexigram_ray.jobs.chunk_rows import table_of_chunks
from lexigram_ray.jobs.embed import embed
from lexigram_ray.jobs.embed_report import EmbedReport, EmbedRequest
from lexigram_ray.jobs.embed_run import Work
from lexigram_ray.jobs.foreign_embedder import calling_on, model_argument, provider_method
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.text_places import InProcessPlace, TextPlace
from lexigram_ray.jobs.text_tracker import EmbedProgressCallback
from lexigram_ray.jobs.toolbox import make_embedder

__all__ = ["ProviderOnLoop", "embed_here"]

T = TypeVar("T")

LEAST_UNIQUE = 16
"""Characters of an id that a queue will hardly give twice: others are counters."""


def embed_here(
    config: WorkersConfig,
    collection: str,
    chunks: Iterable[object],
    *,
    message_id: str,
    priority: int,
    provider: EmbeddingProvider | None,
    on_progress: EmbedProgressCallback,
    stop: threading.Event,
) -> EmbedReport:
    """Embed the chunks of a message into a collection of ours, as a job of the Store.

    A message that is delivered once more is the same job, finished or not.

    Args:
        config: What the job runs with.
        provider: Makes the vectors; the configured model where None.

    Raises:
        UsageError: The chunks, the name, the model or the collection do not fit.
        EmbedInterrupted: `stop` was set.
        WorkerError: The run failed; the same message goes on from there.
    """

    @contextmanager
    def make_place(recipe: Recipe, work: Work) -> Generator[TextPlace]:
        place = InProcessPlace(lambda: make_embedder(config, recipe, threads=None), work.job_id)
        try:
            yield place
        finally:
            place.close()

    request = EmbedRequest(
        table=table_of_chunks(chunks),
        collection=collection,
        provider=provider,
        unique_key=f"message:{message_id}" if len(message_id) >= LEAST_UNIQUE else None,
        priority=priority,
    )
    with contextlib.suppress(ConflictError):
        report = embed(config, request, make_place, on_progress, stop)
        if not report.adopted or report.status is JobStatus.COMPLETED:
            return report
    # The queue has given the id to another message before, or the job was ended by another hand.
    alone = replace(request, unique_key=None)
    return embed(config, alone, make_place, on_progress, stop)


class ProviderOnLoop:
    """A caller's provider whose coroutines run on the caller's own event loop.

    Args:
        provider: Has `embed_texts(texts)` or `embed(texts)`.
        loop: Where its coroutines run.
        batch_size: Most texts in one call.
        stop: Ends a call that is waited for.
        model_name: Passed on where the method takes `model_name` or `model`; None where nobody
            chose one.
    """

    def __init__(
        self,
        provider: object,
        loop: asyncio.AbstractEventLoop,
        *,
        batch_size: int,
        stop: threading.Event,
        model_name: str | None = None,
    ) -> None:
        self._method = provider_method(provider)
        asked = model_name or SERVER_MODEL
        self._named = model_argument(self._method, asked, is_asked=model_name is not None)
        self._loop = loop
        self._batch_size = max(1, batch_size)
        self._stop = stop
        name = getattr(provider, "name", None) or getattr(provider, "model_name", None)
        own = name if isinstance(name, str) and name else type(provider).__qualname__
        # One object of several models: their vectors are not each other's.
        is_other = bool(self._named) and model_name is not None
        self.name = f"{own}:{model_name}" if is_other else own
        self.revision = _of_type(getattr(provider, "revision", None), str)
        self.dimension = _of_type(getattr(provider, "dimension", None), int)
        self.max_tokens = _of_type(getattr(provider, "max_tokens", None), int)
        spec = _of_type(getattr(provider, "spec", None), ModelSpec)
        self.spec = replace(spec, name=self.name) if spec and is_other else spec

    def embed_texts(self, texts: Sequence[str]) -> list[object]:
        """Embed texts; see `embedding.adapters.as_provider`."""
        vectors: list[object] = []
        for start in range(0, len(texts), self._batch_size):
            some = list(texts[start : start + self._batch_size])
            answer = calling_on(self._loop, self._method, some, self._named, stop=self._stop)
            vectors.extend(answer if isinstance(answer, Iterable) else [answer])
        return vectors

    def as_provider(self) -> EmbeddingProvider:
        """Return it behind this package's own protocol; its dimension is asked where it is unknown.

        Raises:
            EmbeddingError: It returned no vector for a word.
        """
        return as_provider(self)


def _of_type(value: object, kind: type[T]) -> T | None:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
