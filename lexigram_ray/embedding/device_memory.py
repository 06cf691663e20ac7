"""Going on when the device's memory ends: the batch in halves, later ones no larger."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.backend import Backend, DeviceMemoryError
from lexigram_ray.embedding.batching import TokenBatch, split
from lexigram_ray.embedding.token_budget import TokenBudget


def run_within_memory(
    backend: Backend,
    batches: Iterator[TokenBatch],
    done: Callable[[TokenBatch, NDArray[np.float32]], None],
    *,
    budget: TokenBudget,
    pooling: str,
) -> dict[int, str]:
    """Run batches as `backend.run` does, smaller ones where they do not fit.

    Returns:
        Why a text was given up, by its row: it does not fit even alone.

    Raises:
        EmbeddingError: The backend failed otherwise.
    """
    feed = _Feed(batches, budget)
    refused: dict[int, str] = {}

    def settle(batch: TokenBatch, pooled: NDArray[np.float32]) -> None:
        feed.settle(batch)
        done(batch, pooled)

    while True:
        try:
            backend.run(feed, settle, pooling=pooling)
            return refused
        except DeviceMemoryError as error:
            failed = error.batch
        feed.put_back()
        if len(failed.rows) > 1:
            budget.halve(failed.input_ids.size)
            continue
        # What ran beside it may have had the memory: now it is alone.
        try:
            pooled = backend.run_one(failed, pooling=pooling)
        except DeviceMemoryError as error:
            feed.drop(failed)
            refused[int(failed.rows[0])] = error.reason
            continue
        feed.drop(failed)
        done(failed, pooled)


class _Feed:
    """Batches within the budget, of which none is lost until it is settled."""

    def __init__(self, batches: Iterator[TokenBatch], budget: TokenBudget) -> None:
        self._batches = batches
        self._budget = budget
        self._waiting: deque[TokenBatch] = deque()
        self._running: dict[int, TokenBatch] = {}

    def __iter__(self) -> Iterator[TokenBatch]:
        return self

    def __next__(self) -> TokenBatch:
        batch = self._waiting.popleft() if self._waiting else next(self._batches)
        first, *rest = split(batch, self._budget.tokens)
        self._waiting.extendleft(reversed(rest))
        self._running[_key(first)] = first
        return first

    def settle(self, batch: TokenBatch) -> None:
        """Forget a batch that has run."""
        del self._running[_key(batch)]

    def put_back(self) -> None:
        """Make every batch that was handed out and not settled come again."""
        self._waiting.extendleft(reversed(self._running.values()))
        self._running.clear()

    def drop(self, batch: TokenBatch) -> None:
        """Leave out a batch that was put back."""
        kept = (each for each in self._waiting if _key(each) != _key(batch))
        self._waiting = deque(kept)


def _key(batch: TokenBatch) -> int:
    return int(batch.rows[0])
