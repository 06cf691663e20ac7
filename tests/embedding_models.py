"""The default model, found and converted once for all tests of a run, and real texts for it."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path

import pytest

from lexigram_ray.embedding.models import LocalModel, describe_model


@functools.cache
def _shared(base: Path) -> Path:
    folder = base / "embedding-models"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _shared(tmp_path_factory.getbasetemp())


def minilm(models_dir: Path, precision: str = "fp32") -> LocalModel:
    return describe_model("all-MiniLM-L6-v2", precision=precision, models_dir=models_dir)


def real_texts(count: int, characters: int = 700) -> list[str]:
    """Passages of the installed packages' readme and licence texts, all different."""
    passages: dict[str, None] = {}
    for distribution in sorted(importlib.metadata.distributions(), key=lambda d: d.name):
        text = "\n".join(distribution.metadata.get_all("Description") or [])
        text += (
            distribution.read_text("licenses/LICENSE") or distribution.read_text("LICENSE") or ""
        )
        for start in range(0, len(text) - characters // 2, characters):
            passages[text[start : start + characters - (start // characters % 5) * 60]] = None
        if len(passages) >= count * 4:
            break
    found = list(passages)[:: max(1, len(passages) // count)][:count]
    assert len(found) == count, f"only {len(found)} passages in the installed packages"
    return found
