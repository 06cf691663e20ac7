"""Fixtures: a converted model, and state directories that have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.models import describe_model


@pytest.fixture(scope="session")
def converted_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds the default model, converted."""
    folder = tmp_path_factory.mktemp("models")
    model = describe_model(DEFAULT_MODEL, precision="auto", models_dir=folder)
    load_provider(model, models_dir=folder).embed_query("warm")
    return folder


@pytest.fixture
def state(tmp_path: Path, converted_models: Path) -> Path:
    """A fresh state directory whose model is ready."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "models").symlink_to(converted_models)
    return folder
