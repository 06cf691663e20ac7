"""One call's texts on their way to a server: what is refused is found, what is done stays done."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.server_check import check_server
from lexigram_ray.embedding.server_limits import BatchLimits, cut, estimate_tokens, pack
from lexigram_ray.embedding.server_model import ServerModel
from lexigram_ray.embedding.server_requests import SLIPS, ServerClient
from lexigram_ray.embedding.server_vectors import Vectors
from lexigram_ray.embedding.server_verdicts import Refusal

# How often a text whose vector cannot be used is asked for again.
FAULT_REPEATS = 2


class LearnedLimits:
    """What a server allows in a request: as configured, and less once it has refused that."""

    def __init__(self, limits: BatchLimits) -> None:
        self._lock = threading.Lock()
        self.now = limits

    def shrink(self, texts: int, tokens: int, reason: str) -> None:
        """Remember that a request of that size was refused and its halves were not."""
        with self._lock:
            self.now = self.now.below(texts, tokens, reason)


class ServerCall:
    """The texts of one call. Batches of it may be embedded from several threads.

    Attributes:
        tokens: Each text's estimate.
        vectors: float32, shape `(n, dim)`, rows L2-normalised; zeros where `done` is False.
        done: Shape `(n,)`.
        reasons: Why a text has no vector, by its position.
        truncated: Positions of texts that were cut.
        stopped: Set when the call has failed: requests that wait give up.
    """

    def __init__(
        self,
        texts: Sequence[str],
        model: ServerModel,
        client: ServerClient,
        limits: LearnedLimits,
        *,
        truncate: bool,
    ) -> None:
        self._texts = list(texts)
        self._model = model
        self._client = client
        self._limits = limits
        self._truncate = truncate
        self._blamed: set[int] = set()
        self.tokens = [estimate_tokens(text) for text in texts]
        self.vectors: NDArray[np.float32] = np.zeros((len(texts), model.spec.dimension), np.float32)
        self.done = np.zeros(len(texts), np.bool_)
        self.reasons: dict[int, str] = {}
        self.truncated: set[int] = set()
        self.stopped = threading.Event()
        for row in range(len(texts)):
            self._look_at(row)

    def waiting(self) -> list[int]:
        """Return the positions of texts that have neither a vector nor a reason."""
        return [row for row in np.flatnonzero(~self.done).tolist() if row not in self.reasons]

    def embed(self, rows: Sequence[int]) -> None:
        """Get the vectors of texts, or the reasons of those that have none.

        Before any text is blamed, a plain one is asked for: a server that refuses that as well
        is what is wrong.

        Raises:
            UsageError: The key, the URL or the model is wrong.
            EmbeddingServerError: The server does not answer, or has another model now.
            CancelledError: `stopped` was set.
        """
        self._embed(rows, suspects=False, repeats=FAULT_REPEATS)

    def _look_at(self, row: int) -> None:
        text, limit = self._texts[row], self._model.spec.max_tokens
        if not text:
            self.reasons[row] = "it is empty, and a server embeds no empty text"
        elif (place := _not_unicode(text)) is not None:
            self.reasons[row] = f"it is not valid Unicode at character {place}"
        elif self.tokens[row] > limit:
            if self._truncate:
                self._cut(row, limit)
            else:
                self.reasons[row] = (
                    f"it has about {self.tokens[row]} tokens, and {self._model.spec.name} reads"
                    f" {limit}"
                )

    def _cut(self, row: int, tokens: int) -> None:
        self._texts[row] = cut(self._texts[row], tokens)
        self.tokens[row] = estimate_tokens(self._texts[row])
        self.truncated.add(row)

    def _embed(self, rows: Sequence[int], *, suspects: bool, repeats: int) -> None:
        for part in pack(rows, self.tokens, self._limits.now):
            self._embed_part(part, suspects=suspects, repeats=repeats)

    def _embed_part(self, rows: Sequence[int], *, suspects: bool, repeats: int) -> None:
        # A half of a refused batch needs no second look before it is halved in turn.
        slips = 1 if suspects and len(rows) > 1 else SLIPS
        texts = [self._texts[row] for row in rows]
        answer = self._client.ask(texts, stopped=self.stopped, slips=slips)
        if isinstance(answer, Vectors):
            faults = self._take(rows, answer)
            if not faults:
                return
            if not suspects:
                self._check_server()
            if repeats:
                self._embed(list(faults), suspects=True, repeats=repeats - 1)
            else:
                self._blame(faults)
            return
        if not suspects:
            self._check_server()
        if len(rows) > 1:
            self._halve(rows, answer, repeats)
        elif self._truncate and answer.of_length and self.tokens[rows[0]] > 1:
            self._blamed.add(rows[0])
            self._cut(rows[0], self.tokens[rows[0]] // 2)
            self._embed_part(rows, suspects=True, repeats=repeats)
        else:
            self._blame({rows[0]: f"the server refuses it: {answer.reason}"})

    def _take(self, rows: Sequence[int], answer: Vectors) -> dict[int, str]:
        for place, row in enumerate(rows):
            if place not in answer.faults:
                self.vectors[row] = answer.rows[place]
                self.done[row] = True
        return {rows[place]: reason for place, reason in answer.faults.items()}

    def _halve(self, rows: Sequence[int], refusal: Refusal, repeats: int) -> None:
        tokens = sum(self.tokens[row] for row in rows)
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            self._embed(half, suspects=True, repeats=repeats)
        if self._blamed.isdisjoint(rows):
            self._limits.shrink(len(rows), tokens, refusal.reason)

    def _blame(self, reasons: dict[int, str]) -> None:
        self.reasons.update(reasons)
        self._blamed.update(reasons)

    def _check_server(self) -> None:
        check_server(self._model, self._client, stopped=self.stopped)


def _not_unicode(text: str) -> int | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None
