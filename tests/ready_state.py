"""Fixtures: a converted model, and state directories that have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.embedding.engine import load_provider
from lexigram_ray.embedding.models import describe_model
from tests.made_once import made_once


@pytest.fixture(scope="session")
def converted_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds the default model, converted."""
    return made_once(tmp_path_factory, "converted-models", _converted)


@pytest.fixture
def state(tmp_path: Path, converted_models: Path) -> Path:
    """A fresh state directory whose model is ready."""
    return with_model(tmp_path / "state", converted_models)


def with_model(state: Path, converted_models: Path) -> Path:
    """Make a state directory whose model is ready."""
    state.mkdir()
    (state / "models").symlink_to(converted_models)
    return state


def _converted(folder: Path) -> Path:
    model = describe_model(DEFAULT_MODEL, precision="auto", models_dir=folder)
    load_provider(model, models_dir=folder).embed_query("warm")
    return folder
