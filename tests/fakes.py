"""Stand-ins for what is too slow for a test that is about something else."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.types import ModelSpec


class HashingProvider:
    """An `EmbeddingProvider` whose vectors come from the texts' hashes: the same everywhere.

    Attributes:
        calls: How often `embed_texts` was called.
        texts_embedded: How many texts it was given in all.
    """

    def __init__(self, dimension: int = 32) -> None:
        self.calls = 0
        self.texts_embedded = 0
        self._counting = threading.Lock()
        self._spec = ModelSpec(
            name=f"fake/hashing-{dimension}",
            revision="0" * 32,
            dimension=dimension,
            max_tokens=256,
            pooling="mean",
            precision="fp32",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return HashingProvider, (self._spec.dimension,)

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._counting:
            self.calls += 1
            self.texts_embedded += len(texts)
        return self._vectors(texts)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._vectors([text])[0]

    def _vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        size = 2 * self._spec.dimension
        drawn = b"".join(hashlib.shake_128(text.encode()).digest(size) for text in texts)
        numbers = np.frombuffer(drawn, "<i2").reshape(len(texts), self._spec.dimension)
        vectors = numbers.astype(np.float32) + np.float32(0.5)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
