"""Chunks for tests of the batch embedding worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Chunk:
    """The reference's shape of a chunk."""

    text: str
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


def chunks(count: int, subject: str = "Berth") -> list[Any]:
    """Return chunks that are all different."""
    return [
        Chunk(f"{subject} {number} lies to the north.", {"n": number}) for number in range(count)
    ]
