"""Which texts go together into a request, by what the server allows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

# English has four ASCII characters a token; source code and numbers come near to three.
ASCII_PER_TOKEN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """The most texts and estimated tokens of a request."""

    texts: int
    tokens: int

    def below(self, texts: int, tokens: int, reason: str) -> BatchLimits:
        """Return the limits after a request of that size was refused and its halves were not.

        Args:
            texts: How many it had.
            tokens: How many they were estimated at.
            reason: The server's words, which tell which of the two was too much.
        """
        if "token" in reason.lower():
            return replace(self, tokens=max(1, min(self.tokens, tokens // 2)))
        return replace(self, texts=max(1, min(self.texts, (texts + 1) // 2)))


def estimate_tokens(text: str) -> int:
    """Return how many tokens a text has at most, near enough, without the model's tokenizer.

    Three ASCII characters a token, and every other character a token: a third too many for
    English, about right for Chinese. Servers measure requests and budgets in tokens.
    """
    if text.isascii():
        return -(-len(text) // ASCII_PER_TOKEN)
    ascii_characters = len(text.encode("ascii", "ignore"))
    return len(text) - ascii_characters - (-ascii_characters // ASCII_PER_TOKEN)


def cut(text: str, tokens: int) -> str:
    """Return the longest head of a text that is estimated at no more than `tokens`."""
    if text.isascii():
        return text[: tokens * ASCII_PER_TOKEN]
    low, high = 0, min(len(text), tokens * ASCII_PER_TOKEN)
    while low < high:
        middle = (low + high + 1) // 2
        if estimate_tokens(text[:middle]) <= tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def pack(
    rows: Sequence[int], tokens: Sequence[int], limits: BatchLimits
) -> Iterator[Sequence[int]]:
    """Yield rows in order, as many at a time as the limits allow.

    A text above the limit of tokens is a request of its own.

    Args:
        rows: Positions of texts.
        tokens: Each text's estimate, by its position.
        limits: Of a request.
    """
    start, held = 0, 0
    for end, row in enumerate(rows):
        full = end - start >= limits.texts or held + tokens[row] > limits.tokens
        if full and end > start:
            yield rows[start:end]
            start, held = end, 0
        held += tokens[row]
    if start < len(rows):
        yield rows[start:]
