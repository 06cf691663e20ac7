"""One pass from texts to vectors on some backend: tokenise, batch, run, pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.batching import TokenBatch, token_batches, windows
from lexigram_ray.embedding.pooling import pool
from lexigram_ray.embedding.tokenizing import TextEncoder


class Backend(Protocol):
    """What runs a transformer: OpenVINO or torch."""

    token_budget: int

    def run(
        self,
        batches: Iterable[TokenBatch],
        done: Callable[[TokenBatch, NDArray[np.float32]], None],
    ) -> None:
        """Run all batches; hand each to `done` with its hidden states, in any order."""
        ...

    def run_one(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Run one batch; return its hidden states, float32, shape `(n, longest, dim)`."""
        ...


def vectors_of(
    texts: Sequence[str], *, backend: Backend, encoder: TextEncoder, dimension: int, pooling: str
) -> NDArray[np.float32]:
    """Embed texts by windows: memory holds one window's tokens, and the vectors.

    Returns:
        float32, shape `(len(texts), dimension)`, rows L2-normalised; NaN where the model failed.
    """
    vectors = np.empty((len(texts), dimension), np.float32)

    def keep(batch: TokenBatch, hidden: NDArray[np.float32]) -> None:
        vectors[batch.rows] = pool(hidden, batch.lengths, pooling)

    backend.run(_batches(texts, encoder, backend.token_budget), keep)
    return vectors


def vector_of(
    text: str, *, backend: Backend, encoder: TextEncoder, pooling: str
) -> NDArray[np.float32]:
    """Embed one text, ahead of whatever else runs: float32, shape `(dimension,)`."""
    only = np.zeros(1, np.int64)
    (batch,) = token_batches(encoder.encode([text]), only, budget=1, pad_id=encoder.pad_id)
    return pool(backend.run_one(batch), batch.lengths, pooling)[0]


def _batches(texts: Sequence[str], encoder: TextEncoder, budget: int) -> Iterator[TokenBatch]:
    for rows in windows(texts):
        ids = encoder.encode([texts[int(row)] for row in rows])
        yield from token_batches(ids, rows, budget=budget, pad_id=encoder.pad_id)
