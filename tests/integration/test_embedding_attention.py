"""The attention written out: only where masks say no more than padding, and then to the digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest

from lexigram_ray.embedding.attention import masks_padding_only, written_out
from lexigram_ray.embedding.batching import TokenBatch, token_batches
from lexigram_ray.embedding.conversion import converted
from lexigram_ray.embedding.openvino_engine import OpenVinoBackend
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

    assert [backend._form(batch, alone=False).attention for batch in batches] == ["equal", "padded"]
    for place, tokens in enumerate(ids):
        only = np.zeros(1, np.int64)
        (batch,) = token_batches([tokens], only, budget=1, pad_id=0)
        alone = backend.run_one(batch, pooling="mean")[0]
        np.testing.assert_allclose(vectors[place], alone, atol=1e-4)
