"""Vectors with what their texts cost, for whoever answers requests: past the cache, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import TextsRefusedError
from lexigram_ray.core.protocols import EmbeddingProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedTexts:
    """What became of some texts.

    Attributes:
        vectors: float32, shape `(n, dim)`, rows L2-normalised, in the texts' order; zeros where
            refused.
        tokens: int64, shape `(n,)`: what the model reads of each text, prompt and special tokens
            included; 0 where nobody can count them here.
        refused: Why a text has no vector, by its position.
    """

    vectors: NDArray[np.float32]
    tokens: NDArray[np.int64]
    refused: Mapping[int, str] = field(default_factory=dict[int, str])


@runtime_checkable
class EncodingProvider(Protocol):
    """A provider that embeds many queries in one call, and counts tokens."""

    def encode(self, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
        """Embed documents, or queries with the model's query prompt.

        Raises:
            EmbeddingError: The model failed.
        """
        ...


def encode(provider: EmbeddingProvider, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
    """Embed documents or queries by any provider.

    Raises:
        EmbeddingError: The provider failed.
    """
    if isinstance(provider, EncodingProvider):
        return provider.encode(texts, as_query=as_query)
    tokens = np.zeros(len(texts), np.int64)
    if as_query:
        return _queries(provider, texts, tokens)
    try:
        return EncodedTexts(vectors=provider.embed_texts(texts), tokens=tokens)
    except TextsRefusedError as error:
        return EncodedTexts(vectors=error.vectors, tokens=tokens, refused=error.reasons)


def _queries(
    provider: EmbeddingProvider, texts: Sequence[str], tokens: NDArray[np.int64]
) -> EncodedTexts:
    vectors = np.zeros((len(texts), provider.spec.dimension), np.float32)
    refused: dict[int, str] = {}
    for place, text in enumerate(texts):
        try:
            vectors[place] = provider.embed_query(text)
        except TextsRefusedError as error:
            refused[place] = error.reasons[0]
    return EncodedTexts(vectors=vectors, tokens=tokens, refused=refused)
