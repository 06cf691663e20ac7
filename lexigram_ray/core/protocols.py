"""Seams between layers, named for the role. Each has at least two real implementations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.types import Document, ModelSpec, ParsedDocument


class EmbeddingProvider(Protocol):
    """Turns texts into vectors."""

    @property
    def spec(self) -> ModelSpec:
        """The model whose vectors these are."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents, in order.

        Returns:
            float32, shape `(len(texts), spec.dimension)`, rows L2-normalised, never NaN.

        Raises:
            TextsRefusedError: Some texts have no vector; the error holds those of the others.
            EmbeddingError: The model failed or returned what cannot be used.
        """
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed one query, with the model's query prompt: float32, shape `(spec.dimension,)`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedVectors:
    """What a call for vectors gave.

    Attributes:
        vectors: float32, shape `(n, dim)`, rows L2-normalised, never NaN.
        truncated: How many of the call's texts, repeats too, were cut at the model's limit.
    """

    vectors: NDArray[np.float32]
    truncated: int


class CountingProvider(EmbeddingProvider, Protocol):
    """A provider that tokenises here, and so knows which texts it cuts."""

    def embed_counted(self, texts: Sequence[str]) -> CountedVectors:
        """Embed documents, in order, as `embed_texts` does, and count.

        Raises:
            TextsRefusedError: Some texts have no vector; the error holds those of the others.
            EmbeddingError: The model failed or returned what cannot be used.
        """
        ...


class RateLimit(Protocol):
    """What may be asked of a server, by all who share its budget. Safe to use from threads."""

    def reserve(self, amount: float) -> float:
        """Take from the budget; return the seconds to wait before it may be used.

        Args:
            amount: Below zero gives back what was taken and not used.
        """
        ...

    def hold_off(self, seconds: float) -> None:
        """Let nobody go on for that long: the server has told one of them to wait."""
        ...

    def wait_seconds(self) -> float:
        """Return for how long nobody may go on; 0 where nothing holds them off."""
        ...


class DocumentParser(Protocol):
    """Turns a document's bytes into text."""

    def parse(self, document: Document) -> ParsedDocument:
        """Parse one document.

        Raises:
            DocumentSkipped: There is nothing to ingest in it.
            DocumentError: It cannot be parsed.
        """
        ...

    def close(self) -> None:
        """End whatever processes the parser holds."""
        ...
