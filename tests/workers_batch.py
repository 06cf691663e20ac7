"""Chunks for tests of the batch embedding worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Chunk:
    """The reference's shape of a chunk."""

    text: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


def chunks(count: int, subject: str = "Berth", *, sentences: int = 1) -> list[Any]:
    """Return chunks that are all different; of more sentences each, they take longer to embed."""
    return [
        Chunk(" ".join([f"{subject} {number} lies to the north."] * sentences), {"n": number})
        for number in range(count)
    ]
