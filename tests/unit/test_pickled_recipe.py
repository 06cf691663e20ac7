"""A provider that cannot travel to Ray's workers is refused with a way out."""

from __future__ import annotations

import pickle
import threading

import pytest

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.runtime.pickled_recipe import PickledRecipe
from tests.fakes import HashingProvider
from tests.staged_texts import recipe_of


class Locked(HashingProvider):
    def __reduce__(self) -> tuple[object, ...]:
        return Locked, (threading.Lock(),)


def test_a_recipe_comes_back_with_its_provider() -> None:
    recipe = PickledRecipe.of(recipe_of(HashingProvider(8))).load()
    assert recipe.model.spec == HashingProvider(8).spec


def test_a_provider_that_cannot_be_pickled_is_named_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="fake/hashing-32 cannot be sent") as caught:
        PickledRecipe.of(recipe_of(Locked()))
    assert "__reduce__" in (caught.value.hint or "")


def test_a_provider_whose_module_a_worker_lacks_is_an_error_that_names_it() -> None:
    absent = pickle.dumps(recipe_of(HashingProvider(8))).replace(b"tests.fakes", b"tests.gonee")
    with pytest.raises(ConfigError, match=r"tests\.gonee") as caught:
        PickledRecipe(absent).load()
    assert "install" in (caught.value.hint or "")
