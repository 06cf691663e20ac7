"""Texts that wait for an embedder: which of them make up the next call. Pure, but for the futures.

Requests take turns within a call, so that a large one delays none of the small ones by more than
the calls under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import TextsRefusedError
from lexigram_ray.embedding.encoding import EncodedTexts
from lexigram_ray.service.context import TextVectors
from lexigram_ray.service.problems import Saturated

# Of real text a token has some four characters; only for cutting calls to size.
CHARACTERS_PER_TOKEN = 4
TURNS_PER_CALL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How large calls are, and how much may wait.

    Attributes:
        texts: Most of one call.
        tokens: About as many of one call, the last text excepted.
        max_tokens: What the model reads of one text.
        calls: Under way at one place at once.
        waiting: Most texts that wait for a call.
        retry_after_seconds: What a refused request is told.
    """

    texts: int
    tokens: int
    max_tokens: int
    calls: int
    waiting: int
    retry_after_seconds: int


@dataclass(slots=True, eq=False)
class Request:
    """Texts that somebody waits for.

    Attributes:
        answer: Set once every text has its vector, or at the first error.
        missing: Texts that no call has answered yet.
        handed_out: Texts, from the first on, that are not to be put into a call any more.
    """

    texts: Sequence[str]
    as_query: bool
    answer: asyncio.Future[TextVectors]
    missing: int = field(init=False)
    handed_out: int = 0
    vectors: NDArray[np.float32] | None = None
    tokens: NDArray[np.int64] | None = None
    refused: dict[int, str] = field(default_factory=dict[int, str])

    def __post_init__(self) -> None:
        self.missing = len(self.texts)

    def take(self, part: Part, encoded: EncodedTexts, first: int) -> None:
        """Take the rows of one part, from `first` on, out of a call's answer."""
        rows = slice(first, first + part.count)
        if part.count == len(self.texts):
            vectors, tokens = encoded.vectors[rows], encoded.tokens[rows]
        else:
            vectors, tokens = self._own_arrays(encoded.vectors.shape[1])
            vectors[part.start : part.end] = encoded.vectors[rows]
            tokens[part.start : part.end] = encoded.tokens[rows]
        for place, reason in encoded.refused.items():
            if rows.start <= place < rows.stop:
                self.refused[part.start + place - first] = reason
        self.missing -= part.count
        if self.missing or self.answer.done():
            return
        if self.refused:
            self.answer.set_exception(TextsRefusedError(self.refused, vectors))
        else:
            self.answer.set_result(TextVectors(vectors=vectors, tokens=tokens.tolist()))

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless it is answered already or nobody waits any more."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def _own_arrays(self, dimension: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self.vectors is None or self.tokens is None:
            self.vectors = np.zeros((len(self.texts), dimension), np.float32)
            self.tokens = np.zeros(len(self.texts), np.int64)
        return self.vectors, self.tokens


@dataclass(slots=True, eq=False)
class Part:
    """Texts `start:end` of a request, in one call.

    Attributes:
        attempts: Calls that have failed with it, and not for certain because of it.
    """

    request: Request
    start: int
    end: int
    attempts: int = 0

    @property
    def count(self) -> int:
        """How many texts it has."""
        return self.end - self.start

    @property
    def texts(self) -> Sequence[str]:
        """The texts themselves."""
        return self.request.texts[self.start : self.end]


class BatchQueue:
    """Requests in the order in which they came, queries apart from documents."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._lanes: dict[bool, deque[Request]] = {False: deque(), True: deque()}
        self._suspects: deque[Part] = deque()
        self._waiting = 0

    @property
    def has_suspects(self) -> bool:
        """Whether parts wait that must be called alone."""
        return bool(self._suspects)

    def add(self, request: Request) -> None:
        """Let a request wait.

        Raises:
            Saturated: Too many texts wait already. Where none do, any request is taken.
        """
        count = len(request.texts)
        if self._waiting and self._waiting + count > self._limits.waiting:
            raise Saturated(
                f"{self._waiting} texts wait for an embedder already, and {count} more are over "
                f"the limit of {self._limits.waiting}",
                retry_after_seconds=self._limits.retry_after_seconds,
            )
        self._lanes[request.as_query].append(request)
        self._waiting += count

    def drop(self, request: Request) -> None:
        """Let go of what of a request still waits: it is answered, or nobody wants it any more."""
        if request.handed_out == len(request.texts):
            return
        self._waiting -= len(request.texts) - request.handed_out
        request.handed_out = len(request.texts)
        # Where no embedder can be had, no call would ever come upon it.
        with suppress(ValueError):
            self._lanes[request.as_query].remove(request)

    def suspect(self, part: Part) -> None:
        """Let a part wait for a call of its own."""
        self._suspects.append(part)

    def next_suspect(self) -> Part | None:
        """Take a part that must be called alone."""
        while self._suspects:
            part = self._suspects.popleft()
            if not part.request.answer.done():
                return part
        return None

    def next_call(self) -> list[Part]:
        """Take the texts of one call, some of each request in turn; nothing where none wait."""
        lane = self._next_lane()
        parts: list[Part] = []
        texts, tokens = self._limits.texts, self._limits.tokens
        turn = max(1, texts // TURNS_PER_CALL)
        while lane and texts > 0 and tokens > 0:
            request = lane.popleft()
            start = end = request.handed_out
            most = min(len(request.texts), start + min(turn, texts))
            while end < most and tokens > 0:
                tokens -= self._tokens_of(request.texts[end])
                end += 1
            parts.append(Part(request, start, end))
            request.handed_out = end
            self._waiting -= end - start
            texts -= end - start
            if end < len(request.texts):
                lane.append(request)
        return parts

    def fail(self, error: Exception) -> None:
        """Answer all that wait with an error."""
        waiting: Iterable[Request] = [
            *(request for lane in self._lanes.values() for request in lane),
            *(part.request for part in self._suspects),
        ]
        for request in waiting:
            request.fail(error)
        for lane in self._lanes.values():
            lane.clear()
        self._suspects.clear()

    def _next_lane(self) -> deque[Request]:
        (first, lane), (second, other) = self._lanes.items()
        if not lane:
            return other
        # The one that is served now comes behind the other one.
        self._lanes = {second: other, first: lane}
        return lane

    def _tokens_of(self, text: str) -> int:
        return min(len(text) // CHARACTERS_PER_TOKEN + 1, self._limits.max_tokens)
