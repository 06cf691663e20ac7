from __future__ import annotations

import numpy as np
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.embedding.adapters import as_provider
from lexigram_ray.jobs.recipes import find_model, keeps_vectors, read_text_recipe
from lexigram_ray.jobs.toolbox import make_embedder
from tests.fakes import HashingProvider


class House:
    """A user's class that serves several models and says nothing of them."""

    def __init__(self, model: int) -> None:
        self.model = model
        self.closed = False

    def embed(self, texts):
        return [np.eye(4)[self.model] for _ in texts]

    def close(self) -> None:
        self.closed = True


def test_two_objects_of_one_class_never_have_each_others_vectors(tmp_path):
    config = load_config(None, state_dir=tmp_path)

    for number in (0, 1):
        recipe = read_text_recipe(config, as_provider(House(number)))
        embedder = make_embedder(config, recipe, threads=None)
        vectors = embedder.embed(["x"], [hash_text("x")]).vectors
        embedder.close()

        assert not keeps_vectors(config, recipe)
        np.testing.assert_array_equal(vectors, np.eye(4)[[number]])


def test_an_object_that_says_its_revision_is_cached_and_stays_open(tmp_path):
    config = load_config(None, state_dir=tmp_path)
    provider = HashingProvider(16)
    closed = []
    provider.close = lambda: closed.append(1)
    recipe = read_text_recipe(config, provider)

    for _ in range(2):
        embedder = make_embedder(config, recipe, threads=None)
        embedder.embed(["x"], [hash_text("x")])
        embedder.close()

    assert keeps_vectors(config, recipe)
    assert (provider.calls, closed) == (1, [])
    off = load_config(None, state_dir=tmp_path, embedding={"cache": False})
    assert not keeps_vectors(off, recipe)


def test_dimensions_are_asked_of_a_server_by_its_own_setting(tmp_path):
    config = load_config(
        state_dir=tmp_path,
        embedding={"dimensions": 8, "server": {"url": "http://127.0.0.1:9/v1"}},
    )
    with pytest.raises(ConfigError, match="not shortened here") as caught:
        find_model(config)
    assert "embedding.server.dimensions" in (caught.value.hint or "")
