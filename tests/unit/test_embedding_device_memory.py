from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.embedding.backend import DeviceMemoryError
from lexigram_ray.embedding.batching import TokenBatch, token_batches
from lexigram_ray.embedding.device_memory import run_within_memory
from lexigram_ray.embedding.token_budget import TokenBudget


class _SmallDevice:
    """Runs some batches side by side and fails where one is larger than its memory.

    A batch's pooled vector is its tokens' sum. The memory is shared by what runs side by side.
    """

    token_budget = 1024
    other_budgets = ()
    streams = 2
    device = "small"
    clock = staticmethod(lambda: 0.0)

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self.sizes: list[int] = []

    def run(
        self,
        batches: Iterable[TokenBatch],
        done: Callable[[TokenBatch, np.ndarray], None],
        *,
        pooling: str,
    ) -> None:
        running: list[TokenBatch] = []
        for batch in batches:
            if len(running) > self.streams:
                done(running[0], self._pooled(running.pop(0)))
            self._take(batch, beside=running)
            running.append(batch)
        for batch in running:
            done(batch, self._pooled(batch))

    def run_one(self, batch: TokenBatch, *, pooling: str) -> np.ndarray:
        self._take(batch, beside=[])
        return self._pooled(batch)

    def _take(self, batch: TokenBatch, beside: list[TokenBatch]) -> None:
        if batch.input_ids.size + sum(each.input_ids.size for each in beside) > self._memory:
            raise DeviceMemoryError(batch)
        self.sizes.append(batch.input_ids.size)

    def _pooled(self, batch: TokenBatch) -> np.ndarray:
        return (batch.input_ids * batch.attention_mask).sum(axis=1)[:, None].astype(np.float32)


def _run(device: _SmallDevice, lengths: list[int], budget: TokenBudget) -> tuple[dict, dict]:
    ids = [np.full(length, place + 1, np.int32) for place, length in enumerate(lengths)]
    rows = np.arange(len(lengths), dtype=np.int64)
    batches = token_batches(ids, rows, budget=budget.tokens, pad_id=0)
    got: dict[int, float] = {}

    def keep(batch: TokenBatch, pooled: np.ndarray) -> None:
        assert not got.keys() & set(batch.rows.tolist())
        got.update(zip(batch.rows.tolist(), pooled[:, 0].tolist(), strict=True))

    refused = run_within_memory(device, batches, keep, budget=budget, pooling="mean")
    return got, refused


@given(st.lists(st.integers(1, 90), max_size=40), st.integers(1, 120), st.integers(1, 300))
def test_every_text_that_fits_alone_comes_out_once_and_the_others_are_named(
    lengths, memory, budget
):
    got, refused = _run(_SmallDevice(memory), lengths, TokenBudget(budget))

    fitting = [place for place, length in enumerate(lengths) if length <= memory]
    assert got == {place: (place + 1) * lengths[place] for place in fitting}
    assert set(refused) == set(range(len(lengths))) - set(fitting)


def test_later_batches_keep_to_the_smaller_budget_and_it_is_said_once(caplog):
    device = _SmallDevice(memory=300)
    budget = TokenBudget(400)

    with caplog.at_level(logging.WARNING):
        _run(device, [10] * 200, budget)
        before = len(device.sizes)
        _run(device, [10] * 200, budget)

    assert budget.tokens == 100
    assert set(device.sizes[before:]) == {100}
    assert caplog.text.count("no memory") == 1


def test_a_text_too_large_for_the_memory_leaves_the_budget_as_it_is():
    budget = TokenBudget(64)

    _, refused = _run(_SmallDevice(memory=250), [300, 8, 8], budget)

    assert refused == {0: "its 300 tokens do not fit in the device's memory"}
    assert budget.tokens == 64


def test_a_budget_that_was_halved_is_not_raised_by_a_late_finding():
    budget = TokenBudget(1024)
    budget.halve(512)

    budget.settle(lambda: 2048)

    assert budget.tokens == 256


def test_the_best_budget_is_looked_for_once():
    budget = TokenBudget(1024)

    budget.settle(lambda: 2048)
    budget.settle(lambda: pytest.fail("looked for again"))

    assert budget.tokens == 2048
