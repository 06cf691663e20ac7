"""A recipe on its way to Ray's workers, who may not be able to load what a user brought along."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

from ray import cloudpickle

from lexigram_ray.core.errors import ConfigError, WorkerError
from lexigram_ray.jobs.recipes import Recipe


@dataclass(frozen=True, slots=True)
class PickledRecipe:
    """A recipe as bytes, so that a worker that cannot load it can say so.

    Of what fails while an actor's arguments are loaded, Ray tells the text only.
    """

    pickled: bytes

    @classmethod
    def of(cls, recipe: Recipe) -> PickledRecipe:
        """Pickle a recipe; classes of a script or notebook go along with it.

        Raises:
            ConfigError: The provider cannot be pickled.
        """
        try:
            pickled: bytes = cloudpickle.dumps(recipe)  # pyright: ignore[reportPrivateImportUsage]
        except Exception as error:
            raise ConfigError(
                f"the provider of {recipe.model.spec.name} cannot be sent to Ray's workers: "
                f"{error}",
                hint="give its class a `__reduce__` that leaves locks, clients and loaded models "
                "out, and makes them anew where it is loaded",
            ) from error
        return cls(pickled)

    def load(self) -> Recipe:
        """Return the recipe.

        Raises:
            ConfigError: The provider cannot be loaded here.
        """
        try:
            recipe: Recipe = pickle.loads(self.pickled)  # noqa: S301 - our own driver's bytes
        except WorkerError:
            raise
        except Exception as error:
            raise ConfigError(
                f"the provider cannot be loaded in Ray's workers: {type(error).__name__}: {error}",
                hint="install its module on every node, or define its class in the script itself",
            ) from error
        return recipe
