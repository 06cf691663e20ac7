"""The shape of what makes vectors."""

from __future__ import annotations

from lexigram_ray.workers.protocols import EmbeddingProvider

__all__ = ["EmbeddingProvider"]
