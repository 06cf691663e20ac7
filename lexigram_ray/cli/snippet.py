"""The part of a passage that a person wants to see under a hit."""

from __future__ import annotations

import re

SNIPPET_CHARACTERS = 300
WORD = re.compile(r"\w+")
SPACES = re.compile(r"\s+")
ELLIPSIS = "…"


def query_words(query: str) -> frozenset[str]:
    """Return the words of a query that are worth looking for, in lower case."""
    words = [word.lower() for word in WORD.findall(query)]
    return frozenset(word for word in words if len(word) > 2) or frozenset(words)


def make_snippet(text: str, words: frozenset[str], width: int = SNIPPET_CHARACTERS) -> str:
    """Return about `width` characters of `text` where the most different words stand.

    White space becomes single blanks; cut ends are marked with an ellipsis.
    """
    flat = SPACES.sub(" ", text).strip()
    if len(flat) <= width:
        return flat
    start = _best_start(flat, words, width)
    end = min(len(flat), start + width)
    if end < len(flat):
        space = flat.rfind(" ", start + width // 2, end)
        end = space if space > 0 else end
    before = ELLIPSIS if start else ""
    after = ELLIPSIS if end < len(flat) else ""
    return f"{before}{flat[start:end].strip()}{after}"


def find_words(text: str, words: frozenset[str]) -> list[tuple[int, int]]:
    """Return where words of the query, or words that begin with one, stand in `text`."""
    return [match.span() for match in WORD.finditer(text) if _matches(match[0].lower(), words)]


def _best_start(flat: str, words: frozenset[str], width: int) -> int:
    spans = find_words(flat, words)
    if not spans:
        return 0
    lead = width // 6

    def different_words_from(index: int) -> int:
        first = spans[index][0]
        inside = (flat[start:end] for start, end in spans[index:] if end <= first + width - lead)
        return len({word.lower() for word in inside})

    best = max(range(len(spans)), key=lambda index: (different_words_from(index), -index))
    start = max(0, min(spans[best][0] - lead, len(flat) - width))
    space = flat.find(" ", start, spans[best][0])
    return space + 1 if start and space >= 0 else start


def _matches(word: str, words: frozenset[str]) -> bool:
    return word in words or any(len(stem) > 3 and word.startswith(stem) for stem in words)
