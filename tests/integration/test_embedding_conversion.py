from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import openvino
import pytest

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding import conversion, model_store
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.openvino_engine import OpenVinoBackend
from lexigram_ray.embedding.torch_engine import TorchBackend
from tests.embedding_models import minilm, models_dir

__all__ = ["models_dir"]


@pytest.fixture(scope="module")
def kept(models_dir: Path) -> Path:
    model = minilm(models_dir)
    load_provider(model, models_dir=models_dir, threads=2, backend="openvino")
    return models_dir / fingerprint(model.spec)


def _vector(models_dir: Path) -> np.ndarray:
    return load_provider(minilm(models_dir), models_dir=models_dir, threads=2).embed_query("hello")


def _vector_in_child(models_dir: Path, results) -> None:
    results.put(_vector(models_dir))


def _copied(kept: Path, to: Path) -> Path:
    return Path(shutil.copytree(kept, to / kept.name))


@pytest.fixture
def no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        conversion, "_torch_backend", lambda *_: pytest.fail("the model was converted again")
    )


def test_a_conversion_is_kept_with_its_tokenizer_and_its_specification(kept):
    record = json.loads((kept / "conversion.json").read_text())

    assert record["backend"] == "openvino"
    assert record["cosine"] >= conversion.MIN_COSINE
    assert record["spec"]["dimension"] == 384
    assert set(record["files"]) == {"model.xml", "model.bin", "tokenizer.json"}
    assert not list(kept.parent.glob("*.new-*"))


def test_a_kept_conversion_is_used_as_it_is(kept, tmp_path, no_conversion):
    _copied(kept, tmp_path)

    assert _vector(tmp_path) @ _vector(kept.parent) >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut weights", "no record", "no tokenizer", "broken record"])
def test_a_damaged_conversion_is_made_again(kept, tmp_path, damage):
    copy = _copied(kept, tmp_path)
    if damage == "cut weights":
        os.truncate(copy / "model.bin", 1000)
    elif damage == "no tokenizer":
        (copy / "tokenizer.json").unlink()
    elif damage == "no record":
        (copy / "conversion.json").unlink()
    else:
        (copy / "conversion.json").write_text("{")

    vector = _vector(tmp_path)

    assert vector @ _vector(kept.parent) >= 0.9999
    assert model_store.read_kept(copy) is not None


@pytest.mark.chaos
@pytest.mark.slow
def test_a_conversion_that_is_killed_leaves_nothing_that_is_used(kept, tmp_path):
    child = multiprocessing.get_context("spawn").Process(target=_vector, args=(tmp_path,))
    child.start()
    while not list(tmp_path.glob(".*.new-*/model.bin")) and child.is_alive():
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert list(tmp_path.glob(".*.new-*"))
    assert model_store.read_kept(tmp_path / kept.name) is None

    vector = _vector(tmp_path)

    assert vector @ _vector(kept.parent) >= 0.9999
    assert not list(tmp_path.glob(".*.new-*"))


@pytest.mark.slow
def test_two_processes_that_convert_at_once_both_get_the_model(kept, tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [
        context.Process(target=_vector_in_child, args=(tmp_path, results)) for _ in range(2)
    ]

    for child in children:
        child.start()
    vectors = [results.get(timeout=300) for _ in children]
    for child in children:
        child.join()

    assert all(vector @ _vector(kept.parent) >= 0.9999 for vector in vectors)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [kept.name]


def test_two_finished_conversions_leave_the_first(tmp_path):
    target = tmp_path / "model"
    with model_store.new_folder(target, {"backend": "second"}) as second:
        (second / "a").write_text("2")
        with model_store.new_folder(target, {"backend": "first"}) as first:
            (first / "a").write_text("1")

    kept = model_store.read_kept(target)

    assert kept is not None
    assert kept.backend == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_conversion_that_fails_keeps_nothing(tmp_path):
    with (
        pytest.raises(OSError, match="disk"),
        model_store.new_folder(tmp_path / "model", {"backend": "x"}),
    ):
        raise OSError("disk")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_costs_the_kept_copy_and_not_the_vectors(kept, tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))

    with caplog.at_level(logging.WARNING):
        vector = _vector(tmp_path)

    assert vector @ _vector(kept.parent) >= 0.9999
    assert "cannot be kept" in caplog.text


@pytest.mark.slow
def test_where_openvino_disagrees_torch_stays_and_that_is_remembered(
    kept, tmp_path, monkeypatch, caplog
):
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(conversion, "_agreement", lambda *_, **__: 0.9)
        first = load_provider(minilm(tmp_path), models_dir=tmp_path, threads=2, backend="openvino")
    monkeypatch.setattr(conversion, "_torch_backend", lambda *_: pytest.fail("tried again"))

    second = load_provider(minilm(tmp_path), models_dir=tmp_path, threads=2, backend="openvino")

    assert isinstance(first._backend, TorchBackend)
    assert isinstance(second._backend, TorchBackend)
    assert "stays on torch: cosine" in caplog.text
    assert second.embed_query("hello") @ _vector(kept.parent) >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
@pytest.mark.parametrize("name", ["_agreement", "compile_model"])
def test_memory_that_runs_out_in_a_conversion_is_said_and_not_remembered(
    tmp_path, monkeypatch, error, name
):
    def run_out(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(conversion if name == "_agreement" else openvino.Core, name, run_out)
        with pytest.raises(EmbeddingError, match="memory ran out"):
            load_provider(minilm(tmp_path), models_dir=tmp_path, threads=2, backend="openvino")

    provider = load_provider(minilm(tmp_path), models_dir=tmp_path, threads=2)
    assert isinstance(provider._backend, OpenVinoBackend)


def test_the_kept_model_runs_on_openvino(kept):
    provider = load_provider(minilm(kept.parent), models_dir=kept.parent, threads=2)

    assert isinstance(provider._backend, OpenVinoBackend)
