"""A table beside that of a run that nothing disturbed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from tests.tables import read

Key = tuple[str, str]
"""A row's id and the hash of its text."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How many rows are missing, and how many are there that should not be.

    A row whose text is another one counts as both.
    """

    lost: int
    duplicated: int


def keys_of(state: Path, collection: str) -> Counter[Key]:
    """Return how often each row stands in a collection."""
    return keys_in(read(state, collection))


def keys_in(table: pa.Table) -> Counter[Key]:
    """Return how often each row stands in a table."""
    return Counter(zip(table["id"].to_pylist(), table["content_hash"].to_pylist(), strict=True))


def is_committed(data: Path, collection: str) -> bool:
    """Whether a collection has any version that a program can see."""
    return any((data / "lancedb" / f"{collection}.lance" / "_versions").glob("*.manifest"))


def difference(found: Counter[T], wanted: Counter[T]) -> Difference:
    """Count what is not as it should be."""
    return Difference(lost=(wanted - found).total(), duplicated=(found - wanted).total())
