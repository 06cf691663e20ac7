"""Vectors that wait to be written, found by key as if they were on disk. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.key_index import HALVES, KeyIndex


class WaitingRows:
    """Rows in blocks as they were put; of a repeated key the newest counts.

    Args:
        dimension: Length of a vector.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self.clear()

    def __len__(self) -> int:
        """Count the rows, repeated keys included."""
        return len(self._index)

    @property
    def since(self) -> float | None:
        """When the first of them was put, by the caller's clock."""
        return self._since

    @property
    def keys(self) -> NDArray[np.void]:
        """All keys, shape `(n,)`, in the order of `blocks`."""
        return np.concatenate(self._keys) if self._keys else np.empty(0, HALVES)

    @property
    def blocks(self) -> list[NDArray[np.float32]]:
        """All vectors, each block of shape `(some, dim)`."""
        return self._blocks

    def add(self, keys: NDArray[np.void], vectors: NDArray[np.float32], now: float) -> None:
        """Take rows over; `vectors`, shape `(n, dim)`, must not change later."""
        if not len(keys):
            return
        self._since = now if self._since is None else self._since
        self._index.append(keys)
        self._keys.append(keys)
        self._blocks.append(vectors)
        self._ends.append(len(self._index))

    def fill(
        self, keys: NDArray[np.void], found: NDArray[np.bool_], vectors: NDArray[np.float32]
    ) -> None:
        """Set `found`, shape `(n,)`, and `vectors`, shape `(n, dim)`, where a key waits."""
        if not self._blocks:
            return
        rows = self._index.find(keys)
        hits = np.flatnonzero(rows >= 0)
        block_of = np.searchsorted(self._ends, rows[hits], side="right")
        for block in np.unique(block_of).tolist():
            places = hits[block_of == block]
            first = self._ends[block] - len(self._blocks[block])
            vectors[places] = self._blocks[block][rows[places] - first]
        found[hits] = True

    def contains(self, keys: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return whether each key waits, shape `(n,)`."""
        return self._index.find(keys) >= 0

    def clear(self) -> None:
        """Forget all rows."""
        self._index = KeyIndex()
        self._keys: list[NDArray[np.void]] = []
        self._blocks: list[NDArray[np.float32]] = []
        self._ends: list[int] = []
        self._since: float | None = None
