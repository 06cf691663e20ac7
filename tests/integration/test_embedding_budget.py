from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lexigram_ray.core.errors import TextsRefusedError
from lexigram_ray.embedding import budget_probe, engine
from lexigram_ray.embedding.compiled_forms import Form
from lexigram_ray.embedding.engine import LocalProvider, load_provider
from lexigram_ray.embedding.openvino_engine import OpenVinoBackend
from lexigram_ray.embedding.torch_engine import TorchBackend
from tests.embedding_models import minilm, models_dir, real_texts

__all__ = ["models_dir"]

TEXTS = real_texts(20)


@pytest.fixture(scope="module")
def provider(models_dir: Path) -> LocalProvider:
    return load_provider(minilm(models_dir), models_dir=models_dir, threads=2)


def _agree(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return bool((np.einsum("ij,ij->i", ours, theirs) >= 0.9999).all())


class _FailingAbove:
    """Stands before a library's call and raises its error for more tokens than fit."""

    def __init__(self, real: Callable[..., object], tokens: int, error: Exception) -> None:
        self._real = real
        self._tokens = tokens
        self._error = error
        self.failures = 0

    def check(self, ids: np.ndarray) -> None:
        if np.prod(ids.shape) > self._tokens:
            self.failures += 1
            raise self._error


class _Request:
    def __init__(self, request, gate: _FailingAbove) -> None:
        self._request = request
        self._gate = gate

    def start_async(self, inputs) -> None:
        self._gate.check(inputs[0])
        self._request.start_async(inputs)

    def infer(self, inputs) -> None:
        self._gate.check(inputs[0])
        self._request.infer(inputs)

    def __getattr__(self, name: str):
        return getattr(self._request, name)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Exception from src/inference: std::bad_alloc"),
        RuntimeError("[CPU] Failed to allocate 8589934592 bytes of memory"),
        MemoryError("std::bad_alloc"),
    ],
)
def test_where_openvino_runs_out_of_memory_batches_are_halved_and_nothing_is_lost(
    models_dir, provider, caplog, monkeypatch, error
):
    backend = OpenVinoBackend.__new__(OpenVinoBackend)
    vars(backend).update(vars(provider._backend))
    forms = backend._forms
    some = Form(
        alone=False, streams=backend.streams, attention="padded", by_parts=False, summed=False
    )
    gate = _FailingAbove(forms.get(some), 300, error)

    class _Compiled:
        def __init__(self, form):
            self._form = form

        def create_infer_request(self):
            return _Request(forms.get(self._form).create_infer_request(), gate)

    monkeypatch.setattr(backend, "_forms", SimpleNamespace(get=_Compiled))
    scarce = LocalProvider(minilm(models_dir), backend)

    with caplog.at_level(logging.WARNING):
        vectors = scarce.embed_texts(TEXTS)
        failures = gate.failures
        again = scarce.embed_texts(TEXTS)

    assert _agree(vectors, provider.embed_texts(TEXTS))
    assert _agree(again, vectors)
    assert failures > 0
    assert gate.failures == failures
    assert caplog.text.count("no memory") == 1


@pytest.mark.slow
def test_where_torch_runs_out_of_memory_only_a_text_too_large_alone_is_refused(
    models_dir, provider, monkeypatch
):
    import torch

    backend = TorchBackend(minilm(models_dir).folder, precision="fp32", threads=2)
    gate = _FailingAbove(backend._model, 200, torch.OutOfMemoryError("CUDA out of memory."))
    real = backend._model

    def forward(*, input_ids, attention_mask):
        gate.check(input_ids)
        return real(input_ids=input_ids, attention_mask=attention_mask)

    monkeypatch.setattr(backend, "_model", forward)
    scarce = LocalProvider(minilm(models_dir), backend)
    texts = ["short", "word " * 240, *TEXTS[:8], "another"]
    expected = provider.embed_texts(texts)

    with pytest.raises(TextsRefusedError) as caught:
        scarce.embed_texts(texts)

    refused = set(caught.value.reasons)
    assert caught.value.reasons[1] == "its 242 tokens do not fit in the device's memory"
    kept = [place for place in range(len(texts)) if place not in refused]
    assert {0, 10} <= set(kept)
    assert _agree(caught.value.vectors[kept], expected[kept])


