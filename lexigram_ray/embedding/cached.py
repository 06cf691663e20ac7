"""Vectors from the cache, and from the model only where the cache has none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.cache import EmbeddingCache


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What became of some texts.

    Attributes:
        vectors: float32, shape `(n, dim)`, rows L2-normalised, in the texts' order.
        computed: Distinct texts that the model embedded.
        cached: The other texts: found in the cache, or repeats within the call.
        fresh: Shape `(n,)`; True at the text for which the model computed a vector.
    """

    vectors: NDArray[np.float32]
    computed: int
    cached: int
    fresh: NDArray[np.bool_]


class CachedEmbedder:
    """Embeds what the cache does not hold. Safe to use from several threads.

    Args:
        provider: Loads the model; called at the first miss, so a wholly cached job never does.
        cache: None embeds every distinct text anew.
        spec: The model that `provider` will load.
    """

    def __init__(
        self,
        provider: Callable[[], EmbeddingProvider],
        cache: EmbeddingCache | None,
        spec: ModelSpec,
    ) -> None:
        self._load = provider
        self._cache = cache
        self._spec = spec
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
        if self._cache is not None:
            found, vectors = self._cache.lookup(hashes)
        else:
            found = np.zeros(len(texts), np.bool_)
            vectors = np.zeros((len(texts), self._spec.dimension), np.float32)
        # Each missing hash once, with the first text that has it.
        missing: dict[str, int] = {}
        for place in np.flatnonzero(~found).tolist():
            missing.setdefault(hashes[place], place)
        if missing:
            computed = self._compute([texts[place] for place in missing.values()])
            if self._cache is not None:
                self._cache.put(list(missing), computed)
            order = {text_hash: row for row, text_hash in enumerate(missing)}
            for place in np.flatnonzero(~found).tolist():
                vectors[place] = computed[order[hashes[place]]]
        fresh = np.zeros(len(texts), np.bool_)
        fresh[list(missing.values())] = True
        computed_count = len(missing)
        return Embedded(
            vectors=vectors,
            computed=computed_count,
            cached=len(texts) - computed_count,
            fresh=fresh,
        )

    def flush(self) -> None:
        """Put on disk what the cache has gathered."""
        if self._cache is not None:
            self._cache.flush()

    def close(self) -> None:
        """Flush, and let go of the model."""
        if self._cache is not None:
            self._cache.close()
        with self._loading:
            self._provider = None

    def _compute(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._loading:
            if self._provider is None:
                self._provider = self._load()
            provider = self._provider
        vectors = np.asarray(provider.embed_texts(texts), np.float32)
        if vectors.shape != (len(texts), self._spec.dimension):
            raise EmbeddingError(
                f"model {self._spec.name} returned vectors of shape {vectors.shape}, "
                f"not {(len(texts), self._spec.dimension)}"
            )
        if not np.isfinite(vectors).all():
            raise EmbeddingError(f"model {self._spec.name} returned vectors that are not finite")
        return vectors
