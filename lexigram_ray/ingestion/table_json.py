"""Tables in JSON: an object a line, or an array of objects. A broken one costs itself only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lexigram_ray.ingestion.table_columns import chosen_id, reading
from lexigram_ray.ingestion.table_objects import Unreadable, object_rows
from lexigram_ray.ingestion.table_rows import TextRows, Wanted
from lexigram_ray.ingestion.table_text import LONGEST_LINE, text_blocks, text_lines

_OBJECTS_LOOKED_AT = 1_000
_LINES_LOOKED_AT = 20
# Arrays that follow each other are one.
_BETWEEN = re.compile(r"[ \t\r\n,\[\]]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]"]', re.S)
_NEXT_MEMBER = re.compile(r"\}\s*,\s*(?=\{)")
_NEXT_OBJECT = re.compile(r",\s*(?=\{)")
_CLOSING = {"{": "}", "[": "]"}
_LONGEST_BROKEN = 1 << 20
# An escape or a word that is cut in two fails before the end of the text.
_LONGEST_TOKEN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonTable:
    """A file of JSON objects.

    Attributes:
        array: Whether they stand in an array, or spread over several lines each.
    """

    path: Path
    source: str
    text_column: str
    id_column: str | None
    array: bool

    def rows(self) -> Iterator[TextRows]:
        """Read the rows; see `TextTable`."""
        with reading(self.source):
            yield from object_rows(_values(self.path, self.array), self.text_column, self.id_column)


def json_table(path: Path, head: str, wanted: Wanted) -> JsonTable:
    """Open a file of JSON.

    Args:
        path: It may be packed.
        head: Its first characters, unpacked and decoded.
        wanted: Its name and columns.

    Raises:
        UsageError: None of its first objects has the text column, or the id column.
    """
    array = _is_array(head)
    with reading(wanted.source):
        first = list(islice(_values(path, array), _OBJECTS_LOOKED_AT))
    names = dict.fromkeys(name for value in first if isinstance(value, dict) for name in value)
    return JsonTable(
        path=path,
        source=wanted.source,
        text_column=wanted.text_column,
        id_column=chosen_id(wanted, list(names)),
        array=array,
    )


def _is_array(head: str) -> bool:
    """Whether what begins so is to be read member by member, not line by line."""
    if head.lstrip().startswith("["):
        return True
    lines = [line for line in head.split("\n")[:_LINES_LOOKED_AT] if line.strip()]
    return not any(isinstance(_value(line.strip()), dict) for line in lines)


def _values(path: Path, array: bool) -> Iterator[object]:
    return _array_values(path) if array else _line_values(path)


def _line_values(path: Path) -> Iterator[object]:
    for line in text_lines(path):
        if line is None:
            yield Unreadable(reason=f"its line is longer than {LONGEST_LINE >> 20} MB")
        elif stripped := line.strip(" \t\r\n\0"):
            yield _value(stripped)


def _value(text: str) -> object:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        return Unreadable(reason="it is nested too deep to be read")
    except ValueError as error:
        return Unreadable(reason=f"it is not JSON: {_why(error)}")


def _why(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    return str(error)[:200]


def _array_values(path: Path) -> Iterator[object]:
    """Yield the members of an array, or objects that follow each other.

    The text is held from the member at hand on.
    """
    window = _Window(text_blocks(path))
    while window.skip_to_member():
        yield window.member()


class _Window:
    """The part of a text that is being read; it begins a little before `place`."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._ended = False
        self._gap = ""
        self.text = ""
        self.place = 0

    def skip_to_member(self) -> bool:
        """Go to the next member; False where there is none."""
        self._gap = ""
        while True:
            match = _BETWEEN.match(self.text, self.place)
            if match:
                self._gap += match.group()
                self.place = match.end()
            if self.place < len(self.text):
                return True
            if not self._grow():
                return False

    def member(self) -> object:
        """Read what begins here; an `Unreadable` where it is broken."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.place)
            except RecursionError:
                return self._broken("it is nested too deep to be read")
            except json.JSONDecodeError as error:
                if not (self._may_go_on(error) and self._grow()):
                    return self._broken(f"it is not JSON: {error.msg}")
            except ValueError as error:
                return self._broken(str(error)[:200])
            else:
                # A number may go on in the next block.
                if end < len(self.text) or not self._grow():
                    self.place = end
                    return value

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        if len(self.text) - self.place > LONGEST_LINE:
            return False
        near_end = error.pos >= len(self.text) - _LONGEST_TOKEN
        return near_end or error.msg.startswith("Unterminated string")

    def _broken(self, reason: str) -> Unreadable:
        """Go to where the next member seems to begin."""
        indent = self._gap.rpartition("\n")[2] if "\n" in self._gap else None
        if indent is None or indent.strip():
            told_apart = self._skip_in_line()
            reason = reason if told_apart else f"{reason}, and what follows it cannot be told apart"
        else:
            self._skip_to(f"\n{indent}{{")
        return Unreadable(reason=reason)

    def _skip_to(self, start: str) -> None:
        # Members that begin a line do so with the same indentation, and nothing else does.
        position = self.place + 1
        while (found := self.text.find(start, position)) < 0:
            self.place = max(self.place, len(self.text) - len(start))
            if not self._grow():
                self.place = len(self.text)
                return
            position = 0
        self.place = found

    def _skip_in_line(self) -> bool:
        """Go to the end of a member that shares its line with others; False where none shows."""
        while len(self.text) - self.place < _LONGEST_BROKEN and self._grow():
            pass
        end = _balanced_end(self.text, self.place)
        if end is None:
            # What begins with no bracket is over at the next object, not at that one's end.
            start = _NEXT_MEMBER if self.text[self.place] in _CLOSING else _NEXT_OBJECT
            found = start.search(self.text, self.place)
            end = found.end() if found else None
        if end is not None:
            self.place = end
            return True
        alone = "{" not in self.text[self.place + 1 :]
        self.place = len(self.text)
        return alone

    def _grow(self) -> bool:
        """Read as much again as is held, so that a large member is not parsed for each block."""
        if self._ended:
            return False
        parts = [self.text[self.place :]]
        wanted = len(parts[0])
        while wanted >= 0:
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                break
            parts.append(block)
            wanted -= max(len(block), 1)
        self.text, self.place = "".join(parts), 0
        return len(parts) > 1


def _balanced_end(text: str, place: int) -> int | None:
    """Return where the brackets that open at a place are closed; None where they tell nothing.

    A quote too few turns texts and what is between them about, so that a text seems to hold the
    end of a member; a bracket too few shows by one of the other kind.
    """
    closing: list[str] = []
    for match in _TOKEN.finditer(text, place):
        token = match.group()
        if not closing and (match.start() != place or token not in _CLOSING):
            return None
        if token in _CLOSING:
            closing.append(_CLOSING[token])
        elif token.startswith('"'):
            if len(token) == 1 or _NEXT_MEMBER.search(token):
                return None
        elif closing.pop() != token:
            return None
        elif not closing:
            return match.end()
    return None


def _no_number(name: str) -> None:
    """Stand in for NaN and infinities, which JSON does not have."""


# Tabs and line ends within texts are wrong, but mean nothing else.
_DECODER = json.JSONDecoder(parse_constant=_no_number, strict=False)
