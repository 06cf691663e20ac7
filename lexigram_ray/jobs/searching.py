"""One search, from the configuration to the hits: the command line's and the service's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import CollectionMismatchError, UsageError
from lexigram_ray.core.types import CollectionSettings
from lexigram_ray.embedding.adapters import GIVEN_POOLING
from lexigram_ray.embedding.server_model import SERVER_POOLING
from lexigram_ray.jobs.recipes import Recipe, load_model, read_text_recipe
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.search import Hit, SearchMode, search

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.protocols import EmbeddingProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """What a search found; `to_dict` is what `--json` prints.

    Attributes:
        took_ms: Milliseconds for embedding the query and searching; loading a model not counted.
        hits: Best first.
    """

    collection: str
    query: str
    mode: str
    took_ms: float
    hits: tuple[Hit, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object."""
        return {
            "collection": self.collection,
            "query": self.query,
            "mode": self.mode,
            "took_ms": round(self.took_ms, 2),
            "hits": [hit.to_dict() for hit in self.hits],
        }


def search_collection(
    config: WorkersConfig,
    query: str,
    *,
    collection: str,
    limit: int = 10,
    mode: SearchMode = "hybrid",
    where: str | None = None,
    provider: EmbeddingProvider | None = None,
) -> SearchReport:
    """Search one collection.

    Args:
        config: Says where collections and models are.
        query: Words or a question.
        collection: The collection's name.
        limit: Most hits.
        mode: `text` loads no model.
        where: A condition in SQL over the collection's columns.
        provider: A loaded model of the collection's own kind; loaded here when None.

    Raises:
        UsageError: The query is empty, the condition is wrong, there is no such collection, or
            its model is not at hand or has changed since the collection was made.
    """
    check_query(query)
    table = Collections(config.paths.lancedb).open(collection)
    if provider is None and mode != "text":
        provider = load_query_provider(config, collection, table.settings)
    began = time.perf_counter()
    vector = provider.embed_query(query) if provider is not None and mode != "text" else None
    return search_table(
        table, query, vector=vector, limit=limit, mode=mode, where=where, began=began
    )


def check_query(query: str) -> None:
    """Refuse a query of nothing.

    Raises:
        UsageError: It is empty.
    """
    if not query.strip():
        raise UsageError("the query is empty", hint="say what to look for")


def search_table(
    table: Collection,
    query: str,
    *,
    vector: NDArray[np.float32] | None,
    limit: int,
    mode: SearchMode,
    where: str | None,
    began: float,
) -> SearchReport:
    """Search an opened collection.

    Args:
        table: The collection.
        query: Words or a question.
        vector: Its vector, float32, shape `(dimension,)`; not needed by `text`.
        limit: Most hits.
        mode: By meaning, by words, or both.
        where: A condition in SQL over the collection's columns.
        began: When work on the query began, by `time.perf_counter`.

    Raises:
        UsageError: The condition is wrong.
        CollectionNotFoundError: The collection was dropped meanwhile.
    """
    hits = search(table, mode=mode, text=query, vector=vector, limit=limit, where=where)
    took_ms = 1000 * (time.perf_counter() - began)
    return SearchReport(
        collection=table.name, query=query, mode=mode, took_ms=took_ms, hits=tuple(hits)
    )


def load_query_provider(
    config: WorkersConfig, collection: str, settings: CollectionSettings
) -> EmbeddingProvider:
    """Load the model that a collection was made with.

    Raises:
        ModelNotFoundError: It is not on this machine.
        CollectionMismatchError: The model of that name has other weights now.
        EmbeddingServerError: The server that has the model does not answer.
    """
    recipe = query_recipe(config, collection, settings)
    return load_model(config, recipe, threads=None)


def query_recipe(config: WorkersConfig, collection: str, settings: CollectionSettings) -> Recipe:
    """Find the model that a collection was made with, as it is to embed queries.

    Raises:
        UsageError: It runs where it cannot be asked from here.
        ModelNotFoundError: It is not on this machine.
        CollectionMismatchError: The model of that name has other weights now.
        EmbeddingServerError: The server that has the model does not answer.
    """
    if settings.pooling == SERVER_POOLING and config.embedding.server.url is None:
        raise UsageError(
            f"collection {collection} was made by {settings.model} on a server, and no server is "
            "configured",
            hint="set embedding.server.url, or search with `--mode text`",
        )
    if settings.pooling == GIVEN_POOLING:
        raise UsageError(
            f"collection {collection} was made by a program's own provider, {settings.model}",
            hint="lexigram_ray.search(..., provider=...), or search with `--mode text`",
        )
    recipe = read_text_recipe(config_as_made(config, settings), None)
    revision = recipe.model.spec.revision
    if revision != settings.revision:
        raise CollectionMismatchError(
            f"collection {collection} was made with revision {settings.revision} of "
            f"{settings.model}, and here it has revision {revision}",
            hint=f"install that revision again, or ingest into a new collection "
            f"(`--mode text` searches {collection} without the model)",
        )
    return recipe


def config_as_made(config: WorkersConfig, settings: CollectionSettings) -> WorkersConfig:
    """Return the configuration with which the collection's model makes its kind of vectors."""
    embedding = config.embedding
    changed: dict[str, object] = {
        "model": settings.model,
        "precision": _query_precision(embedding.precision, settings.precision),
    }
    if settings.pooling == SERVER_POOLING:
        changed["dimensions"] = None
    else:
        changed["dimensions"] = settings.dimension
        changed["server"] = embedding.server.model_copy(update={"url": None})
    return config.model_copy(update={"embedding": embedding.model_copy(update=changed)})


def _query_precision(wanted: str, of_collection: str) -> str:
    """Return how to compute a query's vector: floats agree with floats, int8 only with int8."""
    if of_collection == "int8":
        return "int8"
    return "auto" if wanted == "int8" else wanted
