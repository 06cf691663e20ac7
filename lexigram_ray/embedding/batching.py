"""Which texts run together: equal ones once, longest first, by a budget of tokens. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Texts tokenised at a time: enough to sort by length, little enough to hold in memory.
WINDOW_TEXTS = 2048


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


def windows(texts: Sequence[str], size: int = WINDOW_TEXTS) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of texts by windows, longest texts (in characters) first."""
    order = np.argsort([-len(text) for text in texts], kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size].astype(np.int64)


def token_batches(
    ids: Sequence[NDArray[np.int32]], rows: NDArray[np.int64], *, budget: int, pad_id: int
) -> Iterator[TokenBatch]:
    """Yield batches, longest first, of at most `budget` tokens with their padding.

    A text that is longer than the budget is a batch of its own.

    Args:
        ids: The texts' tokens, none of them empty.
        rows: The texts' positions, in the same order.
        budget: Tokens of a batch.
        pad_id: Fills the shorter rows.
    """
    lengths = np.array([len(tokens) for tokens in ids], np.int64)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        chosen = order[start : start + max(1, budget // longest)]
        start += len(chosen)
        yield _padded([ids[i] for i in chosen], rows[chosen], lengths[chosen], pad_id)


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
