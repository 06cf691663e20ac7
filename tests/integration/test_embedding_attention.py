"""The attention written out: only where masks say no more than padding, and then to the digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding import conversion, devices
from lexigram_ray.embedding.attention import masks_padding_only, written_out
from lexigram_ray.embedding.batching import TokenBatch, token_batches
from lexigram_ray.embedding.conversion import converted
from lexigram_ray.embedding.openvino_engine import OpenVinoBackend
from lexigram_ray.embedding.pooling import normalised, pool, summed
from lexigram_ray.embedding.torch_engine import TorchBackend
from tests.embedding_models import minilm, models_dir
from tests.small_models import save_small_model

__all__ = ["models_dir"]

LIMIT = 128
FP32 = {"INFERENCE_PRECISION_HINT": "f32"}

pytestmark = pytest.mark.slow


def traced(tmp_path: Path, kind: str) -> openvino.Model:
    folder = save_small_model(tmp_path / kind, kind, pooling="mean")
    return TorchBackend(folder, precision="fp32", threads=1).traced()


def hidden(model: openvino.Model, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return openvino.Core().compile_model(model, "CPU", FP32)([ids, mask])[0]


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "distilbert"])
def test_written_out_the_attention_gives_the_same_hidden_states(tmp_path: Path, kind: str) -> None:
    model = traced(tmp_path, kind)
    assert masks_padding_only(model, LIMIT)
    ids = np.random.default_rng(7).integers(10, 90, (3, 40))
    whole, padded = np.ones_like(ids), np.ones_like(ids)
    padded[1, 30:] = padded[2, 1:] = 0
    ids = np.where(padded, ids, 1)

    expected = hidden(model, ids, padded)[padded == 1]
    answer = hidden(written_out(model, padded=True), ids, padded)[padded == 1]
    assert np.abs(answer - expected).max() < 1e-4

    expected = hidden(model, ids, whole)
    assert np.abs(hidden(written_out(model, padded=False), ids, whole) - expected).max() < 1e-4


@pytest.mark.parametrize("kind", ["modernbert", "mpnet", "t5"])
def test_where_a_mask_says_more_than_padding_the_attention_stays(tmp_path: Path, kind: str) -> None:
    assert not masks_padding_only(traced(tmp_path, kind), LIMIT)


def test_a_window_wider_than_the_texts_is_none(tmp_path: Path) -> None:
    model = traced(tmp_path, "modernbert")

    assert masks_padding_only(model, 2)


def test_texts_of_one_length_are_run_without_a_mask_and_others_with(models_dir: Path) -> None:
    model = minilm(models_dir)
    found = converted(model, models_dir=models_dir, threads=2)
    assert found is not None
    assert found.padding_only
    backend = OpenVinoBackend(found.model, precision="fp32", threads=2, padding_only=True)
    ids = [np.arange(1000, 1000 + length, dtype=np.int32) for length in [100] * 12 + [60, 99]]
    vectors = np.empty((len(ids), model.spec.dimension), np.float32)
    batches = list(token_batches(ids, np.arange(len(ids)), budget=1024, pad_id=0))

    def keep(batch: TokenBatch, pooled: np.ndarray) -> None:
        vectors[batch.rows] = pooled

    backend.run(batches, keep, pooling="mean")

    forms = [backend._form(batch, "mean", alone=False) for batch in batches]
    assert [form.attention for form in forms] == ["equal", "padded"]
    for place, tokens in enumerate(ids):
        only = np.zeros(1, np.int64)
        (batch,) = token_batches([tokens], only, budget=1, pad_id=0)
        alone = backend.run_one(batch, pooling="mean")[0]
        np.testing.assert_allclose(vectors[place], alone, atol=1e-4)


@pytest.mark.parametrize("padded", [True, False])
def test_summed_in_the_graph_only_the_texts_own_tokens_count(tmp_path: Path, padded: bool) -> None:
    model = written_out(traced(tmp_path, "bert"), padded=padded)
    ids = np.random.default_rng(7).integers(10, 90, (3, 40))
    lengths = np.array([40, 30, 1] if padded else [40, 40, 40])
    mask = (np.arange(40) < lengths[:, None]).astype(np.int64)
    expected = pool(hidden(model, ids, mask), lengths, "mean")

    sums = hidden(summed(model), ids, mask)

    assert sums.shape == (3, 1, expected.shape[1])
    np.testing.assert_allclose(sums[:, 0] / lengths[:, None], expected, atol=1e-5)


@pytest.mark.skipif(not devices.cpu_has_bf16(), reason="only in bf16")
def test_summed_in_bf16_vectors_stay_those_of_fp32(models_dir: Path) -> None:
    model = minilm(models_dir, precision="bf16")
    found = converted(model, models_dir=models_dir, threads=2)
    assert found is not None
    assert found.summed
    ids = [np.arange(1000, 1000 + length, dtype=np.int32) for length in [250] * 4 + [60, 99, 3]]
    batches = list(token_batches(ids, np.arange(len(ids)), budget=1024, pad_id=0))
    vectors: dict[str, np.ndarray] = {}
    for precision in ("fp32", "bf16"):
        backend = OpenVinoBackend(
            found.model,
            precision=precision,
            threads=2,
            padding_only=True,
            summed=precision == "bf16",
        )
        rows = vectors[precision] = np.empty((len(ids), model.spec.dimension), np.float32)

        def keep(batch: TokenBatch, pooled: np.ndarray, rows: np.ndarray = rows) -> None:
            rows[batch.rows] = normalised(pooled, rows.shape[1])

        backend.run(batches, keep, pooling="mean")

    cosines = np.einsum("ij,ij->i", vectors["fp32"], vectors["bf16"])
    assert cosines.min() > 0.9995


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_whether_the_graph_sums_or_not_the_vectors_are_the_same(
    models_dir: Path, pooling: str
) -> None:
    model = minilm(models_dir)
    found = converted(model, models_dir=models_dir, threads=2)
    assert found is not None
    ids = [np.arange(1000, 1000 + length, dtype=np.int32) for length in [250] * 4 + [60, 99, 3]]
    batches = list(token_batches(ids, np.arange(len(ids)), budget=1024, pad_id=0))
    only = np.zeros(1, np.int64)
    (alone,) = token_batches(ids[:1], only, budget=1, pad_id=0)
    answers: list[np.ndarray] = []
    for in_graph in (True, False):
        backend = OpenVinoBackend(
            found.model, precision="fp32", threads=2, padding_only=True, summed=in_graph
        )
        rows = np.empty((len(ids) + 1, model.spec.dimension), np.float32)

        def keep(batch: TokenBatch, pooled: np.ndarray, rows: np.ndarray = rows) -> None:
            rows[batch.rows] = pooled

        backend.run(batches, keep, pooling=pooling)
        rows[-1] = backend.run_one(alone, pooling=pooling)[0]
        assert backend._form(alone, pooling, alone=True).summed is (in_graph and pooling == "mean")
        answers.append(rows)

    np.testing.assert_allclose(*answers, atol=1e-4)


@pytest.mark.skipif(not devices.cpu_has_bf16(), reason="only in bf16")
@pytest.mark.parametrize("outcome", [0.99, EmbeddingError("not finite"), RuntimeError("no kernel")])
def test_a_model_that_bf16_sums_would_spoil_sums_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: float | Exception
) -> None:
    agreement = conversion._agreement

    def spoilt(*arguments: object, summed: bool = False, **more: object) -> float:
        if not summed:
            return agreement(*arguments, **more)  # pyright: ignore[reportArgumentType]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(conversion, "_agreement", spoilt)

    found = converted(minilm(tmp_path, precision="bf16"), models_dir=tmp_path, threads=2)

    assert found is not None
    assert found.padding_only
    assert not found.summed
