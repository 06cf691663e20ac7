"""Vectors from the cache, and from the model only where the cache has none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import EmbeddingError, TextsRefusedError
from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.core.telemetry import EMBED_BATCH_SECONDS, meter
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.embedding.encoding import EncodedTexts, encode

NOT_FINITE = "the model gave a vector that is not finite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What became of some texts: `computed + cached + len(refused)` is their number.

    Attributes:
        vectors: float32, shape `(n, dim)`, rows L2-normalised, in the texts' order; zeros where
            refused.
        computed: Distinct texts that the model embedded.
        cached: Texts found in the cache, and repeats within the call.
        fresh: Shape `(n,)`; True at the text for which the model computed a vector.
        refused: Why a text has no vector, by its position; equal texts are refused together.
        truncated: Distinct texts of `computed` that were cut at the model's limit, where the
            provider counts them.
    """

    vectors: NDArray[np.float32]
    computed: int
    cached: int
    fresh: NDArray[np.bool_]
    refused: Mapping[int, str] = field(default_factory=dict[int, str])
    truncated: int = 0


def joined(parts: Sequence[Embedded]) -> Embedded:
    """Return the answers of calls, at least one, as that of one call for all of their texts."""
    if len(parts) == 1:
        return parts[0]
    refused: dict[int, str] = {}
    start = 0
    for part in parts:
        refused |= {start + place: reason for place, reason in part.refused.items()}
        start += len(part.fresh)
    return Embedded(
        vectors=np.concatenate([part.vectors for part in parts]),
        computed=sum(part.computed for part in parts),
        cached=sum(part.cached for part in parts),
        fresh=np.concatenate([part.fresh for part in parts]),
        refused=refused,
        truncated=sum(part.truncated for part in parts),
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """The provider's: `vectors` of all texts of a call, `reasons` by position in it."""

    vectors: NDArray[np.float32]
    reasons: Mapping[int, str]
    truncated: int


class CachedEmbedder:
    """Embeds what the cache does not hold. Safe to use from several threads.

    Args:
        provider: Loads the model; called at the first miss, so a wholly cached job never does.
        cache: None embeds every distinct text anew.
        spec: The model that `provider` will load.
        owns_provider: Whether `close` closes it; not one that a user has given, who may go on
            with it.
        most_texts: In one call of the provider; None for as many as there are.
    """

    def __init__(
        self,
        provider: Callable[[], EmbeddingProvider],
        cache: EmbeddingCache | None,
        spec: ModelSpec,
        *,
        owns_provider: bool = True,
        most_texts: int | None = None,
    ) -> None:
        self._load = provider
        self._cache = cache
        self._spec = spec
        self._owns_provider = owns_provider
        self._most_texts = most_texts
        self._loading = threading.Lock()
        self._provider: EmbeddingProvider | None = None

    def embed(self, texts: Sequence[str], hashes: Sequence[str]) -> Embedded:
        """Embed texts.

        Args:
            texts: Any number of them.
            hashes: Each text's hash, 32 hex digits, in the same order.

        Raises:
            EmbeddingError: The model failed, or returned what cannot be used.
            DiskFullError: The cache has no space left.
        """
        if len(texts) != len(hashes):
            raise ValueError(f"{len(texts)} texts with {len(hashes)} hashes")
        found, vectors = self._look_up(hashes)
        fresh = np.zeros(len(texts), np.bool_)
        refused: dict[int, str] = {}
        truncated = 0
        places = np.flatnonzero(~found)
        if len(places):
            # Each missing hash once, with the first text that has it.
            first: dict[str, int] = {}
            for place in places.tolist():
                first.setdefault(hashes[place], place)
            answer = self._compute([texts[place] for place in first.values()])
            self._keep(list(first), answer)
            row_of = {text_hash: row for row, text_hash in enumerate(first)}
            rows = np.array([row_of[hashes[place]] for place in places.tolist()], np.intp)
            vectors[places] = answer.vectors[rows]
            fresh[list(first.values())] = True
            refused = {
                place: answer.reasons[row]
                for place, row in zip(places.tolist(), rows.tolist(), strict=True)
                if row in answer.reasons
            }
            fresh[list(refused)] = False
            truncated = answer.truncated
        computed = int(np.count_nonzero(fresh))
        return Embedded(
            vectors=vectors,
            computed=computed,
            cached=len(texts) - computed - len(refused),
            fresh=fresh,
            refused=refused,
            truncated=truncated,
        )

    def encode(self, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
        """Embed documents or queries past the cache, and count their tokens where possible.

        Raises:
            EmbeddingError: The model failed.
        """
        return encode(self._loaded(), texts, as_query=as_query)

    def flush(self) -> None:
        """Put on disk what the cache has gathered."""
        if self._cache is not None:
            self._cache.flush()

    def close(self) -> None:
        """Flush, and let go of the model, whether or not the cache can be written.

        Raises:
            DiskFullError: The cache has no space left.
        """
        try:
            if self._cache is not None:
                self._cache.close()
        finally:
            with self._loading:
                provider, self._provider = self._provider, None
            # Of a server: calls that wait for their turn end now.
            close = getattr(provider, "close", None)
            if self._owns_provider and callable(close):
                close()

    def _look_up(self, hashes: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        if self._cache is not None:
            return self._cache.lookup(hashes)
        size = (len(hashes), self._spec.dimension)
        return np.zeros(len(hashes), np.bool_), np.zeros(size, np.float32)

    def _keep(self, hashes: list[str], answer: _Answer) -> None:
        if self._cache is None:
            return
        if not answer.reasons:
            self._cache.put(hashes, answer.vectors)
            return
        good = [row for row in range(len(hashes)) if row not in answer.reasons]
        self._cache.put([hashes[row] for row in good], answer.vectors[good])

    def _compute(self, texts: Sequence[str]) -> _Answer:
        provider, started = self._loaded(), time.monotonic()
        answer = _ask_in_parts(provider, texts, self._most_texts or len(texts))
        # A local model's name may be the path of its folder.
        name = self._spec.name.rpartition("/")[2]
        meter().observe(EMBED_BATCH_SECONDS, time.monotonic() - started, model=name)
        vectors = np.asarray(answer.vectors, np.float32)
        if vectors.shape != (len(texts), self._spec.dimension):
            raise EmbeddingError(
                f"model {self._spec.name} returned vectors of shape {vectors.shape}, "
                f"not {(len(texts), self._spec.dimension)}"
            )
        reasons = dict(answer.reasons)
        for row in np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist():
            reasons.setdefault(row, NOT_FINITE)
        if reasons:
            vectors = vectors.copy()
            vectors[list(reasons)] = 0
        return _Answer(vectors, reasons, answer.truncated)

    def _loaded(self) -> EmbeddingProvider:
        with self._loading:
            if self._provider is None:
                self._provider = self._load()
            return self._provider


def _ask_in_parts(provider: EmbeddingProvider, texts: Sequence[str], most: int) -> _Answer:
    if len(texts) <= most:
        return _ask(provider, texts)
    starts = range(0, len(texts), most)
    answers = [_ask(provider, texts[start : start + most]) for start in starts]
    reasons = {
        start + place: reason
        for start, answer in zip(starts, answers, strict=True)
        for place, reason in answer.reasons.items()
    }
    vectors = np.concatenate([answer.vectors for answer in answers])
    return _Answer(vectors, reasons, sum(answer.truncated for answer in answers))


def _ask(provider: EmbeddingProvider, texts: Sequence[str]) -> _Answer:
    # Not part of the protocol: only a provider that tokenises here can count what it cuts.
    counted = getattr(provider, "embed_counted", None)
    try:
        if counted is None:
            return _Answer(provider.embed_texts(texts), {}, 0)
        result = counted(texts)
        return _Answer(result.vectors, {}, int(result.truncated))
    except TextsRefusedError as error:
        return _Answer(error.vectors, error.reasons, int(getattr(error, "truncated", 0)))
