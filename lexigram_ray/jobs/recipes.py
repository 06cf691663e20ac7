"""What decides the vectors of a collection, and the loading of it. Light to import: search does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.protocols import EmbeddingProvider, RateLimit
from lexigram_ray.core.types import ChunkerSpec, CollectionSettings, ModelSpec
from lexigram_ray.embedding.models import LocalModel, describe_model
from lexigram_ray.embedding.server_model import ServerModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROWS = ChunkerSpec(strategy="rows", size=0, overlap=0)
"""Stands for a chunker in collections whose texts came as rows of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenModel:
    """A provider that the caller brought along.

    Attributes:
        spec: What it says of itself.
        provider: Must survive pickling where the work runs on Ray.
    """

    spec: ModelSpec
    provider: EmbeddingProvider


Model = LocalModel | ServerModel | GivenModel


def given_model(provider: EmbeddingProvider) -> GivenModel:
    """Return an object of this program as a model."""
    return GivenModel(spec=provider.spec, provider=provider)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the rows of a collection: the model and the chunker.

    Attributes:
        model: Where the model lies and what it is.
        chunker: How text is cut.
    """

    model: Model
    chunker: ChunkerSpec

    @property
    def settings(self) -> CollectionSettings:
        """What stands in the collection's metadata."""
        spec = self.model.spec
        return CollectionSettings(
            model=spec.name,
            revision=spec.revision,
            dimension=spec.dimension,
            pooling=spec.pooling,
            precision=spec.precision,
            chunker=self.chunker.name,
        )

    @property
    def model_key(self) -> str:
        """The ledger's name of the model: another one means that every text is embedded anew."""
        return f"{self.model.spec.name}@{self.model.spec.revision}"


def find_model(config: WorkersConfig) -> LocalModel | ServerModel:
    """Find the configured model: on the server where one is configured, else on this machine.

    Raises:
        ModelNotFoundError: It is not on this machine and cannot be had.
        ConfigError: It cannot be used, or not in the way that is asked for.
        EmbeddingServerError: The server does not answer.
    """
    if config.embedding.server.url is not None:
        from lexigram_ray.embedding.server_model import describe_server
        from lexigram_ray.embedding.server_options import server_options

        if config.embedding.dimensions is not None:
            raise ConfigError(
                "vectors of a server are not shortened here",
                hint="set embedding.server.dimensions, which is asked of the server",
            )
        options = server_options(config.embedding.server)
        return describe_server(config.embedding.model, options, models_dir=config.paths.models)
    return describe_model(
        config.embedding.model,
        precision=config.embedding.precision,
        models_dir=config.paths.models,
        dimensions=config.embedding.dimensions,
    )


def read_text_recipe(config: WorkersConfig, provider: EmbeddingProvider | None) -> Recipe:
    """Settle what rows of a table are embedded with: the provider given, or the model.

    Raises:
        ModelNotFoundError: The model is not on this machine and cannot be had.
    """
    if provider is not None:
        return Recipe(given_model(provider), ROWS)
    return Recipe(find_model(config), ROWS)


def load_model(
    config: WorkersConfig,
    recipe: Recipe,
    threads: int | None,
    *,
    limit: RateLimit | None = None,
) -> EmbeddingProvider:
    """Load the model of a recipe.

    Args:
        threads: CPU cores to compute on; all that this process may use where None.
        limit: The budget of a server, where others share it.

    Raises:
        ConfigError: Its files are damaged, or no backend is installed.
        EmbeddingError: The backend cannot load it.
    """
    if isinstance(recipe.model, GivenModel):
        return recipe.model.provider
    if isinstance(recipe.model, ServerModel):
        from lexigram_ray.embedding.server_provider import ServerProvider

        return ServerProvider(recipe.model, long_texts=config.embedding.long_texts, limit=limit)
    from lexigram_ray.embedding.engine import load_provider

    return load_provider(
        recipe.model,
        models_dir=config.paths.models,
        threads=threads,
        long_texts=config.embedding.long_texts,
    )


def keeps_vectors(config: WorkersConfig, recipe: Recipe) -> bool:
    """Return whether the cache on disk is to be used.

    A model without a revision is a caller's object that says nothing of itself: what another one of
    its class made under the same name would be taken for its vectors.
    """
    return config.embedding.cache and bool(recipe.model.spec.revision)


def cached_spec(config: WorkersConfig, recipe: Recipe) -> ModelSpec:
    """Return whose vectors the cache is to have: where long texts fail, none of cut ones."""
    spec = recipe.model.spec
    if config.embedding.long_texts == "truncate":
        return spec
    return replace(spec, revision=f"{spec.revision}-whole")


def tokenizer_of(model: Model) -> Tokenizer | None:
    """Return the model's tokenizer; None where it is not on this machine."""
    if not isinstance(model, LocalModel):
        return None
    from lexigram_ray.embedding.tokenizing import load_tokenizer

    return load_tokenizer(model)
