"""Cuts a parsed document into chunks that fit the model, in flat memory."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lexigram_ray.core.config import ChunkingSettings
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import Chunk, ChunkerSpec, ParsedDocument
from lexigram_ray.ingestion.blocks import Block, Kind, read_blocks
from lexigram_ray.ingestion.headings import HeadingTrail
from lexigram_ray.ingestion.packing import Atom, Limits, cut_into_atoms, cut_unspaced, pack
from lexigram_ray.ingestion.tokens import TokenCounter

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENS = "tokens"
CHARACTERS = "characters"
DEFAULT_CHARACTERS = 1000
DEFAULT_CHARACTER_OVERLAP = 200
SMALLEST_TOKEN_SIZE = 8

# A model reads a word of 100 characters and more as one unknown token, and runs of spaces as
# nothing: without a limit in characters, one chunk could hold megabytes.
CHARACTERS_PER_TOKEN = 16

# Characters after which a paragraph, table or code block is read in parts.
_SHORTEST_BLOCK_LIMIT = 4096

# Chunks are decided for so many at once; the last ones are decided again with what follows them.
_LOOKAHEAD_CHUNKS = 32
_UNDECIDED_CHUNKS = 4

_WORD_START = re.compile(r"(?<=[ \t\n\r\u00a0\u3000])(?=[^ \t\n\r\u00a0\u3000])")
_NON_SPACE = re.compile(r"\S")
_SENTENCE_MARKS = (".", "!", "?", "\n", "\r", "。", "！", "？")


def resolve_chunker(
    settings: ChunkingSettings, *, max_tokens: int, special_tokens: int
) -> ChunkerSpec:
    """Fill in the defaults and refuse what the model cannot read.

    Args:
        settings: What the user asked for.
        max_tokens: The model's limit, special tokens included.
        special_tokens: How many of them the model adds to every text.

    Raises:
        ConfigError: The size is over the model's limit or too small, or the overlap is not smaller
            than the size.
    """
    if settings.strategy == TOKENS:
        most = max_tokens - special_tokens
        size = most if settings.size is None else settings.size
        overlap = settings.overlap or 0
        if size > most:
            raise ConfigError(
                f"chunks of {size} tokens are over the model's limit of {most}",
                hint=f"set chunking.size to {most} or less, or leave it out",
            )
        if size < SMALLEST_TOKEN_SIZE:
            raise ConfigError(
                f"chunks of {size} tokens are too small: one character can take several",
                hint=f"set chunking.size to {SMALLEST_TOKEN_SIZE} or more, or leave it out",
            )
    else:
        size = DEFAULT_CHARACTERS if settings.size is None else settings.size
        default_overlap = min(DEFAULT_CHARACTER_OVERLAP, size // 5)
        overlap = default_overlap if settings.overlap is None else settings.overlap
    if overlap >= size:
        raise ConfigError(
            f"an overlap of {overlap} {settings.strategy} leaves nothing new in a chunk of {size}",
            hint=f"set chunking.overlap below {size}; a fifth of the size is usual",
        )
    return ChunkerSpec(strategy=settings.strategy, size=size, overlap=overlap)


class Chunker:
    """Cuts documents as one specification says.

    Args:
        spec: Strategy, size and overlap.
        tokenizer: The model's own, with truncation and padding off. The `tokens` strategy needs it;
            `characters` uses it, if at all, for `tokens_in`.

    Raises:
        ConfigError: The strategy is unknown, or its tokenizer is missing or truncates.
    """

    def __init__(self, spec: ChunkerSpec, tokenizer: Tokenizer | None) -> None:
        if spec.strategy not in (TOKENS, CHARACTERS):
            raise ConfigError(
                f"no chunking strategy is called {spec.strategy!r}",
                hint=f"use `{TOKENS}` or `{CHARACTERS}`",
            )
        if spec.strategy == TOKENS and tokenizer is None:
            raise ConfigError("the tokens strategy needs the model's tokenizer")
        if spec.size < 1 or not 0 <= spec.overlap < spec.size:
            raise ConfigError(f"chunks of size {spec.size} cannot overlap by {spec.overlap}")
        self.spec = spec
        self._counter = TokenCounter(tokenizer) if tokenizer is not None else None

    def chunks(self, parsed: ParsedDocument) -> Iterator[Chunk]:
        """Yield the chunks of a document, lazily, in memory that does not grow with its length.

        Every character but whitespace is in a chunk. A chunk repeats at most `spec.overlap` of the
        one before it, and nothing where it begins with a heading.
        """
        return _Chunking(parsed, self.spec, self._counter).chunks()

    def tokens_in(self, text: str) -> int:
        """Return how many tokens `text` has; without a tokenizer, a quarter of its characters."""
        if self._counter is None:
            return -(-len(text) // 4)
        return self._counter.count(text)


class _Chunking:
    """One document's way through blocks, atoms and packing."""

    def __init__(
        self, parsed: ParsedDocument, spec: ChunkerSpec, counter: TokenCounter | None
    ) -> None:
        self._parsed = parsed
        self._text = parsed.text
        self._spec = spec
        by_tokens = spec.strategy == TOKENS
        self._counter = counter if by_tokens else None
        self._unit_span = CHARACTERS_PER_TOKEN if by_tokens else 1
        fresh = spec.size - spec.overlap
        if self._counter is not None and not self._counter.additive:
            # Joining atoms can add a token: room for that is cheaper than cutting once more.
            fresh -= fresh // 64
        self._limits = Limits(fresh, fresh * self._unit_span)
        self._trail = HeadingTrail()
        self._page_starts = [page.char_start for page in parsed.pages]

    def chunks(self) -> Iterator[Chunk]:
        index = previous = 0
        for start, end, overlaps in self._spans():
            begin = self._with_overlap(start, previous) if overlaps and index else start
            for piece_start, piece_end in self._fitting(begin, start, end):
                yield self._chunk(index, piece_start, piece_end)
                index, previous = index + 1, piece_start
            self._trail.forget_before(previous)

    def _spans(self) -> Iterator[tuple[int, int, bool]]:
        for atoms in self._packed():
            start, end = self._trimmed(atoms[0].start, atoms[-1].end)
            if start < end:
                yield start, end, bool(self._spec.overlap) and not atoms[0].heading

    def _packed(self) -> Iterator[list[Atom]]:
        window: deque[Atom] = deque()
        size = 0
        full = self._limits.size * _LOOKAHEAD_CHUNKS
        full_span = self._limits.span * _LOOKAHEAD_CHUNKS
        for atom in self._atoms():
            window.append(atom)
            size += atom.size
            if size >= full or atom.end - window[0].start >= full_span:
                taken = list(window)
                ends = pack(taken, self._limits)
                begin = 0
                for end in ends[:-_UNDECIDED_CHUNKS]:
                    yield taken[begin:end]
                    begin = end
                window = deque(taken[begin:])
                size = sum(atom.size for atom in window)
        taken, begin = list(window), 0
        for end in pack(taken, self._limits):
            yield taken[begin:end]
            begin = end

    def _atoms(self) -> Iterator[Atom]:
        limit = max(_SHORTEST_BLOCK_LIMIT, self._limits.span)
        blocks = read_blocks(self._text, markdown=self._parsed.markdown, limit=limit)
        return cut_into_atoms(self._text, self._noted(blocks), self._measure, self._limits)

    def _noted(self, blocks: Iterator[Block]) -> Iterator[Block]:
        for block in blocks:
            if block.kind == Kind.HEADING and self._parsed.markdown:
                self._trail.enter(block.start, block.level, block.title)
            yield block

    def _measure(self, text: str) -> int:
        return len(text) if self._counter is None else self._counter.count(text)

    def _trimmed(self, start: int, end: int) -> tuple[int, int]:
        text = self._text
        found = _NON_SPACE.search(text, start, end)
        if found is None:
            return end, end
        first = found.start()
        while text[end - 1].isspace():
            end -= 1
        # The first of several lines keeps its indentation: code and nested lists need it.
        indented = first
        while indented > start and text[indented - 1] in " \t":
            indented -= 1
        at_line_start = indented == 0 or text[indented - 1] in "\r\n"
        several = text.find("\n", first, end) >= 0
        return (indented if at_line_start and several else first), end

    def _with_overlap(self, start: int, previous: int) -> int:
        overlap, text = self._spec.overlap, self._text
        # Past the start of the chunk before, so that none begins where another does.
        lowest = max(previous + 1, start - overlap * self._unit_span)
        begins = [match.start() for match in _WORD_START.finditer(text, lowest, start)]
        within = self._within(begins, start)
        if not within:
            pieces = cut_unspaced(text, lowest, start, max(1, overlap // 8))
            within = self._within([begin for begin, _ in pieces], start)
        if not within:
            return start
        sentences = [begin for begin in within[: len(within) // 2] if _begins_sentence(text, begin)]
        return sentences[0] if sentences else within[0]

    def _within(self, begins: list[int], end: int) -> list[int]:
        # The places from which no more than the overlap is left, in ascending order.
        left, fitting = self._spec.overlap, len(begins)
        while fitting:
            begin = begins[fitting - 1]
            left -= self._measure(self._text[begin:end])
            if left < 0:
                break
            fitting, end = fitting - 1, begin
        return begins[fitting:]

    def _fitting(self, begin: int, start: int, end: int) -> Iterator[tuple[int, int]]:
        # Sums over atoms are close to what the tokenizer says of the whole; this is what it says.
        if self._counter is None or self._counter.count(self._text[begin:end]) <= self._spec.size:
            yield begin, end
        elif begin < start:
            yield from self._fitting(start, start, end)
        elif end - begin == 1:
            yield begin, end
        else:
            cut = self._cut_near_middle(begin, end)
            for part in (self._trimmed(begin, cut), self._trimmed(cut, end)):
                if part[0] < part[1]:
                    yield from self._fitting(part[0], part[0], part[1])

    def _cut_near_middle(self, start: int, end: int) -> int:
        text, length = self._text, end - start
        low, high = start + length // 2, end - length // 8
        for mark in ("\n", " "):
            place = text.rfind(mark, low, high)
            if place > start:
                return place + 1
        return next(cut_unspaced(text, start, end, (length + 1) // 2))[1]

    def _chunk(self, index: int, start: int, end: int) -> Chunk:
        text = self._text[start:end]
        return Chunk(
            index=index,
            text=text,
            char_start=start,
            char_end=end,
            page=self._page_at(start),
            headings=self._trail.at(start),
            content_hash=hash_text(text),
        )

    def _page_at(self, offset: int) -> int | None:
        pages = self._parsed.pages
        if not pages:
            return None
        return pages[max(0, bisect_right(self._page_starts, offset) - 1)].number


def _begins_sentence(text: str, position: int) -> bool:
    before = text[max(0, position - 8) : position]
    return before.rstrip(" \t").endswith(_SENTENCE_MARKS)
