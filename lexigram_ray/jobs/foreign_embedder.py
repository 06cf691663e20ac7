"""A caller's provider as the embedder of the executor: its own vectors, its own event loop.

What it returns is checked and counted, but neither normalised nor rounded: it goes to a store that
is the caller's as well. Where our collections are written, `embedding.adapters` is used instead.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from lexigram_ray.core.errors import EmbeddingServerError, UsageError, WorkerError
from lexigram_ray.embedding.adapters import method_of
from lexigram_ray.embedding.cached import Embedded
from lexigram_ray.jobs.awaiting import parameters_of
from lexigram_ray.jobs.classifier import ErrorClassifier
from lexigram_ray.jobs.foreign_queue import unwrapped
from lexigram_ray.jobs.retry_policy import MAY_PASS

__all__ = ["ForeignEmbedder", "VectorCache", "calling_on", "model_argument", "provider_method"]

LOOK_SECONDS = 0.2
_WHO = "the embedding provider"
_LOOP_CLOSED = "the event loop of the embedding provider is closed"
Vector = list[float]


class VectorCache(Protocol):
    """Where vectors are looked up by their texts."""

    def find(self, texts: Sequence[str], model_name: str) -> dict[str, Vector]:
        """Return the vectors that there are, by text."""
        ...

    def keep(self, vectors: Mapping[str, Vector], model_name: str) -> None:
        """Keep vectors by text."""
        ...


class ForeignEmbedder:
    """Embeds texts with a caller's object, for `execute_rows`; called from threads.

    Args:
        provider: Has `embed_texts(texts)` or `embed(texts)`, plain or asynchronous.
        loop: Where its coroutines run: the one that the caller runs its own code in.
        model_name: The cache's key, and passed on where the method takes `model_name` or `model`.
        is_asked: Whether somebody chose that name; if not, the method's own default counts.
        batch_size: Most texts in one call.
        cache: None looks nothing up.
        enter: Is told `caching` and `processing` as they begin.
        stop: Ends a call that is waited for, with an error.

    Attributes:
        vectors: Of every text so far, by its hash, exactly as the provider gave them.
        waiting_since: When the call under way began, on the monotonic clock; None between calls.
    """

    def __init__(
        self,
        provider: object,
        loop: asyncio.AbstractEventLoop,
        *,
        model_name: str,
        is_asked: bool = True,
        batch_size: int,
        cache: VectorCache | None,
        enter: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._method = provider_method(provider)
        self._named = model_argument(self._method, model_name, is_asked=is_asked)
        self._loop = loop
        self._model_name = model_name
        self._batch_size = max(1, batch_size)
        self._cache = cache
        self._enter = enter
        self._stop = stop
        self.vectors: dict[str, Vector] = {}
        self.waiting_since: float | None = None

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed texts: those that are not known, each once.

        Raises:
            UsageError: The provider returned no vectors, or not one for each text.
            EmbeddingServerError: It failed in a way that may pass; no text is to blame.
            Exception: Whatever else it raised.
        """
        first: dict[str, int] = {}
        for place, text_hash in enumerate(hashes):
            first.setdefault(text_hash, place)
        known = self._looked_up({texts[place]: text_hash for text_hash, place in first.items()})
        fresh = np.zeros(len(texts), np.bool_)
        wanted = [text_hash for text_hash in first if text_hash not in known]
        refused: dict[str, str] = {}
        for start in range(0, len(wanted), self._batch_size):
            some = wanted[start : start + self._batch_size]
            self._enter("processing")
            given = self._asked([texts[first[text_hash]] for text_hash in some])
            for text_hash, vector in zip(some, given, strict=True):
                if vector and all(map(math.isfinite, vector)):
                    known[text_hash] = vector
                    fresh[first[text_hash]] = True
                else:
                    refused[text_hash] = (
                        "the provider gave a vector that is not finite"
                        if vector
                        else "the provider gave it no vector"
                    )
            self._kept({texts[first[h]]: known[h] for h in some if h in known})
        self.vectors |= known
        return self._embedded(hashes, known, fresh, refused)

    def _looked_up(self, hash_of: Mapping[str, str]) -> dict[str, Vector]:
        if self._cache is None:
            return {}
        self._enter("caching")
        found = self._cache.find(list(hash_of), self._model_name)
        return {hash_of[text]: vector for text, vector in found.items()}

    def _kept(self, vectors: Mapping[str, Vector]) -> None:
        if self._cache is not None:
            self._cache.keep(vectors, self._model_name)

    def _asked(self, texts: list[str]) -> list[Vector]:
        self.waiting_since = time.monotonic()
        try:
            answer = calling_on(self._loop, self._method, texts, self._named, stop=self._stop)
        except WorkerError:
            raise
        except Exception as error:
            verdict = ErrorClassifier.verdict(error)
            if verdict.category not in MAY_PASS:
                raise
            # Not one of the texts is at fault: they are not tried one by one.
            gone = EmbeddingServerError(
                f"the embedding provider failed: {type(error).__name__}: {error}"
            )
            gone.category, gone.retry_after = verdict.category, verdict.retry_after
            raise gone from error
        finally:
            self.waiting_since = None
        return _vectors(answer, len(texts))

    def _embedded(
        self,
        hashes: Sequence[str],
        known: Mapping[str, Vector],
        fresh: np.ndarray[Any, np.dtype[np.bool_]],
        refused: Mapping[str, str],
    ) -> Embedded:
        dimension = max((len(vector) for vector in known.values()), default=1)
        wrong = {len(vector) for vector in known.values()} - {dimension}
        if wrong:
            raise _no_vectors(f"vectors of {dimension} and of {wrong.pop()} numbers")
        vectors = np.zeros((len(hashes), dimension), np.float32)
        reasons: dict[int, str] = {}
        for place, text_hash in enumerate(hashes):
            if text_hash in refused:
                reasons[place] = refused[text_hash]
            else:
                vectors[place] = known[text_hash]
        computed = int(np.count_nonzero(fresh))
        return Embedded(
            vectors=vectors,
            computed=computed,
            cached=len(hashes) - computed - len(reasons),
            fresh=fresh,
            refused=reasons,
        )


