from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lexigram_ray.core.errors import ConfigError, EmbeddingError
from lexigram_ray.embedding import conversion, model_store, quantization
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.models import describe_model
from lexigram_ray.embedding.openvino_engine import OpenVinoBackend
from lexigram_ray.embedding.quantization import in_floats, in_int8
from lexigram_ray.embedding.recall import RecallReport, measure_int8, read_report
from tests.embedding_models import minilm, models_dir, real_texts
from tests.small_models import save_small_model

__all__ = ["models_dir"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="nncf is not installed"),
]


@pytest.fixture(scope="module")
def report(models_dir: Path) -> RecallReport:
    measured = measure_int8(
        minilm(models_dir, "int8"), real_texts(150), models_dir=models_dir, threads=2
    )
    assert measured is not None
    return measured


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return save_small_model(tmp_path / "model", "bert", pooling="mean")


@pytest.fixture
def no_quantising(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "quantise", lambda *_: pytest.fail("made int8 again"))


def test_int8_finds_most_of_the_neighbours_that_floats_find(report):
    assert 100 <= report.texts <= 150
    assert report.recall_at_10 >= 0.88
    assert report.mean_cosine >= 0.99
    assert report.min_cosine >= 0.95


def test_the_report_is_kept_beside_the_model_which_stays_whole(report, models_dir):
    model = minilm(models_dir, "int8")
    folder = models_dir / fingerprint(model.spec)

    kept = model_store.read_kept(folder)

    assert read_report(model, models_dir=models_dir) == report
    assert kept is not None
    assert kept.facts["calibration_texts"] == quantization.CALIBRATION_TEXTS
    assert (folder / "model.bin").stat().st_size < 30 << 20
    assert not list(models_dir.glob(".recall.*"))


def test_a_process_that_embeds_in_int8_imports_neither_torch_nor_nncf(report, models_dir):
    program = (
        "import sys; from pathlib import Path; from tests.embedding_models import minilm\n"
        "from lexigram_ray.embedding.engine import load_provider\n"
        f"models_dir = Path({str(models_dir)!r})\n"
        "provider = load_provider(minilm(models_dir, 'int8'), models_dir=models_dir, threads=2)\n"
        "vector = provider.embed_query('hello')\n"
        "print(len(vector), provider.spec.precision, {'torch', 'nncf'} & set(sys.modules))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout == "384 int8 set()\n"


def test_what_is_kept_needs_nncf_no_more_and_what_is_not_says_so(report, models_dir, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "nncf" else found(name)
    )
    model = minilm(models_dir, "int8")

    vector = load_provider(model, models_dir=models_dir, threads=2).embed_query("hello")
    with pytest.raises(ConfigError, match="nncf is not installed") as caught:
        load_provider(in_int8(model, ["our own text"]), models_dir=models_dir, threads=2)

    assert np.isfinite(vector).all()
    assert "lexigram-ray[int8]" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "mean"), ("xlm-roberta", "cls"), ("modernbert", "mean")]
)
def test_other_encoders_can_be_int8_and_nothing_is_printed(tmp_path, capfd, kind, pooling):
    folder = save_small_model(tmp_path / "model", kind, pooling=pooling)
    model = describe_model(str(folder), precision="int8", models_dir=tmp_path, dimensions=16)
    model = in_int8(model, real_texts(40))
    texts = real_texts(20)
    capfd.readouterr()  # what making the tokenizer has printed

    int8 = load_provider(model, models_dir=tmp_path, threads=2)
    floats = load_provider(in_floats(model, "fp32"), models_dir=tmp_path, threads=2)

    cosines = np.einsum("ij,ij->i", int8.embed_texts(texts), floats.embed_texts(texts))
    assert isinstance(int8._backend, OpenVinoBackend)
    assert 0.95 < cosines.mean() < 0.999999
    assert capfd.readouterr().out == ""


def test_a_model_that_loses_too_much_is_refused_and_that_is_remembered(
    small, tmp_path, monkeypatch
):
    model = describe_model(str(small), precision="int8", models_dir=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "MIN_COSINE_INT8", 1.1)
        with pytest.raises(ConfigError, match=r"cosine to fp32 is only 0\.\d+"):
            load_provider(model, models_dir=tmp_path, threads=2)
    monkeypatch.setattr(conversion, "quantise", lambda *_: pytest.fail("tried again"))

    with pytest.raises(ConfigError, match="cannot be had in int8") as caught:
        load_provider(model, models_dir=tmp_path, threads=2)

    assert "--precision" in (caught.value.hint or "")
    assert [path.name for path in (tmp_path / fingerprint(model.spec)).iterdir()] == [
        "conversion.json"
    ]


def test_what_only_torch_runs_cannot_be_int8(small, tmp_path, monkeypatch, no_quantising):
    model = describe_model(str(small), precision="int8", models_dir=tmp_path)
    monkeypatch.setattr(conversion, "_agreement", lambda *_, **__: 0.5)

    with pytest.raises(ConfigError, match="OpenVINO does not run it"):
        load_provider(model, models_dir=tmp_path, threads=2)


def test_a_process_that_dies_while_it_makes_int8_leaves_its_words_and_no_model(
    small, tmp_path, monkeypatch
):
    dies = (sys.executable, "-c", "import sys; sys.exit('no such operation')")
    monkeypatch.setattr(quantization, "CHILD_COMMAND", dies)
    model = describe_model(str(small), precision="int8", models_dir=tmp_path)

    with pytest.raises(EmbeddingError, match=r"exit status 1.*no such operation"):
        load_provider(model, models_dir=tmp_path, threads=2)

    assert not (tmp_path / fingerprint(model.spec)).exists()
    assert not list(tmp_path.glob(".*.new-*"))


def test_int8_that_cannot_be_kept_is_refused_with_the_reason(small, tmp_path, monkeypatch):
    model = describe_model(str(small), precision="int8", models_dir=tmp_path)
    load_provider(in_floats(model, "fp32"), models_dir=tmp_path, threads=2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(conversion, "_check_space", full)

    with pytest.raises(ConfigError, match=r"cannot be kept in .*No space left"):
        load_provider(model, models_dir=tmp_path, threads=2)


def test_a_damaged_report_is_no_report(report, models_dir, tmp_path):
    model = minilm(models_dir, "int8")
    copy = tmp_path / fingerprint(model.spec)
    copy.mkdir()
    (copy / "recall.json").write_text(json.dumps({"texts": 3}))

    assert read_report(model, models_dir=tmp_path) is None
    os.truncate(copy / "recall.json", 5)
    assert read_report(model, models_dir=tmp_path) is None
