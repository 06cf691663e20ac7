from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.models import describe_model
from lexigram_ray.embedding.openvino_engine import OpenVinoBackend
from lexigram_ray.embedding.torch_engine import TorchBackend
from tests.embedding_models import real_texts
from tests.small_models import DOCUMENT_PROMPT, QUERY_PROMPT, save_small_model

TEXTS = [*real_texts(9), "short", "", "naïve 東京 😀"]
QUERY = "where is it?"
MIN_COSINE = 0.9999

pytestmark = pytest.mark.slow


def _plainly_embedded(folder: Path, texts: list[str], pooling: str) -> np.ndarray:
    """One text at a time through transformers, in float32."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    loads = transformers.AutoModel
    if (transformers.AutoConfig.from_pretrained(folder)).is_encoder_decoder:
        loads = transformers.AutoModelForTextEncoding
    model = loads.from_pretrained(folder, dtype=torch.float32).eval()
    vectors = []
    for text in texts:
        tokens = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        with torch.no_grad():
            hidden = model(**tokens).last_hidden_state[0]
        vector = hidden[0] if pooling == "cls" else hidden.mean(0)
        vectors.append((vector / vector.norm()).numpy())
    return np.stack(vectors)


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        *((kind, "mean") for kind in ("bert", "roberta", "xlm-roberta", "mpnet", "modernbert")),
        *((kind, "cls") for kind in ("bert", "xlm-roberta", "modernbert", "distilbert", "t5")),
    ],
)
def test_an_encoder_of_transformers_gives_its_own_vectors_on_both_backends(tmp_path, kind, pooling):
    folder = save_small_model(tmp_path / "model", kind, pooling=pooling)
    documents = _plainly_embedded(folder, [DOCUMENT_PROMPT + text for text in TEXTS], pooling)
    query = _plainly_embedded(folder, [QUERY_PROMPT + QUERY], pooling)[0]
    model = describe_model(str(folder), precision="fp32", models_dir=tmp_path)

    for backend, runs_on in (("openvino", OpenVinoBackend), ("torch", TorchBackend)):
        ours = load_provider(model, models_dir=tmp_path, threads=2, backend=backend)
        counted = ours.embed_counted(TEXTS)

        assert isinstance(ours._backend, runs_on)
        assert counted.truncated > 0
        assert np.einsum("ij,ij->i", counted.vectors, documents).min() >= MIN_COSINE
        assert ours.embed_query(QUERY) @ query >= MIN_COSINE
    assert documents[0] @ documents[-2] < 0.999  # else every wrong vector would be right


def test_a_model_that_openvino_cannot_take_runs_on_torch_by_itself(tmp_path, monkeypatch):
    def no_such_operation(self: TorchBackend) -> None:
        raise RuntimeError("there is no conversion rule for aten::some_operation")

    monkeypatch.setattr(TorchBackend, "traced", no_such_operation)
    folder = save_small_model(tmp_path / "model", "bert", pooling="mean")
    documents = _plainly_embedded(folder, [DOCUMENT_PROMPT + text for text in TEXTS], "mean")
    model = describe_model(str(folder), precision="fp32", models_dir=tmp_path)

    ours = load_provider(model, models_dir=tmp_path, threads=2)

    assert isinstance(ours._backend, TorchBackend)
    assert np.einsum("ij,ij->i", ours.embed_texts(TEXTS), documents).min() >= MIN_COSINE
