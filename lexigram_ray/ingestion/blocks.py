"""A text read as a stream of blocks: headings, paragraphs, list items, code and tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from lexigram_ray.ingestion import front_matter
from lexigram_ray.ingestion.headings import clean_title

_SETEXT_CHARACTERS = 1000
_PLAIN_TITLE_CHARACTERS = 300

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$", re.DOTALL)
_CONTAINERS = r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]?)*"
_FENCE = re.compile(_CONTAINERS + r"(?:(`{3,})[^`]*|(~{3,}).*)$", re.DOTALL)
_RULE = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)")
_CODE_INDENT = re.compile(r"(?: {4}| {0,3}\t)")
_UNDERLINE = re.compile(r"([=\-~^\"*+#`:.'_])\1{2,}$")

# HTML blocks: what opens one, and what ends it (None: a blank line).
_HTML: tuple[tuple[re.Pattern[str], re.Pattern[str] | None], ...] = (
    (
        re.compile(r" {0,3}<(?:script|pre|style|textarea)(?:[\s>]|$)", re.IGNORECASE),
        re.compile(r"</(?:script|pre|style|textarea)>", re.IGNORECASE),
    ),
    (re.compile(r" {0,3}<!--"), re.compile(r"-->")),
    (re.compile(r" {0,3}<\?"), re.compile(r"\?>")),
    (re.compile(r" {0,3}<!\[CDATA\["), re.compile(r"\]\]>")),
    (re.compile(r" {0,3}<![A-Za-z]"), re.compile(r">")),
    (
        re.compile(
            r" {0,3}</?(?:address|article|aside|base|basefont|blockquote|body|caption|center|col|"
            r"colgroup|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|"
            r"frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|menuitem|"
            r"nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|"
            r"th|thead|title|tr|track|ul)(?:\s|/?>|$)",
            re.IGNORECASE,
        ),
        None,
    ),
)


class Kind(IntEnum):
    """What a line or a block is."""

    BLANK = 0
    PROSE = 1
    ITEM = 2
    CODE = 3
    TABLE = 4
    HEADING = 5
    RULE = 6
    UNDERLINE = 7
    HTML = 8


class Block(NamedTuple):
    """`text[start:end]` is one block; what lies between two blocks is blank.

    Attributes:
        start: Offset of the first line.
        end: Offset past the last line's end.
        kind: PROSE, ITEM, CODE, TABLE, HTML, HEADING or RULE.
        level: 1 to 6 for headings; 0 for others.
        title: A Markdown heading's text, cleaned.
        blanks: How many blank lines are above it.
        continues: Whether it goes on with the block before it, which was cut at the size limit.
    """

    start: int
    end: int
    kind: Kind
    level: int = 0
    title: str = ""
    blanks: int = 0
    continues: bool = False


def read_blocks(text: str, *, markdown: bool, limit: int) -> Iterator[Block]:
    """Yield the blocks of `text`, lazily and in order.

    Args:
        text: Markdown or plain text.
        markdown: Which of the two it is.
        limit: Most characters in a block. A longer one comes in several, cut at lines where it has
            lines, else at spaces.
    """
    classify = _MarkdownLines(text).classify if markdown else _classify_plain
    return _Grouping(text, classify, limit, markdown=markdown).blocks()


class _Line(NamedTuple):
    start: int
    end: int
    whole: bool


def _read_lines(text: str, limit: int) -> Iterator[_Line]:
    match = re.compile(rf"[^\r\n]{{0,{limit}}}(?:\r\n|\r|\n)?").match
    position, whole = 0, True
    while position < len(text):
        found = match(text, position)
        end = found.end() if found is not None else len(text)
        complete = end == len(text) or text[end - 1] in "\r\n"
        if not complete:
            # A line over the limit: cut at its last space, so that no word is.
            space = text.rfind(" ", position + limit // 2, end)
            end = space + 1 if space >= 0 else end
        yield _Line(position, end, whole)
        position, whole = end, complete


def _classify_plain(line: str, in_paragraph: bool) -> tuple[Kind, bool]:
    if not line or line.isspace():
        return Kind.BLANK, False
    if in_paragraph and _UNDERLINE.match(line.rstrip()):
        return Kind.UNDERLINE, False
    if _ITEM.match(line):
        return Kind.ITEM, True
    return Kind.PROSE, False


class _MarkdownLines:
    """Says what each line of a Markdown text is, as CommonMark has it for top-level blocks."""

    def __init__(self, text: str) -> None:
        self._fence = ""
        self._html_end: re.Pattern[str] | None = None
        self._in_html = False
        self._after_blank = True
        self._item_offset = 0
        self._front_matter = front_matter.find(text).lines

    def classify(self, line: str, in_paragraph: bool) -> tuple[Kind, bool]:
        """Return the line's kind, and whether it begins a block even after a line of its kind."""
        blank = not line or line.isspace()
        kind, begins = self._inside(line, blank) or self._outside(line, blank, in_paragraph)
        self._after_blank = blank
        return kind, begins

    def _inside(self, line: str, blank: bool) -> tuple[Kind, bool] | None:
        if self._front_matter:
            self._front_matter -= 1
            return Kind.CODE, False
        if self._fence:
            closing = line.strip().lstrip("> ")
            if len(closing) >= len(self._fence) and not closing.strip(self._fence[0]):
                self._fence = ""
            return Kind.CODE, False
        if self._in_html:
            if self._html_end is None:
                self._in_html = not blank
            elif self._html_end.search(line):
                self._in_html = False
            return (Kind.BLANK if blank else Kind.HTML), False
        return None

    def _outside(self, line: str, blank: bool, in_paragraph: bool) -> tuple[Kind, bool]:
        if blank:
            return Kind.BLANK, False
        bare = line.rstrip()
        first = bare.lstrip()[0]
        indent = len(bare) - len(bare.lstrip())
        if indent < self._item_offset and self._after_blank:
            self._item_offset = 0
        if first == "#" and _ATX.match(bare) and not 0 < self._item_offset <= indent:
            return Kind.HEADING, True
        if first in "=-" and in_paragraph and _SETEXT.match(bare):
            return Kind.UNDERLINE, False
        if first in "-*_" and _RULE.match(bare):
            return Kind.RULE, True
        return self._content(line, bare, first)

    def _content(self, line: str, bare: str, first: str) -> tuple[Kind, bool]:
        kind, begins = Kind.PROSE, False
        if ("`" in bare or "~" in bare) and (fence := _FENCE.match(bare)):
            self._fence = fence.group(1) or fence.group(2)
            kind, begins = Kind.CODE, True
        elif first == "<" and self._opens_html(bare):
            kind = Kind.HTML
        elif self._after_blank and _CODE_INDENT.match(line) and not _ITEM.match(line):
            kind = Kind.CODE
        elif first == "|":
            kind = Kind.TABLE
        elif item := _ITEM.match(line):
            # A heading indented as far as the item's text is part of the item.
            self._item_offset = item.end()
            kind, begins = Kind.ITEM, True
        return kind, begins

    def _opens_html(self, line: str) -> bool:
        for opening, ending in _HTML:
            if opening.match(line):
                self._html_end = ending
                self._in_html = ending is None or not ending.search(line, len("<!--"))
                return True
        return False


