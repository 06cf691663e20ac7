"""One search, from the configuration to the hits: the command line's and the service's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import CollectionMismatchError, UsageError
from lexigram_ray.core.types import CollectionSettings
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.search import Hit, SearchMode, search

if TYPE_CHECKING:
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
    if not query.strip():
        raise UsageError("the query is empty", hint="say what to look for")
    table = Collections(config.paths.lancedb).open(collection)
    if provider is None and mode != "text":
        provider = load_query_provider(config, collection, table.settings)
    began = time.perf_counter()
    vector = provider.embed_query(query) if provider is not None and mode != "text" else None
    hits = search(table, mode=mode, text=query, vector=vector, limit=limit, where=where)
    took_ms = 1000 * (time.perf_counter() - began)
    return SearchReport(
        collection=collection, query=query, mode=mode, took_ms=took_ms, hits=tuple(hits)
    )


def load_query_provider(
    config: WorkersConfig, collection: str, settings: CollectionSettings
) -> EmbeddingProvider:
    """Load the model that a collection was made with.

    Raises:
        ModelNotFoundError: It is not on this machine.
        CollectionMismatchError: The model of that name has other weights now.
    """
    from lexigram_ray.embedding.engine import load_provider
    from lexigram_ray.embedding.models import describe_model

    models_dir = config.paths.models
    model = describe_model(
        settings.model, precision=config.embedding.precision, models_dir=models_dir
    )
    if model.spec.revision != settings.revision:
        raise CollectionMismatchError(
            f"collection {collection} was made with revision {settings.revision} of "
            f"{settings.model}, and this machine has revision {model.spec.revision}",
            hint=f"install that revision again, or ingest into a new collection "
            f"(`--mode text` searches {collection} without the model)",
        )
    return load_provider(model, models_dir=models_dir)
