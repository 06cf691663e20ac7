"""Markdown's fenced code, told from the prose around it."""

from __future__ import annotations

import re
from collections.abc import Callable

# In lists and quotations a fence is indented, or stands right after the bullet.
_CODE = re.compile(
    r"^[ \t>]*(?:(?:[-*+]|\d+[.)])[ \t]+)*(?P<fence>`{3,})[^`\n]*\n"
    r"(?:.*?\n)??[ \t>]*(?P=fence)`*[ \t]*$",
    re.M | re.S,
)


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Apply `change` to the text between fenced code blocks and leave the code as it is."""
    parts: list[str] = []
    position = 0
    for code in _CODE.finditer(markdown):
        parts += [change(markdown[position : code.start()]), code[0]]
        position = code.end()
    parts.append(change(markdown[position:]))
    return "".join(parts)
