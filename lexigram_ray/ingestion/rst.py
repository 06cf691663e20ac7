"""reStructuredText to Markdown, keeping every word.

Converters that know docutils' directives only drop what stands under the others: under Sphinx's
`function` and `class`, that is most of a reference manual. Here structure is translated where
Markdown has a counterpart (titles, roles, links, admonitions); the rest stays as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1+\s*$")
_DIRECTIVE = re.compile(r"(\s*)\.\. +(?:\|[^|]+\| +)?([\w:.-]+)::\s*(.*)$")
_EXPLICIT = re.compile(r"\.\.( |$)")
_OPTION = re.compile(r"\s+:[\w -]+:( .*)?$")
_STANDARD = re.compile(r":(rfc|pep):`(\d+)`", re.I)
_ROLE = re.compile(r":[\w:+.-]+:`~?!?([^`]{1,500}?)(?:\s+<[^`]{1,500}>)?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^>`]+>`__?")
_REFERENCE = re.compile(r"`(?!\s)([^`]+)(?<!\s)`__?(?!\w)")
_FOOTNOTE_MARK = re.compile(r" ?\[#?[\w-]*\]_(?!\w)")
_DOUBLE_COLON = re.compile(r"(\S)?[ \t]*::$", re.M)
_LITERAL = re.compile(r"``(.+?)``(?!`)")
_HIDDEN = re.compile(r"\x00(\d+)\x00")
_SILENT = frozenset(
    {
        "index", "module", "currentmodule", "moduleauthor", "sectionauthor", "highlight", "toctree",
        "contents", "raw", "include", "literalinclude", "testsetup", "testcleanup",
        "default-role", "role", "py:module", "py:currentmodule", "tabularcolumns", "meta",
    }
)  # fmt: skip
_PICTURES = frozenset({"image", "figure"})
_ADMONITIONS = frozenset(
    {"note", "warning", "tip", "caution", "important", "danger", "hint", "attention", "seealso"}
)


def convert(text: str) -> str:
    """Return the Markdown of a reStructuredText document."""
    lines = text.expandtabs(8).split("\n")
    return _inline("\n".join(_blocks(lines, _levels(lines))))


def _levels(lines: list[str]) -> dict[int, int]:
    """Map the line of each title to its level, counted in the order of the adornments."""
    styles: list[tuple[str, bool]] = []
    levels: dict[int, int] = {}
    for number in range(1, len(lines)):
        title, line = lines[number - 1], lines[number].rstrip()
        if not _is_title(title, line):
            continue
        above = lines[number - 2].rstrip() if number > 1 else ""
        over = above[:1] == line[:1] and above == line
        if above and not over:
            continue
        style = (line[0], over)
        if style not in styles:
            styles.append(style)
        levels[number - 1] = min(styles.index(style) + 1, 6)
    return levels


def _is_title(title: str, adornment: str) -> bool:
    return bool(
        title.strip()
        and _ADORNMENT.match(adornment)
        and not _ADORNMENT.match(title.rstrip())
        and len(adornment) >= min(len(title.rstrip()), 4)
        and not _EXPLICIT.match(title)
    )


def _blocks(lines: list[str], levels: dict[int, int]) -> Iterator[str]:
    hidden_below: int | None = None
    options_end = 0
    adornments = {n + 1 for n in levels} | {
        n - 1 for n in levels if n and lines[n - 1].rstrip() == lines[n + 1].rstrip()
    }
    for number, line in enumerate(lines):
        if number in adornments or number < options_end:
            continue
        if number in levels:
            hidden_below = None
            yield f"{'#' * levels[number]} {line.strip()}"
            continue
        indent = _indent(line)
        if hidden_below is not None and line.strip():
            if indent > hidden_below:
                continue
            hidden_below = None
        directive = _DIRECTIVE.match(line)
        if directive:
            name, argument = directive[2], directive[3]
            if name in _PICTURES:
                yield f"{directive[1]}{_alternative(lines, number)}"
                options_end = _options_end(lines, number)
            elif name in _SILENT:
                hidden_below = indent
            else:
                yield _opened(directive[1], name, argument)
        elif _EXPLICIT.match(line.lstrip()) and not line.lstrip().startswith((".. [", ".. |")):
            # A comment or a link target: nothing that a reader of the page would see.
            hidden_below = indent
        elif not _OPTION.match(line) or not _below_directive(lines, number):
            yield line


def _opened(indent: str, name: str, argument: str) -> str:
    if name in _ADMONITIONS:
        return f"{indent}{name.capitalize()}: {argument}".rstrip().rstrip(":") + (
            "" if argument else ":"
        )
    if name.startswith(("version", "deprecated")):
        return f"{indent}{name.replace('version', 'version ')} {argument}:"
    if name in ("code-block", "code", "sourcecode", "parsed-literal", "doctest", "only"):
        return ""
    return f"{indent}{argument}"


def _options_end(lines: list[str], directive: int) -> int:
    """Return the number of the line past a picture's options; what follows is its caption."""
    indent = _indent(lines[directive])
    number = directive + 1
    while number < len(lines) and lines[number].strip() and _indent(lines[number]) > indent:
        number += 1
    return number


def _alternative(lines: list[str], directive: int) -> str:
    """Return the words that stand for a picture where it cannot be seen."""
    options = lines[directive + 1 : _options_end(lines, directive)]
    words: list[str] = []
    in_words = False
    for line in options:
        option = _OPTION.match(line)
        if option:
            in_words = line.lstrip().lower().startswith(":alt:")
        if in_words:
            words.append(((option[1] or "") if option else line).strip())
    return " ".join(word for word in words if word)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _below_directive(lines: list[str], number: int) -> bool:
    for line in reversed(lines[max(0, number - 12) : number]):
        if not _OPTION.match(line):
            return bool(_DIRECTIVE.match(line))
    return False


def _inline(text: str) -> str:
    # Over the whole text, because a link's words and its address may stand on two lines.
    # Literals are hidden meanwhile: the marks of two would be taken for those of one reference.
    literals: list[str] = []

    def hide(match: re.Match[str]) -> str:
        marks = "``" if "`" in match[1] else "`"
        literals.append(f"{marks}{match[1]}{marks}")
        return f"\x00{len(literals) - 1}\x00"

    text = _LITERAL.sub(hide, text.replace("\x00", ""))
    text = _STANDARD.sub(lambda match: f"{match[1].upper()} {match[2]}", text)
    text = _ROLE.sub(hide, text)
    text = _LINK.sub(r"\1", text)
    text = _FOOTNOTE_MARK.sub("", text)
    text = _REFERENCE.sub(r"\1", text)
    text = _DOUBLE_COLON.sub(lambda match: f"{match[1]}:" if match[1] else "", text)
    return _HIDDEN.sub(lambda match: _shown(literals, int(match[1])), text)


def _shown(literals: list[str], number: int) -> str:
    # Between the marks of what looks like a role, a literal may be hidden.
    return _HIDDEN.sub(lambda match: literals[int(match[1])], literals[number])
