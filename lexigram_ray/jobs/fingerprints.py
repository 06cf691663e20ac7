"""Which failures have the same cause: a hash over what their errors say once all particulars go."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from lexigram_ray.core.ids import hash_text

_DIGITS = 16
_MOST_CHARACTERS = 2_000
"""Of an error: what follows is most often the data that it quotes."""

_PARTICULARS = tuple(
    re.compile(pattern)
    for pattern in (
        # URLs, `file://` ones among them.
        r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]}]+",
        # Quoted texts. The quote of "can't" has a letter on both sides.
        r"(?<!\w)'[^'\n]*'(?!\w)",
        r'"[^"\n]*"',
        r"`[^`\n]*`",
        r"“[^”\n]*”|«[^»\n]*»",
        # Paths, of Windows too.
        r"(?<![\w.])(?:~|\.{1,2}|[a-z]:)?(?:[/\\][^\s/\\:,;()\[\]'\"]+)+[/\\]?",
        # Times: 2024-05-01T10:20:30.5Z, 10:20:30.
        r"\b\d{4}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?)?",
        r"\b\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\b",
        # UUIDs, addresses, hashes: with digits and letters, so that no word or number is one.
        r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
        r"\b0x[0-9a-f]+\b",
        r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}\b",
        # Numbers, with their signs, thousands and parts, inside of words too.
        r"[-+]?\d+(?:[.,_]\d+)*%?",
    )
)


def fingerprint(code: str, error_type: str, error: str, *, known: Iterable[str] = ()) -> str:
    """Return 16 hex digits, equal for errors that differ in nothing but their particulars.

    Numbers, hex, quoted texts, paths, URLs and times do not count; nor does how words are spaced,
    or whether they are in capitals.

    Args:
        code: Of the failure.
        error_type: The exception's class, where there was one.
        error: In words.
        known: Names that may stand in the error, such as the document's; they do not count either.
    """
    return hash_text("\n".join((code, error_type, skeleton(error, known=known))))[:_DIGITS]


def skeleton(error: str, *, known: Iterable[str] = ()) -> str:
    """Return what is left of an error's words without particulars."""
    # Paths may hold spaces: only who knows them sees where they end.
    for name in sorted({name for name in known if name}, key=len, reverse=True):
        error = error.replace(name, "#")
    return _without_particulars(error[:_MOST_CHARACTERS].lower())


# A wrong column makes a million rows fail with one error.
@lru_cache(maxsize=256)
def _without_particulars(words: str) -> str:
    for pattern in _PARTICULARS:
        words = pattern.sub("#", words)
    # A list of particulars is as good as one of them.
    return re.sub(r"#(?:[\s,;]*#)+", "#", " ".join(words.split()))
