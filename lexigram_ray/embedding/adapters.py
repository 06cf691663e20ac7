"""Any object with `embed_texts` or `embed` as a provider: called, checked, normalised."""

from __future__ import annotations

import asyncio
import inspect
import threading
import weakref
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import ConfigError, EmbeddingError, TextsRefusedError, WorkerError
from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.core.types import ModelSpec

METHODS = ("embed_texts", "embed")
PROBE = "dimension"
MAX_TOKENS = 512
# A vector that is longer or shorter than 1 by less than this is normalised: the rest is rounding.
LENGTH_TOLERANCE = 1e-4

GIVEN_POOLING = "provider"
"""Stands in the spec of a caller's object that has none."""


def as_provider(source: object, spec: ModelSpec | None = None) -> EmbeddingProvider:
    """Return a provider of this package as it is, and any other object as one.

    The object's method may be a coroutine function, and may return an array, a tensor or lists.
    The cache and the collections tell models apart by `spec` alone: an object whose vectors can
    change should have a `revision` (and a `name`, where its class serves several models).

    Args:
        source: Has `embed_texts(texts)` or `embed(texts)`, and `embed_query(text)` if queries are
            embedded otherwise.
        spec: What it is; else its attribute `spec`, else made of its attributes `name` (or
            `model_name`, or its class's name), `revision`, `dimension` and `max_tokens`. A
            dimension that nothing tells is learned by one call. With neither a spec nor a
            revision its vectors are kept in no cache that outlives the process.

    Raises:
        ConfigError: It has neither method.
        EmbeddingError: The call that learns its dimension failed.
    """
    if EmbeddingProvider in type(source).__mro__:
        return cast("EmbeddingProvider", source)
    return ForeignProvider(source, spec)


class ForeignProvider(EmbeddingProvider):
    """An object of other code behind this package's protocol; see `as_provider`.

    It is as safe to use from several threads as the object itself.
    """

    def __init__(self, source: object, spec: ModelSpec | None = None) -> None:
        self._source = source
        self._given = spec
        self._name = _name_of(source) or type(source).__qualname__
        self._call = method_of(source, self._name)
        self._loop = _Loop()
        self._spec = spec or self._described()

    def __reduce__(self) -> tuple[object, ...]:
        return ForeignProvider, (self._source, self._spec)

    @property
    def spec(self) -> ModelSpec:
        """The model whose vectors these are."""
        return self._spec

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents, in order.

        Returns:
            float32, shape `(len(texts), spec.dimension)`, rows L2-normalised, never NaN.

        Raises:
            TextsRefusedError: Some vectors are not finite, or have no direction.
            EmbeddingError: The object failed, or returned something else than vectors.
        """
        if not texts:
            return np.zeros((0, self._spec.dimension), np.float32)
        vectors = self._array(self._result(self._call, list(texts)))
        return self._checked(vectors, len(texts))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed one query: float32, shape `(spec.dimension,)`.

        Raises:
            TextsRefusedError: The vector is not finite, or has no direction.
            EmbeddingError: The object failed, or returned something else than a vector.
        """
        method = getattr(self._source, "embed_query", None)
        if method is None:
            return self.embed_texts([text])[0]
        return self._checked(self._array(self._result(method, text)).reshape(1, -1), 1)[0]

    def _described(self) -> ModelSpec:
        source = self._source
        given = getattr(source, "spec", None)
        if isinstance(given, ModelSpec):
            return given
        dimension = getattr(source, "dimension", None)
        if not isinstance(dimension, int):
            probe = self._array(self._result(self._call, [PROBE]))
            if probe.ndim != 2 or len(probe) != 1 or not probe.shape[1]:
                raise EmbeddingError(
                    f"{self._name} returned an array of shape {probe.shape} for one text, "
                    "not one vector",
                    hint="return one row of numbers for each text",
                )
            dimension = int(probe.shape[1])
        max_tokens = getattr(source, "max_tokens", None)
        revision = getattr(source, "revision", None)
        return ModelSpec(
            name=_name_of(source) or f"{type(source).__module__}.{type(source).__qualname__}",
            revision="" if revision is None else str(revision),
            dimension=dimension,
            max_tokens=max_tokens if isinstance(max_tokens, int) else MAX_TOKENS,
            pooling=GIVEN_POOLING,
            precision="fp32",
        )

    def _result(self, method: Any, argument: object) -> object:
        try:
            result = method(argument)
            return self._loop.run(result) if inspect.iscoroutine(result) else result
        except WorkerError:
            raise
        except Exception as error:
            raise EmbeddingError(f"{self._name} failed: {type(error).__name__}: {error}") from error

    def _array(self, result: Any) -> NDArray[np.float32]:
        try:
            with np.errstate(over="ignore"):
                return np.asarray(_off_the_device(result), np.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise EmbeddingError(
                f"{self._name} returned {type(result).__name__} that is no array of numbers: "
                f"{error}",
                hint="return one row of numbers for each text, all of one length",
            ) from error

    def _checked(self, vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        if vectors.shape != (count, self._spec.dimension):
            raise EmbeddingError(
                f"{self._name} returned vectors of shape {vectors.shape}, "
                f"not {(count, self._spec.dimension)}"
            )
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        finite = np.isfinite(lengths)
        good = finite & (lengths > 0)
        off = good & (np.abs(lengths - 1) > LENGTH_TOLERANCE)
        if off.any() or not good.all():
            vectors = vectors.copy()
            vectors[off] /= lengths[off, None]
            vectors[~good] = 0
        if good.all():
            return vectors
        raise TextsRefusedError(
            {
                int(row): f"{self._name} gave a vector "
                + ("of zeros" if finite[row] else "that is not finite")
                for row in np.flatnonzero(~good)
            },
            vectors,
        )


class _Loop:
    """One event loop for all calls: clients of asynchronous libraries belong to their loop."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._loop.run_forever, name="embedding-provider", daemon=True
                ).start()
                weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _name_of(source: object) -> str | None:
    for attribute in ("name", "model_name"):
        name = getattr(source, attribute, None)
        if isinstance(name, str) and name:
            return name
    return None


def _off_the_device(result: Any) -> Any:
    """Return what numpy can read of a tensor that has a gradient, lies on a GPU or is bfloat16."""
    if hasattr(result, "detach"):
        return result.detach().cpu().float()
    if isinstance(result, (list, tuple)):
        rows = cast("Sequence[Any]", result)
        if any(hasattr(row, "detach") for row in rows):
            return [_off_the_device(row) for row in rows]
    return cast("object", result)


def method_of(source: object, name: str) -> Any:
    """Return the method of an object that embeds texts.

    Args:
        name: What the object is called.

    Raises:
        ConfigError: It has none.
    """
    for method in METHODS:
        found = getattr(source, method, None)
        if callable(found):
            return found
    raise ConfigError(
        f"{name} is no embedding provider: it has neither embed_texts nor embed",
        hint="give it `embed_texts(texts)` that returns one vector for each text",
    )