def test_a_probe_is_made_at_the_first_bulk_call_only_and_remembered(
    models_dir, tmp_path, provider, monkeypatch
):
    probes: list[str] = []

    def noted(*_: object, pooling: str) -> int:
        probes.append(pooling)
        return 2048

    monkeypatch.setattr(budget_probe, "best_budget", noted)
    monkeypatch.setattr(engine, "BULK_TEXTS", 3)
    backend = provider._backend

    def fresh() -> LocalProvider:
        return LocalProvider(minilm(models_dir), backend, models_dir=tmp_path)

    first = fresh()
    first.embed_query("a")
    first.embed_texts(["a", "b"])
    assert probes == []
    assert list(tmp_path.iterdir()) == []

    first.embed_texts(["a", "b", "c"])
    second = fresh()
    second.embed_texts(["a", "b", "c"])

    assert probes == ["mean"]
    assert (first._budget.tokens, second._budget.tokens) == (2048, 2048)
    (key,) = json.loads((tmp_path / "budgets.json").read_text())
    assert backend.device in key
    assert "openvino" in key


@pytest.mark.parametrize("damage", ["[]", "not json", '{"x": 1}'])
def test_a_damaged_or_unwritable_memory_of_budgets_only_costs_the_probe(
    tmp_path, provider, monkeypatch, damage
):
    monkeypatch.setattr(budget_probe, "best_budget", lambda *_, pooling: 512)
    (tmp_path / "budgets.json").write_text(damage)
    (tmp_path / "file").write_text("")

    for folder in (tmp_path, tmp_path / "file"):
        found = budget_probe.remembered_budget(
            provider._backend, provider._encoder, model="m", pooling="mean", models_dir=folder
        )

        assert found == 512


def test_a_real_probe_ends_within_its_time_with_a_budget_of_the_backend(provider):
    backend = provider._backend

    found = budget_probe.best_budget(backend, provider._encoder, pooling="mean")

    assert found in (backend.token_budget, *backend.other_budgets)


class _Paced:
    """A backend on which tokens cost what a table says, by the size of their batch."""

    token_budget = 1024
    other_budgets = (512, 2048)
    streams = 1
    device = "paced"

    def __init__(self, costs: list[dict[int, float]]) -> None:
        self._costs = costs
        self._runs: dict[int, int] = {}
        self._now = 0.0

    def clock(self) -> float:
        return self._now

    def run(self, batches, done, *, pooling) -> None:
        size = next(b for b in (512, 1024, 2048) if batches[0].input_ids.size <= b)
        run = self._runs[size] = self._runs.get(size, -1) + 1
        # Two runs a round, and one of the default before: the round's cost is the same for both.
        turn = max(0, run - (size == 1024)) // 2
        costs = self._costs[min(turn, len(self._costs) - 1)]
        self._now += costs[size] * sum(batch.input_ids.size for batch in batches)


@pytest.mark.parametrize(
    ("costs", "best"),
    [
        ([{512: 1.0, 1024: 1.0, 2048: 1.0}], 1024),
        ([{512: 1.2, 1024: 1.0, 2048: 0.96}], 1024),
        ([{512: 1.2, 1024: 1.0, 2048: 0.9}], 2048),
        ([{512: 0.8, 1024: 1.0, 2048: 0.9}], 512),
        ([{512: 1.2, 1024: 1.0, 2048: 0.8}, {512: 1.2, 1024: 1.0, 2048: 1.0}], 1024),
    ],
)
def test_another_budget_is_preferred_only_where_it_is_clearly_better_each_time(
    provider, costs, best
):
    assert budget_probe.best_budget(_Paced(costs), provider._encoder, pooling="mean") == best
