"""Which model a request means: the configured one under its names, or that of a collection."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import CollectionSettings
from lexigram_ray.jobs.recipes import Recipe, read_text_recipe
from lexigram_ray.jobs.searching import config_as_made, query_recipe
from lexigram_ray.service.context import ServedModel

OPENAI_NAMES = ("text-embedding-ada-002", "text-embedding-3-small", "text-embedding-3-large")
"""What clients ask for that know no other model; with no server configured, the local one."""

MOST_REMEMBERED = 64


class _Recipes:
    """Recipes found before: to find one, files are read, and a server may be asked."""

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, Recipe] = OrderedDict()
        self._use = threading.Lock()

    def get(self, key: Hashable) -> Recipe | None:
        with self._use:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def find(self, key: Hashable, find: Callable[[], Recipe]) -> Recipe:
        recipe = self.get(key)
        if recipe is None:
            recipe = find()
            with self._use:
                self._found[key] = recipe
                if len(self._found) > MOST_REMEMBERED:
                    self._found.popitem(last=False)
        return recipe


_RECIPES = _Recipes()


def configured_model(config: WorkersConfig) -> ServedModel:
    """Return the configured model. The first call of a process reads its files, and may fetch them.

    Raises:
        ModelNotFoundError: It is not on this machine and cannot be had.
        ConfigError: It cannot be used, or not in the way that is asked for.
        EmbeddingServerError: The server that has it does not answer.
    """
    recipe = _RECIPES.find(_key(config), lambda: read_text_recipe(config, None))
    return _served(config, recipe)


def configured_model_at_hand(config: WorkersConfig) -> ServedModel | None:
    """Return the configured model if it was found before: at once, for event loops."""
    recipe = _RECIPES.get(_key(config))
    return None if recipe is None else _served(config, recipe)


def model_of_collection(
    config: WorkersConfig, name: str, settings: CollectionSettings
) -> ServedModel:
    """Return the model that a collection was made with, for its queries.

    The first call for a kind of collection reads the model's files.

    Args:
        name: The collection's.
        settings: What the collection was made with.

    Raises:
        UsageError: The model runs where it cannot be asked from here.
        ModelNotFoundError: It is not on this machine.
        CollectionMismatchError: The model of that name has other weights now.
        EmbeddingServerError: The server that has it does not answer.
    """
    made = config_as_made(config, settings)
    # By the revision too: a recipe found for other weights must not answer for these.
    key = (*_key(made), settings.revision, settings.pooling)
    recipe = _RECIPES.find(key, lambda: query_recipe(config, name, settings))
    return _served(made, recipe)


def names_of(config: WorkersConfig, model: ServedModel) -> frozenset[str]:
    """Return the names under which clients may ask for the configured model, in lower case."""
    name = model.recipe.model.spec.name
    names = {model.name, name, config.embedding.model, name.rpartition("/")[2]}
    if config.embedding.server.url is None:
        names |= set(OPENAI_NAMES)
    return frozenset(each.lower() for each in names)


def _served(config: WorkersConfig, recipe: Recipe) -> ServedModel:
    name = recipe.model.spec.name
    # Where models lie on this machine is nobody's business.
    shown = name.rpartition("/")[2] if name.startswith(("/", ".", "~")) else name
    return ServedModel(name=shown or name, config=config, recipe=recipe)


def _key(config: WorkersConfig) -> tuple[Hashable, ...]:
    # As JSON a secret is only asterisks.
    server = config.embedding.server
    return (config.embedding.model_dump_json(), server.api_key, str(config.paths.models))
