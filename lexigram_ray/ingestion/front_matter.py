"""Front matter: the YAML or TOML block that many Markdown files begin with."""

from __future__ import annotations

import re
from typing import NamedTuple

_MOST_LINES = 100
_MOST_CHARACTERS = 20_000
_MARKS = ("---\n", "---\r\n", "+++\n", "+++\r\n")
_FIRST_KEY = re.compile(r"(?:\[{1,2}\w[\w.-]*\]{1,2}$|[\"']?\w[\w.-]*[\"']?[ \t]*(?::(?:\s|$)|=))")
_FIELD = re.compile(r"(title|description|tags|author|date)[ \t]*[:=](?:[ \t]+|$)(.*)", re.I)
_ITEM = re.compile(r"[ \t]*-[ \t]+(.*)")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_QUOTES = "\"'"


class FrontMatter(NamedTuple):
    """Where a text's front matter is; `end` 0 where it has none.

    Attributes:
        end: Offset past the closing line.
        lines: How many lines it has, with both marks.
    """

    end: int = 0
    lines: int = 0


def find(text: str) -> FrontMatter:
    """Find the front matter of a Markdown text.

    A rule begins with `---` too. It is front matter only where a key follows at once and the
    closing mark within 100 lines: what is taken for front matter is no text any more.
    """
    if not text.startswith(_MARKS):
        return FrontMatter()
    position, seen_key = 0, False
    for number, line in enumerate(text[:_MOST_CHARACTERS].splitlines(keepends=True)):
        position += len(line)
        content = line.rstrip()
        if number > _MOST_LINES or (number == 1 and not content):
            break
        if number and content in (text[:3], "..."):
            return FrontMatter(position, number + 1) if seen_key else FrontMatter()
        if number and content and not seen_key and not content.startswith("#"):
            if not _FIRST_KEY.match(content):
                break
            seen_key = True
    return FrontMatter()


def fields(block: str) -> dict[str, object]:
    """Return the simple fields of a front matter: title, description, tags, author and date.

    Args:
        block: The text up to `FrontMatter.end`.

    Returns:
        By lower-case name: text, or a list of texts. Anything nested deeper is left out.
    """
    lines = block.split("\n")
    found: dict[str, object] = {}
    for number, line in enumerate(lines):
        match = _FIELD.match(line)
        if match:
            value = _value(match[2].strip(), lines[number + 1 :])
            if value:
                found.setdefault(match[1].lower(), value)
    return found


def _value(written: str, below: list[str]) -> str | list[str]:
    if written.startswith("[") and written.rstrip(",").endswith("]"):
        items = written.rstrip(",")[1:-1].split(",")
        return [item for item in map(_bare, items) if item]
    if written and written.rstrip("+-") not in (">", "|"):
        return _bare(written)
    if not written and below and _ITEM.match(below[0]):
        return _items(below)
    return " ".join(_indented(below))


def _items(below: list[str]) -> list[str]:
    items: list[str] = []
    for line in below:
        match = _ITEM.match(line)
        if not match:
            break
        items.append(_bare(match[1]))
    return items


def _indented(below: list[str]) -> list[str]:
    kept: list[str] = []
    for line in below:
        if line.strip() and not line.startswith((" ", "\t")):
            break
        kept.append(line.strip())
    return [line for line in kept if line]


def _bare(value: str) -> str:
    value = value.strip()
    if value[:1] and value[0] in _QUOTES:
        end = value.find(value[0], 1)
        return value[1:end] if end > 0 else value[1:]
    return _COMMENT.sub("", value).strip()
