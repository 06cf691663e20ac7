"""128-bit keys to row numbers, in memory: sorted arrays and binary search. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
HALVES = np.dtype([("high", ">u8"), ("low", ">u8")])


def keys_from_hex(hashes: Sequence[str]) -> NDArray[np.void]:
    """Turn hashes of 32 hex digits into keys, shape `(n,)`.

    Raises:
        ValueError: One of them is something else.
    """
    if not set(map(len, hashes)) <= {2 * KEY_BYTES}:
        raise ValueError("a text's hash must have 32 hex digits")
    joined = bytes.fromhex("".join(hashes))
    if len(joined) != len(hashes) * KEY_BYTES:  # fromhex skips blanks
        raise ValueError("a text's hash must have 32 hex digits")
    return np.frombuffer(joined, HALVES)


@dataclass(frozen=True, slots=True)
class _Run:
    """Keys in ascending order of their high halves, newest first among equal ones."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    row: NDArray[np.int64]


class KeyIndex:
    """Which row holds a key; the newest, where several do. 24 bytes a row.

    Each run has at least twice the rows of the next: a key is merged, and a search made, some
    log2(rows) times.
    """

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
        self._runs.append(_run_of(keys, self._rows))
        self._rows += len(keys)
        while len(self._runs) > 1 and len(self._runs[-2].row) < 2 * len(self._runs[-1].row):
            newer = self._runs.pop()
            self._runs[-1] = _merged(newer, self._runs[-1])

    def find(self, keys: NDArray[np.void]) -> NDArray[np.int64]:
        """Return each key's row, shape `(n,)`; -1 where there is none."""
        found = np.full(len(keys), -1, np.int64)
        high = keys["high"].astype(np.uint64)
        low = keys["low"].astype(np.uint64)
        for run in reversed(self._runs):
            wanted = np.flatnonzero(found < 0)
            found[wanted] = _search(run, high[wanted], low[wanted])
        return found


def _run_of(keys: NDArray[np.void], first_row: int) -> _Run:
    newest_first = keys[::-1]
    high = newest_first["high"].astype(np.uint64)
    order = np.argsort(high, kind="stable")
    low = newest_first["low"].astype(np.uint64)
    return _Run(high[order], low[order], first_row + len(keys) - 1 - order)


def _merged(newer: _Run, older: _Run) -> _Run:
    high = np.concatenate([newer.high, older.high])
    order = np.argsort(high, kind="stable")
    low = np.concatenate([newer.low, older.low])
    row = np.concatenate([newer.row, older.row])
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
