"""A provider that costs next to nothing, so that a job's time is the pipeline's and the table's."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.types import ModelSpec

DIMENSION = 384
DIFFERENT = 4_096


class FixedVectors:
    """Gives each text one of some thousand unit vectors; pickles as its class alone."""

    def __init__(self) -> None:
        drawn = np.random.default_rng(5).standard_normal((DIFFERENT, DIMENSION), np.float32)
        self._vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def __reduce__(self) -> tuple[object, ...]:
        return FixedVectors, ()

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(
            name="fake/fixed",
            revision="0" * 32,
            dimension=DIMENSION,
            max_tokens=256,
            pooling="mean",
            precision="fp32",
        )

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._vectors[[zlib.crc32(text.encode()) % DIFFERENT for text in texts]]

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self.embed_texts([text])[0]
