"""Where to cut: atoms with a price on each boundary, and the cheapest way to pack them."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from lexigram_ray.ingestion.blocks import Block, Kind
from lexigram_ray.ingestion.tokens import SEPARATORS

# What it costs to cut at a boundary; a chunk more costs 1.
_HEADING: Final = 0.02
_GAP: Final = 0.15
_BLOCK: Final = 0.3
_ITEM: Final = 0.4
_ROW: Final = 0.6
_SENTENCE: Final = 0.8
_LINE: Final = 1.5
_ROW_OF_WHAT_FITS: Final = 2.0
_WORD: Final = 2.0
_INSIDE_WORD: Final = 4.0
# On top of the boundary's own cost:
_AFTER_HEADING: Final = 3.0
_BETWEEN_HEADINGS: Final = 2.0
_ENTERING_A_SECTION: Final = 1.2
_SMALL: Final = 0.5
_JITTER: Final = 0.25
_ANCHOR: Final = -1.2
_ANCHOR_EVERY: Final = 128

_IN_ROWS = (Kind.CODE, Kind.TABLE, Kind.HTML)
_LETTER = re.compile(r"[^\W_]")
_BREAK = re.compile(
    r"(?<!\b\w)[.!?…]+[\"'”’»)\]]*[ \t]+(?=[^a-z\s])|[。！？｡]+[」』”’）]*|\r\n|\r|\n"
)
_NEWLINE = re.compile(r"\r\n|\r|\n")
_WORD_START = re.compile(r"(?<=[ \t\n\r\u00a0\u3000])(?=[^ \t\n\r\u00a0\u3000])")
_SENTENCE_END = (".", "!", "?", ":", ";", "…", "。", "！", "？")


class Atom(NamedTuple):
    """A piece that packing never cuts.

    Attributes:
        start: Offset of its first character.
        end: Offset past its last one.
        size: Its tokens or characters.
        cost: What a cut before it costs.
        heading: Level of the heading that it begins with, else 0.
    """

    start: int
    end: int
    size: int
    cost: float
    heading: int


class Limits(NamedTuple):
    """How much fits into a chunk: `size` in tokens or characters, `span` in characters."""

    size: int
    span: int


def cut_into_atoms(
    text: str, blocks: Iterator[Block], measure: Callable[[str], int], limits: Limits
) -> Iterator[Atom]:
    """Yield the atoms of a text's blocks, in order; each fits into `limits`.

    Small neighbours come as one, and so does what holds no letter or digit (a rule, a fence's end,
    a table's second line) with the neighbour that it belongs to.
    """
    return _joined(text, _Cutter(text, measure, limits).atoms(blocks), limits)


def pack(atoms: Sequence[Atom], limits: Limits) -> list[int]:
    """Return the ends of chunks, as indexes past their last atoms, at the least total cost.

    Each choice depends only on what follows it, so that two texts with the same rest are cut alike
    from their first common boundary on.
    """
    count = len(atoms)
    starts = [atom.start for atom in atoms]
    ends = [atom.end for atom in atoms]
    before = _running_sizes(atoms)
    cuts = [atom.cost for atom in atoms] + [0.0]
    sections = _sections(atoms)
    small = limits.size // 4 or 1
    best = [0.0] * (count + 1)
    choice = [count] * (count + 1)
    for first in range(count - 1, -1, -1):
        base, start = before[first], starts[first]
        lowest = math.inf
        for after in range(first + 1, count + 1):
            size = before[after] - base
            if (size > limits.size or ends[after - 1] - start > limits.span) and after > first + 1:
                break
            cost = best[after] + cuts[after]
            if size < small:
                cost += _SMALL * (1 - size / small)
            if sections[after] > first:
                cost += _ENTERING_A_SECTION
            if cost <= lowest:
                lowest, choice[first] = cost, after
        best[first] = lowest + 1
    return _follow(choice, count)


def _running_sizes(atoms: Sequence[Atom]) -> list[int]:
    sizes = [0]
    for atom in atoms:
        sizes.append(sizes[-1] + atom.size)
    return sizes


def _sections(atoms: Sequence[Atom]) -> list[int]:
    # For a cut before atom `i` that splits a section: the section's first atom; else -1.
    sections, begin = [-1], 0
    for index, atom in enumerate(atoms):
        if atom.heading and not (index and atoms[index - 1].heading and atom.cost >= 1):
            begin = index
        following = atoms[index + 1] if index + 1 < len(atoms) else None
        sections.append(-1 if following is None or following.heading else begin)
    return sections


def _follow(choice: list[int], count: int) -> list[int]:
    ends: list[int] = []
    position = 0
    while position < count:
        position = choice[position]
        ends.append(position)
    return ends


class _Cutter:
    """Cuts blocks into atoms: a small block is one, a large one becomes lines, sentences, words."""

    def __init__(self, text: str, measure: Callable[[str], int], limits: Limits) -> None:
        self._text = text
        self._measure = measure
        self._limits = limits
        self._whole = Limits(max(1, limits.size // 4), max(1, limits.span // 4))

    def atoms(self, blocks: Iterator[Block]) -> Iterator[Atom]:
        under_heading = False
        for block in blocks:
            cost = self._cost_before(block, under_heading=under_heading)
            yield from self._block(block, cost)
            under_heading = block.kind == Kind.HEADING

    def _cost_before(self, block: Block, *, under_heading: bool) -> float:
        if block.kind == Kind.HEADING:
            return _HEADING * block.level + (_BETWEEN_HEADINGS if under_heading else 0.0)
        if block.continues:
            return self._cost_of_going_on(block)
        gap = _ITEM if not block.blanks else _BLOCK if block.blanks == 1 else _GAP
        return gap + self._jitter(block.start) + (_AFTER_HEADING if under_heading else 0.0)

    def _cost_of_going_on(self, block: Block) -> float:
        before = self._text[block.start - 1]
        if before in "\r\n":
            return _ROW if block.kind in _IN_ROWS else _LINE
        return _WORD if before in SEPARATORS else _INSIDE_WORD

    def _jitter(self, start: int) -> float:
        # What stands at a place, not how far it is from the start, decides between equal places
        # and makes one in 128 an anchor: an edit moves the cuts near it and leaves the others.
        lot = zlib.crc32(self._text[start : start + 48].encode())
        return _ANCHOR if lot % _ANCHOR_EVERY == 0 else _JITTER * (lot >> 24) / 255

    def _block(self, block: Block, cost: float) -> Iterator[Atom]:
        start, end = block.start, block.end
        size = self._measure(self._text[start:end])
        if self._fits(start, end, size, self._whole):
            yield Atom(start, end, size, cost, block.level)
            return
        fits = not block.continues and self._fits(start, end, size, self._limits)
        if block.kind == Kind.HEADING and fits:
            yield Atom(start, end, size, cost, block.level)
            return
        level = block.level
        for piece_start, piece_end, piece_cost in self._pieces(block, cost, fits=fits):
            yield from self._piece(piece_start, piece_end, piece_cost, level)
            level = 0

    def _fits(self, start: int, end: int, size: int, limits: Limits) -> bool:
        return size <= limits.size and end - start <= limits.span

    def _pieces(self, block: Block, cost: float, *, fits: bool) -> Iterator[tuple[int, int, float]]:
        text, start = self._text, block.start
        rows = block.kind in _IN_ROWS
        row_cost = _ROW_OF_WHAT_FITS if fits else _ROW
        breaks = _NEWLINE if rows else _BREAK
        for match in breaks.finditer(text, block.start, block.end):
            cut = match.end()
            if cut >= block.end:
                break
            yield start, cut, cost
            start = cut
            if rows:
                cost = row_cost
            elif match.group()[0] in "\r\n" and not text.endswith(_SENTENCE_END, 0, match.start()):
                cost = _LINE
            else:
                cost = _SENTENCE
            cost += self._jitter(cut) if not fits else 0.0
        yield start, block.end, cost

    def _piece(self, start: int, end: int, cost: float, level: int) -> Iterator[Atom]:
        size = self._measure(self._text[start:end])
        if self._fits(start, end, size, self._limits):
            yield Atom(start, end, size, cost, level)
            return
        for word_start, word_end in self._word_runs(start, end):
            size = self._measure(self._text[word_start:word_end])
            if self._fits(word_start, word_end, size, self._whole):
                yield Atom(word_start, word_end, size, cost, level)
                level = 0
            else:
                yield from self._unspaced(word_start, word_end, cost, level)
            level, cost = 0, _WORD

    def _word_runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        # Some words at a time: an atom a word would make packing slow.
        step = max(1, self._whole.size // 2)
        begin = start
        for match in _WORD_START.finditer(self._text, start, end):
            if match.start() - begin >= step:
                yield begin, match.start()
                begin = match.start()
        yield begin, end

    def _unspaced(self, start: int, end: int, cost: float, level: int) -> Iterator[Atom]:
        for piece_start, piece_end in cut_unspaced(
            self._text, start, end, max(1, min(self._whole.size, self._whole.span))
        ):
            size = self._measure(self._text[piece_start:piece_end])
            yield Atom(piece_start, piece_end, size, cost, level)
            level, cost = 0, _INSIDE_WORD


def cut_unspaced(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield spans of at most `most` characters, cut at Unicode words, else between graphemes.

    A grapheme longer than `most` (a letter under a hundred accents) is cut between characters.
    """
    # Imported here: texts with spaces, nearly all, never need it.
    from semantic_text_splitter import TextSplitter

    splitter = TextSplitter(most, trim=False)
    for offset, piece in splitter.chunk_indices(text[start:end]):
        yield start + offset, start + offset + len(piece)


def _joined(text: str, atoms: Iterator[Atom], limits: Limits) -> Iterator[Atom]:
    tiny = limits.size // 32
    held: Atom | None = None
    crumb = False
    for atom in atoms:
        atom_is_crumb = not _LETTER.search(text, atom.start, atom.end)
        if held is None:
            held, crumb = atom, atom_is_crumb
            continue
        join = _fits_together(held, atom, limits) and (
            # A crumb goes to the side where a cut would cost more; it looks ahead by being held.
            (atom_is_crumb and not atom.heading and atom.cost > _HEADING * 6)
            or (crumb and (atom.cost >= held.cost or not held.start))
            or (held.size < tiny and atom.size < tiny and not atom.heading and not held.heading)
        )
        if join:
            level = held.heading or (atom.heading if crumb else 0)
            held = Atom(held.start, atom.end, held.size + atom.size, held.cost, level)
            crumb = crumb and atom_is_crumb
        else:
            yield held
            held, crumb = atom, atom_is_crumb
    if held is not None:
        yield held


def _fits_together(one: Atom, other: Atom, limits: Limits) -> bool:
    return one.size + other.size <= limits.size and other.end - one.start <= limits.span
