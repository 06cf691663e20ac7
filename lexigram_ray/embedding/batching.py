"""Which texts run together: equal ones once, by length and a budget of tokens. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Texts tokenised at a time: enough to sort by length, little enough to hold in memory. The first
# ones are fewer, because the device waits for them.
WINDOW_TEXTS = 2048
FIRST_WINDOW_TEXTS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Texts of nearly the same length, padded to the longest.

    Attributes:
        rows: The texts' positions, shape `(n,)`.
        lengths: Their tokens, shape `(n,)`.
        input_ids: int64, shape `(n, longest)`.
        attention_mask: int64 of the same shape: 1 for a token, 0 for padding.
    """

    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]


def distinct(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return each text once, and for every given text its place among them."""
    places: dict[str, int] = {}
    inverse = np.fromiter(
        (places.setdefault(text, len(places)) for text in texts), np.int64, len(texts)
    )
    return list(places), inverse


def windows(
    texts: Sequence[str], size: int = WINDOW_TEXTS, first: int = FIRST_WINDOW_TEXTS
) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of texts by windows, longest texts (in characters) first."""
    order = np.argsort([-len(text) for text in texts], kind="stable").astype(np.int64)
    start, end = 0, first
    while start < len(order):
        yield order[start:end]
        start, end = end, end + size


def token_batches(
    ids: Sequence[NDArray[np.int32]], rows: NDArray[np.int64], *, budget: int, pad_id: int
) -> Iterator[TokenBatch]:
    """Yield batches of at most `budget` tokens with their padding.

    First those of texts of one length, longest first: they need no padding, and no mask. Then what
    is left over, longest first. A text that is longer than the budget is a batch of its own.

    Args:
        ids: The texts' tokens, none of them empty.
        rows: The texts' positions, in the same order.
        budget: Tokens of a batch.
        pad_id: Fills the shorter rows.
    """
    lengths = np.array([len(tokens) for tokens in ids], np.int64)
    order = np.argsort(-lengths, kind="stable")
    for chosen in _chosen(order, lengths, budget):
        yield _padded([ids[i] for i in chosen], rows[chosen], lengths[chosen], pad_id)


def _chosen(
    order: NDArray[np.int64], lengths: NDArray[np.int64], budget: int
) -> Iterator[NDArray[np.int64]]:
    equal, left_over = _by_length(lengths[order], budget)
    for start, end in equal:
        yield order[start:end]
    order = order[left_over]
    start = 0
    while start < len(order):
        end = start + max(1, budget // int(lengths[order[start]]))
        yield order[start:end]
        start = end


def _by_length(
    lengths: NDArray[np.int64], budget: int
) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """Cut texts of one length into full batches: fewer texts are a shape of their own to prepare.

    Args:
        lengths: Of the texts, longest first.
        budget: Tokens of a batch.

    Returns:
        Where each batch starts and ends, and the places of the texts that are in none.
    """
    equal: list[tuple[int, int]] = []
    left_over = np.ones(len(lengths), np.bool_)
    starts: list[int] = np.flatnonzero(np.diff(lengths, prepend=-1)).tolist()
    for start, end in itertools.pairwise([*starts, len(lengths)]):
        full = max(1, budget // int(lengths[start]))
        for first in range(start, end - full + 1, full):
            equal.append((first, first + full))
            left_over[first : first + full] = False
    return equal, np.flatnonzero(left_over)


def split(batch: TokenBatch, budget: int) -> list[TokenBatch]:
    """Cut a batch, longest first as `token_batches` made it, into batches within `budget`.

    Each is as wide as its own longest text; one text is never cut.
    """
    parts: list[TokenBatch] = []
    start = 0
    while start < len(batch.rows):
        width = int(batch.lengths[start])
        end = start + max(1, budget // width)
        parts.append(
            TokenBatch(
                rows=batch.rows[start:end],
                lengths=batch.lengths[start:end],
                input_ids=np.ascontiguousarray(batch.input_ids[start:end, :width]),
                attention_mask=np.ascontiguousarray(batch.attention_mask[start:end, :width]),
            )
        )
        start = end
    return parts


def _padded(
    ids: Sequence[NDArray[np.int32]],
    rows: NDArray[np.int64],
    lengths: NDArray[np.int64],
    pad_id: int,
) -> TokenBatch:
    width = int(lengths[0])
    input_ids = np.full((len(ids), width), pad_id, np.int64)
    for row, tokens in enumerate(ids):
        input_ids[row, : len(tokens)] = tokens
    mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
    return TokenBatch(rows=rows, lengths=lengths, input_ids=input_ids, attention_mask=mask)