class _Grouping:
    """Joins lines into blocks."""

    def __init__(
        self,
        text: str,
        classify: Callable[[str, bool], tuple[Kind, bool]],
        limit: int,
        *,
        markdown: bool,
    ) -> None:
        self._text = text
        self._classify = classify
        self._limit = limit
        self._markdown = markdown
        self._open: Block | None = None
        self._blanks = 0

    def blocks(self) -> Iterator[Block]:
        text = self._text
        kind = Kind.BLANK
        for start, end, whole in _read_lines(text, self._limit):
            begins = False
            if whole:
                kind, begins = self._classify(text[start:end], self._in_paragraph)
            elif kind in (Kind.HEADING, Kind.UNDERLINE, Kind.RULE):
                kind = Kind.PROSE
            if kind == Kind.BLANK or (not whole and text[start:end].isspace()):
                yield from self._close()
                self._blanks += 1
            elif kind == Kind.UNDERLINE:
                yield from self._underline(start, end)
            elif kind == Kind.HEADING:
                yield from self._close()
                yield self._atx(start, end)
            else:
                yield from self._add(Block(start, end, kind), begins=begins, whole=whole)
        yield from self._close()

    @property
    def _in_paragraph(self) -> bool:
        return (
            self._open is not None
            and self._open.kind == Kind.PROSE
            and not self._open.continues
            and self._open.end - self._open.start <= _SETEXT_CHARACTERS
        )

    def _close(self) -> Iterator[Block]:
        if self._open is not None:
            yield self._open
            self._open = None
            self._blanks = 0

    def _add(self, line: Block, *, begins: bool, whole: bool) -> Iterator[Block]:
        block = self._open
        if block is None:
            self._open = line._replace(blanks=self._blanks, continues=not whole)
        elif whole and (begins or not _goes_on(block.kind, line.kind)):
            yield from self._close()
            self._open = line
        elif line.end - block.start > self._limit:
            yield from self._close()
            self._open = line._replace(kind=block.kind, continues=True)
        else:
            self._open = block._replace(end=line.end)

    def _underline(self, start: int, end: int) -> Iterator[Block]:
        block = self._open
        if block is None:
            return
        mark = self._text[start:end].strip()
        if self._markdown:
            marked = self._text[block.start : start]
            level = 1 if mark[0] == "=" else 2
            self._open = block._replace(
                end=end,
                kind=Kind.HEADING,
                level=level,
                title=clean_title(marked, closing_marks=False),
            )
        elif end - block.start > _PLAIN_TITLE_CHARACTERS:
            self._open = block._replace(end=end)
        else:
            # In plain text (RST, release notes) it marks a good place to cut, no more than that.
            self._open = block._replace(end=end, kind=Kind.HEADING, level=3)
        yield from self._close()

    def _atx(self, start: int, end: int) -> Block:
        match = _ATX.match(self._text[start:end].rstrip())
        marks, content = match.groups() if match is not None else ("#", "")
        blanks, self._blanks = self._blanks, 0
        title = clean_title(content or "", closing_marks=True)
        return Block(start, end, Kind.HEADING, len(marks), title, blanks)


def _goes_on(block: Kind, line: Kind) -> bool:
    if line == Kind.PROSE:
        return block in (Kind.PROSE, Kind.ITEM)
    return block == line and line in (Kind.CODE, Kind.TABLE, Kind.HTML)