def provider_method(provider: object) -> Callable[..., Any]:
    """Return the method of a provider that embeds texts.

    Raises:
        ConfigError: It has none.
    """
    return method_of(provider, type(provider).__name__)


def calling_on(
    loop: asyncio.AbstractEventLoop,
    method: Callable[..., Any],
    texts: list[str],
    named: Mapping[str, Any],
    *,
    stop: threading.Event,
) -> object:
    """Call a method from a thread; what it makes to be awaited is awaited on a loop.

    Raises:
        WorkerError: `stop` was set while it was waited for, or its loop is closed.
        Exception: Whatever it raised.
    """
    answer = method(texts, **named)
    if not inspect.isawaitable(answer):
        return unwrapped(answer, _WHO)
    if loop.is_closed():
        raise WorkerError(_LOOP_CLOSED)

    async def awaited() -> object:
        return await answer

    future = asyncio.run_coroutine_threadsafe(awaited(), loop)
    while True:
        try:
            return unwrapped(future.result(LOOK_SECONDS), _WHO)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise
            if loop.is_closed():
                raise WorkerError(_LOOP_CLOSED) from None
            if stop.is_set():
                future.cancel()
                raise WorkerError("the job was ended while its provider was at work") from None


def model_argument(
    method: Callable[..., Any], model_name: str, *, is_asked: bool
) -> dict[str, Any]:
    """Return the argument that names the model to a provider's method, where that takes one.

    Args:
        is_asked: Whether somebody chose that name; if not, the method's own default counts.
    """
    parameters = parameters_of(method) or {}
    for name in ("model_name", "model"):
        if name in parameters:
            has_default = parameters[name].default is not inspect.Parameter.empty
            return {} if has_default and not is_asked else {name: model_name}
    return {}


def _vectors(answer: Any, count: int) -> list[Vector]:
    """Return vectors as lists, whatever they came as.

    Raises:
        UsageError: They are no vectors, or not one for each text.
    """
    if hasattr(answer, "detach"):
        answer = answer.detach().cpu().float().numpy()
    if not isinstance(answer, (list, tuple, np.ndarray)):
        raise _no_vectors(f"{type(answer).__name__}, which is no list of vectors")
    rows = [_vector(row) for row in cast("Sequence[Any]", answer)]
    if len(rows) != count:
        raise _no_vectors(f"{len(rows)} vectors for {count} texts")
    return rows


def _vector(row: Any) -> Vector:
    """Return a vector as a list; an empty one where a text has none."""
    if row is None:
        return []
    if hasattr(row, "detach"):
        row = row.detach().cpu().float().numpy()
    if not isinstance(row, (list, tuple, np.ndarray)):
        raise _no_vectors(f"{type(row).__name__} where a vector should be")
    try:
        return [float(number) for number in cast("Sequence[Any]", row)]
    except (TypeError, ValueError) as error:
        raise _no_vectors(f"a vector that holds no numbers ({error})") from error


def _no_vectors(what: str) -> UsageError:
    # It will do so each time, whatever the text.
    return UsageError(
        f"the embedding provider returned {what}",
        hint="return one list of numbers for each text, all of one length",
    )
