"""What a replica holds: the configuration, the store, and a way to the embedders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol, cast

import numpy as np
from fastapi import Depends, Request
from numpy.typing import NDArray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collections import Collections


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model that requests may ask for.

    Attributes:
        name: As clients call it.
        config: With which it makes its vectors.
        recipe: Of this configuration.
    """

    name: str
    config: WorkersConfig
    recipe: Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TextVectors:
    """Vectors of texts.

    Attributes:
        vectors: float32, shape `(n, dim)`, rows L2-normalised, in the texts' order.
        tokens: Of each text, as the model reads it; 0 where nobody can count them here.
    """

    vectors: NDArray[np.float32]
    tokens: Sequence[int]


class Embedders(Protocol):
    """Turns texts into vectors, wherever the models are."""

    async def embed(
        self, model: ServedModel, texts: Sequence[str], *, as_query: bool
    ) -> TextVectors:
        """Embed texts, in order.

        Args:
            as_query: With the model's query prompt; else with that of documents.

        Raises:
            Saturated: Too many texts wait already.
            WorkerError: The model failed, or nobody answers.
        """
        ...

    async def close(self) -> None:
        """Let go of what was made for embedding."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """What the routes work with. A replica has one; nothing in it is the only copy.

    Attributes:
        is_draining: Whether nothing new should come here any more.
    """

    config: WorkersConfig
    store: Store
    embedders: Embedders
    is_draining: Callable[[], bool] = field(default=lambda: False)

    @property
    def collections(self) -> Collections:
        """All collections."""
        return Collections(self.config.paths.lancedb)


def context_of(request: Request) -> ServiceContext:
    """Return the context of the application that a request came to, for `Depends`."""
    return cast("ServiceContext", request.app.state.context)


Context = Annotated[ServiceContext, Depends(context_of)]
"""For the parameters of routes."""
