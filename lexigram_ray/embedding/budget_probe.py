"""Which token budget suits a model on this machine: tried once, remembered beside the models."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.backend import Backend, DeviceMemoryError
from lexigram_ray.embedding.batching import TokenBatch, token_batches
from lexigram_ray.embedding.json_file import read_object, write_object
from lexigram_ray.embedding.tokenizing import TextEncoder

MEMORY_FILE = "budgets.json"
# A chunk of the default size has about this many tokens.
TYPICAL_TOKENS = 160
SAMPLE = "The committee met on Tuesday and put the question off until the budget was known. "
# What another budget must save to be preferred, in each of two rounds: below it, noise decides.
CLEARLY = 0.95
ROUNDS = 2
# Mostly it takes half of this: no rival gets to a second round.
PROBE_SECONDS = 1.0
# Runs as short as this are shown wrong by what a first one does besides, such as making kernels.
SHORT_SECONDS = 0.05

logger = logging.getLogger(__name__)


def remembered_budget(
    backend: Backend, encoder: TextEncoder, *, model: str, pooling: str, models_dir: Path
) -> int:
    """Return the budget found earlier for this model on this machine, or try and remember.

    Args:
        backend: Runs the model.
        encoder: Makes the tokens of the synthetic batches.
        model: The fingerprint of the model.
        pooling: `mean` or `cls`.
        models_dir: Where the findings are kept. Where they cannot be, the next process tries again.
    """
    key = f"{model} on {backend.device}"
    file = models_dir / MEMORY_FILE
    known = read_object(file).get(key)
    if isinstance(known, int) and known in (backend.token_budget, *backend.other_budgets):
        return known
    try:
        found = best_budget(backend, encoder, pooling=pooling)
    except DeviceMemoryError:
        return backend.token_budget  # not remembered: the run itself halves it
    try:
        write_object(file, {**read_object(file), key: found})
    except OSError as error:
        logger.debug("cannot write %s: %s", file, error)
    return found


def best_budget(backend: Backend, encoder: TextEncoder, *, pooling: str) -> int:
    """Try the backend's budgets on batches of typical length, for a second at the most.

    Returns:
        The default, unless another one costs clearly less in every round.

    Raises:
        DeviceMemoryError: Not even the default fits.
    """
    probe = _Probe(backend, encoder, pooling)
    rivals = list(backend.other_budgets)
    costs: dict[int, float] = {}
    for _ in range(ROUNDS):
        usual = probe.cost(backend.token_budget)
        costs = {rival: probe.cost(rival) for rival in rivals}
        rivals = [rival for rival in rivals if costs[rival] < usual * CLEARLY < np.inf]
        if not rivals:
            break
    best = min(rivals, key=costs.__getitem__, default=backend.token_budget)
    logger.debug("token budget %d; microseconds a token of others: %s", best, costs)
    return best


class _Probe:
    """Runs batches of one text, many times over."""

    def __init__(self, backend: Backend, encoder: TextEncoder, pooling: str) -> None:
        self._backend = backend
        self._pooling = pooling
        self._pad_id = encoder.pad_id
        self._tokens = encoder.encode([SAMPLE * TYPICAL_TOKENS]).ids[0][:TYPICAL_TOKENS]
        self._seconds_a_token = 0.0
        # The first run on a device is its warm-up, and says nothing.
        self._run(list(self._batches(backend.token_budget)))
        self._ends = time.perf_counter() + PROBE_SECONDS
        self._run(list(self._batches(backend.token_budget)))

    def cost(self, budget: int) -> float:
        """Return the microseconds of device time that a token costs.

        Infinity where there is no time left to know, or no memory.
        """
        batches = list(self._batches(budget))
        expected = sum(batch.input_ids.size for batch in batches) * self._seconds_a_token
        if time.perf_counter() + expected > self._ends:
            return float("inf")
        try:
            if expected < SHORT_SECONDS:
                self._run(batches)
            return self._run(batches)
        except DeviceMemoryError:
            return float("inf")

    def _run(self, batches: list[TokenBatch]) -> float:
        count = sum(batch.input_ids.size for batch in batches)
        began, began_work = time.perf_counter(), self._backend.clock()
        self._backend.run(batches, _ignore, pooling=self._pooling)
        self._seconds_a_token = (time.perf_counter() - began) / count
        return (self._backend.clock() - began_work) / count * 1e6

    def _batches(self, budget: int) -> Iterator[TokenBatch]:
        texts = self._backend.streams * max(1, budget // len(self._tokens))
        rows = np.arange(texts, dtype=np.int64)
        return token_batches([self._tokens] * texts, rows, budget=budget, pad_id=self._pad_id)


def _ignore(batch: TokenBatch, pooled: NDArray[np.float32]) -> None:
    pass
