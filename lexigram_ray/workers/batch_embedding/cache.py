"""Vectors by text and model name: kept for good, and shared by all processes of a state directory.

A key is a BLAKE3 hash of the model's name and the exact text, the same in every process. Values
come back exactly as they were given.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.core.ids import hash_bytes
from lexigram_ray.jobs.awaiting import call

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.embedding.named_vectors import NamedVectors
    from lexigram_ray.workers.batch_embedding.protocols import EmbeddingProvider

__all__ = ["EmbeddingCache", "ProviderCache", "revision_of"]

MOST_IN_MEMORY = 50_000
"""Vectors that live with one object only."""


class EmbeddingCache:
    """The vectors of texts. Safe to use from several threads, event loops and processes.

    What is set is durable when `set` returns. Vectors that a provider made which says nothing of
    itself (it has no `revision`) live with this object only: another object of its class could make
    others under the same name.

    Args:
        config: The configuration, or its file instead of ./application.yaml.
        state: Where state is kept.
    """

    def __init__(
        self,
        *,
        config: WorkersConfig | Path | str | None = None,
        state: Path | str | None = None,
    ) -> None:
        self._config, self._state = config, state
        self._use = threading.Lock()
        self._memory: OrderedDict[str, list[float]] = OrderedDict()

    async def get(self, text: str, model_name: str) -> list[float] | None:
        """Return the vector of a text; None where it is not known."""
        return (await call(self.find, [text], model_name)).get(text)

    async def set(self, text: str, model_name: str, embedding: list[float]) -> None:
        """Keep the vector of a text."""
        await call(self.keep, {text: embedding}, model_name)

    async def get_batch(
        self, texts: list[str], model_name: str
    ) -> tuple[list[list[float] | None], list[tuple[int, str]]]:
        """Return the vectors of texts, None where one is not known, and which ones are not.

        Returns:
            The vectors in the texts' order, and (position, text) of those that are not known.
        """
        known = await call(self.find, texts, model_name)
        found: list[list[float] | None] = [known.get(text) for text in texts]
        missing = [(place, text) for place, text in enumerate(texts) if text not in known]
        return found, missing

    async def set_batch(
        self, texts_and_embeddings: list[tuple[str, list[float]]], model_name: str
    ) -> None:
        """Keep the vectors of texts."""
        await call(self.keep, dict(texts_and_embeddings), model_name)

    async def clear(self) -> None:
        """Forget all vectors, also for every other process of this state directory."""
        await call(self.forget_all)

    def size(self) -> int:
        """Return how many vectors are known: those on disk, and those of this object only."""
        with self._use:
            only_here = len(self._memory)
        return only_here + len(self._kept)

    async def get_embeddings_with_cache(
        self, texts: list[str], model_name: str, embedding_provider: EmbeddingProvider
    ) -> tuple[list[list[float]], int, int]:
        """Return the vectors of texts, asking a provider for those that are not known, each once.

        Args:
            texts: Any number of them.
            model_name: Part of the key, and passed on where the provider's method takes one.
            embedding_provider: Has `embed_texts(texts)` or `embed(texts)`.

        Returns:
            The vectors in the texts' order, how many were known, and how many were not.

        Raises:
            UsageError: The provider returned something else than one vector for each text.
            Exception: Whatever else it raised.
        """
        from lexigram_ray.jobs.foreign_embedder import ForeignEmbedder

        if not texts:
            return [], 0, 0
        known = await call(self.find, texts, model_name)
        hits = sum(text in known for text in texts)
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            embedder = ForeignEmbedder(
                embedding_provider,
                asyncio.get_running_loop(),
                model_name=model_name,
                batch_size=len(missing),
                cache=None,
                enter=lambda _: None,
                stop=threading.Event(),
            )
            await call(embedder.embed, missing, missing)
            made = {text: embedder.vectors[text] for text in missing}
            keep = self.keep if revision_of(embedding_provider) else self.keep_here
            await call(keep, made, model_name)
            known |= made
        return [known[text] for text in texts], hits, len(texts) - hits

    # -- From threads ------------------------------------------------------------------------------

    def find(self, texts: Sequence[str], model_name: str) -> dict[str, list[float]]:
        """Return the vectors that are known, by text.

        Raises:
            EmbeddingError: The file cannot be read.
        """
        known = self.find_here(texts, model_name)
        keys = {_key(text, model_name): text for text in texts if text not in known}
        kept = self._kept.get(list(keys)) if keys else {}
        return known | {keys[key]: vector for key, vector in kept.items()}

    def find_here(self, texts: Sequence[str], model_name: str) -> dict[str, list[float]]:
        """Return those that live with this object only, by text."""
        with self._use:
            found = {text: self._memory.get(_key(text, model_name)) for text in texts}
        return {text: list(vector) for text, vector in found.items() if vector is not None}

    def keep(self, vectors: Mapping[str, Sequence[float]], model_name: str) -> None:
        """Keep vectors by text, for good.

        Raises:
            DiskFullError: No space is left.
        """
        self._kept.put({_key(text, model_name): vector for text, vector in vectors.items()})

    def keep_here(self, vectors: Mapping[str, Sequence[float]], model_name: str) -> None:
        """Keep vectors by text, as long as this object lives."""
        with self._use:
            for text, vector in vectors.items():
                key = _key(text, model_name)
                self._memory[key] = list(vector)
                self._memory.move_to_end(key)
            while len(self._memory) > MOST_IN_MEMORY:
                self._memory.popitem(last=False)

    def forget_all(self) -> None:
        """Do what `clear` does."""
        with self._use:
            self._memory.clear()
        self._kept.clear()

    def expire(self, max_age_days: int) -> int:
        """Forget what nobody has asked for since so many days; return how many vectors."""
        return self._kept.expire(max_age_days)

    @cached_property
    def _kept(self) -> NamedVectors:
        # Settled at the first use: making a cache reads no configuration.
        from lexigram_ray.embedding.named_vectors import NAMED_FILE, NamedVectors

        return NamedVectors(settings_of(self._config, self._state).paths.cache / NAMED_FILE)


class ProviderCache:
    """The vectors of one provider in a cache, for those that embed with it.

    Args:
        cache: Where they are.
        provider: Its `revision`, if it has one, is part of the key; without one they are kept, and
            looked for, only as long as `cache` lives.
    """

    def __init__(self, cache: EmbeddingCache, provider: object) -> None:
        self._cache = cache
        self._revision = revision_of(provider)

    def find(self, texts: Sequence[str], model_name: str) -> dict[str, list[float]]:
        """Return the vectors that are known, by text."""
        if self._revision:
            return self._cache.find(texts, f"{model_name}@{self._revision}")
        return self._cache.find_here(texts, model_name)

    def keep(self, vectors: Mapping[str, list[float]], model_name: str) -> None:
        """Keep vectors by text."""
        if self._revision:
            self._cache.keep(vectors, f"{model_name}@{self._revision}")
        else:
            self._cache.keep_here(vectors, model_name)


def revision_of(provider: object) -> str | None:
    """Return what a provider says of the vectors it makes; None of one that others cannot trust."""
    for source in (provider, getattr(provider, "spec", None)):
        revision = getattr(source, "revision", None)
        if isinstance(revision, str) and revision:
            return revision
    return None


def _key(text: str, model_name: str) -> str:
    # The name's length keeps names and texts apart, whatever they are.
    key = f"{len(model_name)}:{model_name}:{text}"
    return hash_bytes(key.encode("utf-8", "surrogatepass"))
