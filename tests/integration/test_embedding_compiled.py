"""What was compiled is read again instead: the same vectors, and never worse for being damaged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from lexigram_ray.embedding.compiled_models import FOLDER
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.fingerprint import fingerprint
from tests.embedding_models import minilm, models_dir

__all__ = ["models_dir"]

TEXTS = ["Fog signals are given twice.", "water", "How do I undo the last commit?"]


@pytest.fixture
def own_models(models_dir: Path, tmp_path: Path) -> Path:
    """A folder of models of this test's own, whose model is converted, and not compiled."""
    model = minilm(models_dir)
    load_provider(model, models_dir=models_dir, threads=2, backend="openvino")
    name = fingerprint(model.spec)
    shutil.copytree(models_dir / name, tmp_path / name, ignore=shutil.ignore_patterns(FOLDER))
    return tmp_path


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was compiled, and not read."""
    seen: list[object] = []
    compile_model = openvino.Core.compile_model

    def counted(core: openvino.Core, model: Any, *rest: Any) -> object:
        seen.append(model)
        return compile_model(core, model, *rest)

    monkeypatch.setattr(openvino.Core, "compile_model", counted)
    return seen


def vectors(models: Path, *, threads: int = 2) -> NDArray[np.float32]:
    """Embed in bulk, and as a query: each has a compiled model of its own."""
    provider = load_provider(minilm(models), models_dir=models, threads=threads, backend="openvino")
    return np.vstack([provider.embed_texts(TEXTS), provider.embed_query(TEXTS[0])])


def kept(models: Path) -> list[Path]:
    return sorted(models.glob(f"*/{FOLDER}/*"))


def test_what_was_compiled_is_read_again_and_gives_the_same_vectors(
    own_models: Path, compilations: list[object]
) -> None:
    first = vectors(own_models)
    assert len(compilations) == len(kept(own_models)) == 2
    # Without the weights, which are in the model's own file.
    assert all(file.stat().st_size < 2_000_000 for file in kept(own_models))

    assert np.array_equal(vectors(own_models), first)
    assert len(compilations) == 2

    vectors(own_models, threads=1)
    assert len(compilations) == len(kept(own_models)) == 4


def test_the_model_s_graph_is_read_only_to_compile_it(
    own_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vectors(own_models)
    read: list[object] = []
    monkeypatch.setattr(openvino.Core, "read_model", lambda *_: read.append(1))

    assert np.array_equal(vectors(own_models), first)
    assert read == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:1000],
        lambda content: b"",
        lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    ],
    ids=["cut", "empty", "a bit"],
)
def test_what_is_damaged_is_compiled_and_kept_again(
    own_models: Path, compilations: list[object], damage: Callable[[bytes], bytes]
) -> None:
    first = vectors(own_models)
    whole = {file: file.read_bytes() for file in kept(own_models)}
    for file, content in whole.items():
        file.write_bytes(damage(content))

    assert np.array_equal(vectors(own_models), first)
    assert len(compilations) == 4
    # OpenVINO does not write the same bytes twice.
    assert all(file.stat().st_size > len(content) / 2 for file, content in whole.items())
    vectors(own_models)
    assert len(compilations) == 4


def test_where_nothing_can_be_kept_it_is_compiled_each_time(
    own_models: Path, compilations: list[object]
) -> None:
    (folder,) = [path for path in own_models.iterdir() if path.is_dir()]
    (folder / FOLDER).symlink_to(own_models / "nowhere" / "at all")

    assert np.array_equal(vectors(own_models), vectors(own_models))
    assert len(compilations) == 4
