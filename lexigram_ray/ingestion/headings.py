"""The heading path above a place in a Markdown text."""

from __future__ import annotations

import html
import re
from bisect import bisect_right

_LONGEST_TITLE = 200

_TITLE_WITHIN = 20_000
_FIRST_HEADING = re.compile(r"#{1,6}\s+(.*)$")
_BADGE = re.compile(r"\[!\[[^\[\]]*\]\([^()]*\)\]\([^()]*\)|!\[[^\[\]]*\]\([^()]*\)")
_IMAGE_OR_LINK = re.compile(
    r"!?\[((?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\](?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\[\]]*\])"
)
_AUTOLINK = re.compile(r"<((?:https?|mailto|ftp):[^<>\s]*)>")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_EMPHASIS = re.compile(
    r"(?<![\\\w])(\*{1,3}|_{1,3}|~~)(?=\S)(.+?)(?<=\S)(?<!\\)\1(?!\w)", re.DOTALL
)
_STARS = re.compile(r"(?<!\\)(\*{1,3})(?=\S)(.+?)(?<=\S)(?<!\\)\1", re.DOTALL)
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_ATTRIBUTES = re.compile(r"\s*\{[#.][^{}]*\}\s*$")
_CLOSING_MARKS = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")


class HeadingTrail:
    """Remembers heading paths by offset while a text is read from start to end."""

    def __init__(self) -> None:
        self._stack: list[tuple[int, str]] = []
        self._offsets: list[int] = []
        self._paths: list[tuple[str, ...]] = []

    def enter(self, offset: int, level: int, title: str) -> None:
        """Note that a heading begins at `offset`; it ends those of its level and deeper."""
        while self._stack and self._stack[-1][0] >= level:
            self._stack.pop()
        self._stack.append((level, title))
        self._offsets.append(offset)
        self._paths.append(tuple(title for _, title in self._stack if title))

    def at(self, offset: int) -> tuple[str, ...]:
        """Return the path at `offset`, outermost first."""
        position = bisect_right(self._offsets, offset)
        return self._paths[position - 1] if position else ()

    def forget_before(self, offset: int) -> None:
        """Drop what no place at or after `offset` needs, so that memory stays flat."""
        unneeded = bisect_right(self._offsets, offset) - 1
        if unneeded > 0:
            del self._offsets[:unneeded]
            del self._paths[:unneeded]


def first_title(markdown: str) -> str:
    """Return the first heading near the beginning of Markdown; empty where there is none."""
    in_code = False
    for line in markdown[:_TITLE_WITHIN].split("\n"):
        if line.lstrip().startswith(("```", "~~~")):
            in_code = not in_code
        elif not in_code and (match := _FIRST_HEADING.match(line)):
            return clean_title(_BADGE.sub("", match[1]), closing_marks=True)
    return ""


def clean_title(marked: str, *, closing_marks: bool) -> str:
    """Return a heading's text without Markdown marks, on one line, 200 characters at most.

    Args:
        marked: The heading's content, without its leading `#`s or its underline.
        closing_marks: Whether trailing `#`s belong to the marks, as in ATX headings.
    """
    title = marked[: _LONGEST_TITLE * 10].strip()
    if closing_marks:
        title = _CLOSING_MARKS.sub("", title)
    title = _ATTRIBUTES.sub("", title)
    # Code is taken out first and put back last: marks in it are text.
    codes: list[str] = []

    def hide(match: re.Match[str]) -> str:
        codes.append(match.group(2).strip())
        return f"\x00{len(codes) - 1}\x00"

    title = _CODE.sub(hide, title)
    title = _IMAGE_OR_LINK.sub(r"\1", _IMAGE_OR_LINK.sub(r"\1", title))
    title = _TAG.sub("", _AUTOLINK.sub(r"\1", title))
    title = _STARS.sub(r"\2", _EMPHASIS.sub(r"\2", _EMPHASIS.sub(r"\2", title)))
    title = html.unescape(_ESCAPE.sub(r"\1", title))
    title = re.sub(r"\x00(\d+)\x00", lambda match: codes[int(match.group(1))], title)
    title = " ".join(title.split())
    return title if len(title) <= _LONGEST_TITLE else title[: _LONGEST_TITLE - 1].rstrip() + "…"
