"""128-bit keys to row numbers, in memory: sorted arrays and binary search. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
MAX_RUNS = 8
HALVES = np.dtype([("high", ">u8"), ("low", ">u8")])


def keys_from_hex(hashes: Sequence[str]) -> NDArray[np.void]:
    """Turn hashes of 32 hex digits into keys, shape `(n,)`.

    Raises:
        ValueError: One of them is something else.
    """
    if any(len(text_hash) != 2 * KEY_BYTES for text_hash in hashes):
        raise ValueError("a text's hash must have 32 hex digits")
    return np.frombuffer(bytes.fromhex("".join(hashes)), HALVES)


@dataclass(frozen=True, slots=True)
class _Run:
    """Keys in ascending order of their high halves, newest first among equal ones."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    row: NDArray[np.int64]


class KeyIndex:
    """Which row holds a key; the newest, where several do. 24 bytes a row."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._rows = 0

    def __len__(self) -> int:
        """Count the rows, repeated keys included."""
        return self._rows

    def append(self, keys: NDArray[np.void]) -> None:
        """Add keys; their rows are numbered on from those before."""
        if not len(keys):
            return
        rows = np.arange(self._rows, self._rows + len(keys), dtype=np.int64)
        self._rows += len(keys)
        native = np.dtype(np.uint64)
        self._runs.append(_sorted(keys["high"].astype(native), keys["low"].astype(native), rows))
        if len(self._runs) > MAX_RUNS:
            self._runs = [
                _sorted(
                    np.concatenate([run.high for run in self._runs]),
                    np.concatenate([run.low for run in self._runs]),
                    np.concatenate([run.row for run in self._runs]),
                )
            ]

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """Return each key's row, shape `(n,)`; -1 where there is none."""
        found = np.full(len(keys), -1, np.int64)
        high = keys["high"].astype(np.uint64)
        low = keys["low"].astype(np.uint64)
        for run in reversed(self._runs):
            wanted = np.flatnonzero(found < 0)
            found[wanted] = _search(run, high[wanted], low[wanted])
        return found


def _sorted(high: NDArray[np.uint64], low: NDArray[np.uint64], row: NDArray[np.int64]) -> _Run:
    newest_first = np.argsort(-row)
    high, low, row = high[newest_first], low[newest_first], row[newest_first]
    order = np.argsort(high, kind="stable")
    return _Run(high[order], low[order], row[order])


def _search(run: _Run, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.int64]:
    found = np.full(len(high), -1, np.int64)
    place = np.searchsorted(run.high, high)
    open_keys = np.arange(len(high))
    # One round, but for keys whose high halves are equal: repeated rows, or chance.
    while len(open_keys):
        open_keys = open_keys[place[open_keys] < len(run.high)]
        open_keys = open_keys[run.high[place[open_keys]] == high[open_keys]]
        matches = run.low[place[open_keys]] == low[open_keys]
        hits = open_keys[matches]
        found[hits] = run.row[place[hits]]
        open_keys = open_keys[~matches]
        place[open_keys] += 1
    return found
