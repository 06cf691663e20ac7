"""Which rows can be embedded: texts that say something, ids that are usable and there once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from lexigram_ray.core.ids import HASH_BYTES, hash_bytes
from lexigram_ray.ingestion.decode import clean, decode
from lexigram_ray.ingestion.table_columns import is_text
from lexigram_ray.ingestion.table_objects import id_text

# Its functions are made while it is imported: no checker of types sees them.
pc: Any = pyarrow.compute

LONGEST_ID = 1_000
"""Characters."""


class Refusal(NamedTuple):
    """Why a row is not embedded."""

    code: str
    reason: str


NO_TEXT = Refusal("empty_text", "it has no text")
BLANK_TEXT = Refusal("empty_text", "its text is empty or only white space")
NO_ID = Refusal("invalid_id", "it has no id")
LONG_ID = Refusal("invalid_id", f"its id is longer than {LONGEST_ID:,} characters")
ODD_ID = Refusal("invalid_id", "its id holds NUL or what is no valid Unicode")
REPEATED_ID = Refusal("repeated_id", "its id is that of an earlier row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A column of texts, or of ids.

    Attributes:
        values: Valid Unicode in UTF-8, no nulls; empty where there is none.
        refused: By the row's place.
    """

    values: pa.StringArray
    refused: Mapping[int, Refusal]


def checked_texts(column: pa.Array) -> Checked:
    """Check a column of texts.

    Texts are taken as they are. Only those with NUL or lone surrogates, which not every table can
    hold, and bytes that are no UTF-8 are cleaned as the text of a document is.
    """
    texts = _strings(column)
    if not _is_valid(texts):
        values: list[bytes | None] = texts.view(pa.binary()).to_pylist()
        texts = pa.array([None if v is None else _decoded(v) for v in values], pa.string())
    nulls = _places(texts.is_null()) if texts.null_count else []
    texts = pc.fill_null(texts, "") if texts.null_count else texts
    if _has_nul(texts):
        texts = pa.array([clean(t) if "\0" in t else t for t in texts.to_pylist()], pa.string())
    blank = pc.or_(pc.equal(pc.binary_length(texts), 0), pc.utf8_is_space(texts))
    refused = dict.fromkeys(_places(blank), BLANK_TEXT)
    return Checked(values=texts, refused=refused | dict.fromkeys(nulls, NO_TEXT))


def checked_ids(column: pa.Array) -> Checked:
    """Check a column of ids of any plain type; numbers become decimal text."""
    ids = _id_strings(column)
    refused: dict[int, Refusal] = {}
    if not _is_valid(ids) or _has_nul(ids):
        values: list[bytes | None] = ids.view(pa.binary()).to_pylist()
        odd = [place for place, value in enumerate(values) if value and not _is_storable(value)]
        refused |= dict.fromkeys(odd, ODD_ID)
        kept = [None if place in refused else value for place, value in enumerate(values)]
        ids = pa.array(kept, pa.binary()).cast(pa.string())
    ids = pc.fill_null(ids, "")
    long = _places(pc.greater(pc.utf8_length(ids), LONGEST_ID))
    if long:
        refused |= dict.fromkeys(long, LONG_ID)
        ids = pc.if_else(pc.greater(pc.utf8_length(ids), LONGEST_ID), "", ids)
    missing = _places(pc.equal(pc.binary_length(ids), 0))
    return Checked(values=ids, refused=dict.fromkeys(missing, NO_ID) | refused)


def hashes_of(texts: pa.StringArray) -> list[str]:
    """Return `hash_text` of each text, without making a Python text of it."""
    data, offsets = bytes_of(texts)
    places = offsets.tolist()
    return [hash_bytes(data[a:b]) for a, b in pairwise(places)]


def bytes_of(texts: pa.StringArray) -> tuple[memoryview, NDArray[np.int32]]:
    """Return the UTF-8 of all texts, and where in it each begins.

    Args:
        texts: Without nulls.

    Returns:
        The bytes, and offsets into them, int32, shape `(len(texts) + 1,)`.
    """
    _, starts, data = texts.buffers()
    if not len(texts) or data is None:
        return memoryview(b""), np.zeros(len(texts) + 1, np.int32)
    offsets = np.frombuffer(starts, np.int32, len(texts) + 1, 4 * texts.offset)
    return memoryview(data)[offsets[0] : offsets[-1]], offsets - offsets[0]


class SeenIds:
    """The ids of all rows so far, as hashes of 128 bits: 16 bytes a row, in sorted arrays.

    An array is merged into the one before it once it is half as long, so that there are few of
    them, and each hash is sorted some ten times in a million rows.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def repeated(self, ids: pa.StringArray) -> NDArray[np.bool_]:
        """Add ids, and tell which of them there were before, shape `(len(ids),)`."""
        data, offsets = bytes_of(ids)
        places = offsets.tolist()
        digests = b"".join(
            blake3.blake3(data[a:b]).digest(length=HASH_BYTES) for a, b in pairwise(places)
        )
        halves = np.frombuffer(digests, np.uint64).reshape(-1, 2)
        order = np.lexsort((np.arange(len(ids)), halves[:, 1], halves[:, 0]))
        high, low = halves[order, 0], halves[order, 1]
        again = np.zeros(len(ids), np.bool_)
        again[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        for run in self._runs:
            again |= run.holds(high, low)
        self._add(_Run(high[~again], low[~again]))
        repeated = np.empty(len(ids), np.bool_)
        repeated[order] = again
        return repeated

    def _add(self, run: _Run) -> None:
        while self._runs and len(run.high) * 2 >= len(self._runs[-1].high):
            run = run.merged(self._runs.pop())
        self._runs.append(run)


class _Run(NamedTuple):
    """Hashes in ascending order of their first halves."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]

    def holds(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.bool_]:
        found = np.zeros(len(high), np.bool_)
        place = np.searchsorted(self.high, high)
        candidates = np.arange(len(high))
        # One round, but for hashes of which only the first halves are equal.
        while len(candidates):
            candidates = candidates[place[candidates] < len(self.high)]
            candidates = candidates[self.high[place[candidates]] == high[candidates]]
            found[candidates] = self.low[place[candidates]] == low[candidates]
            candidates = candidates[~found[candidates]]
            place[candidates] += 1
        return found

    def merged(self, other: _Run) -> _Run:
        high = np.concatenate([self.high, other.high])
        low = np.concatenate([self.low, other.low])
        # Stable, because that merges two sorted arrays in one pass.
        order = np.argsort(high, kind="stable")
        return _Run(high[order], low[order])


def _strings(column: pa.Array) -> pa.StringArray:
    """Return a column of texts as strings, of which some may be no UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        return column
    if is_text(column.type):
        return column.cast(pa.binary()).view(pa.string())
    return pa.array([None] * len(column), pa.string())


def _id_strings(column: pa.Array) -> pa.StringArray:
    if is_text(column.type):
        return _strings(column)
    if pa.types.is_integer(column.type):
        return column.cast(pa.string())
    # Dates, UUIDs, decimals and such have one way to be written.
    return pa.array([_written(value) for value in column.to_pylist()], pa.string())


def _written(value: object) -> str | None:
    if value is None or isinstance(value, float):
        return id_text(value)
    return id_text(value) or str(value)


def _is_valid(texts: pa.StringArray) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _has_nul(texts: pa.StringArray) -> bool:
    data, _ = bytes_of(texts)
    return not np.frombuffer(data, np.uint8).all()


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return decode(value)


def _is_storable(value: bytes) -> bool:
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


def _places(mask: pa.BooleanArray) -> list[int]:
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist()
