"""Vectors from an OpenAI-compatible server: many requests at once, each text paid for once."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import EmbeddingError, TextsRefusedError
from lexigram_ray.core.protocols import CountedVectors, CountingProvider, RateLimit
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.batching import distinct
from lexigram_ray.embedding.server_call import LearnedLimits, ServerCall
from lexigram_ray.embedding.server_check import check_server
from lexigram_ray.embedding.server_limits import BatchLimits, pack
from lexigram_ray.embedding.server_model import ServerModel
from lexigram_ray.embedding.server_options import ServerOptions
from lexigram_ray.embedding.server_pace import BURST_SHARE, Pace
from lexigram_ray.embedding.server_requests import ServerClient, ServerUsage
from lexigram_ray.embedding.server_threads import run_at_once

# Vectors of failed calls that are kept for the next attempt at the same texts.
MOST_SAVED_BYTES = 64 << 20

logger = logging.getLogger(__name__)


class ServerProvider(CountingProvider):
    """Vectors from a server. Safe to use from several threads.

    Before its first texts it asks for the vector of a plain one: where another model answers to the
    same name now, nothing is embedded.

    Args:
        model: From `describe_server`.
        long_texts: Whether a text beyond the model's limit is cut or refused. Lengths are
            estimated, so that a cut may fall up to a third early; a text that the server finds
            too long all the same is cut in half until it takes it.
        limit: The budget of tokens where others share it; else this provider has it alone.
        pace: Only for tests.
    """

    def __init__(
        self,
        model: ServerModel,
        *,
        long_texts: Literal["truncate", "fail"] = "truncate",
        limit: RateLimit | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._model = model
        self._truncate = long_texts == "truncate"
        self._client = ServerClient(
            model.spec.name,
            model.options,
            pace or Pace(model.options.tokens_per_minute, limit=limit),
            dimension=model.spec.dimension,
            base64=model.base64,
        )
        self._limits = LearnedLimits(_limits(model.options))
        self._lock = threading.Lock()
        self._calls: set[ServerCall] = set()
        self._saved: dict[bytes, NDArray[np.float32]] = {}
        self._checking = threading.Lock()
        self._checked = False
        self._closing = weakref.finalize(self, self._client.close)

    @property
    def spec(self) -> ModelSpec:
        """The model whose vectors these are."""
        return self._model.spec

    @property
    def usage(self) -> ServerUsage:
        """Requests, retries and tokens so far."""
        return self._client.usage

    def close(self) -> None:
        """End the calls that wait for the server, and close the connections to it."""
        with self._lock:
            for call in self._calls:
                call.stopped.set()
        self._closing()

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed documents, in order; equal texts are sent once.

        Returns:
            float32, shape `(len(texts), spec.dimension)`, rows L2-normalised, never NaN.

        Raises:
            TextsRefusedError: Some texts have no vector; the error has the others'.
            UsageError: The key, the URL or the model is wrong.
            EmbeddingServerError: The server has another model now, or does not answer; what it has
                answered until then is kept for the next call with the same texts.
        """
        counted = self.embed_counted(texts)
        if counted.truncated:
            logger.warning(
                "%d texts are longer than the %d tokens that %s reads: their ends have no vector",
                counted.truncated,
                self.spec.max_tokens,
                self.spec.name,
            )
        return counted.vectors

    def embed_counted(self, texts: Sequence[str]) -> CountedVectors:
        """Embed documents as `embed_texts` does, and count those that were cut."""
        return self._embed(texts, truncate=self._truncate)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed one query: float32, shape `(spec.dimension,)`.

        A query beyond the model's limit is cut, whatever becomes of documents.

        Raises:
            TextsRefusedError: The server refuses it, or it is empty.
            UsageError: The key, the URL or the model is wrong.
            EmbeddingServerError: The server does not answer, or has another model now.
        """
        return self._embed([text], truncate=True).vectors[0]

    def _embed(self, texts: Sequence[str], *, truncate: bool) -> CountedVectors:
        once, inverse = distinct(texts)
        call = ServerCall(once, self._model, self._client, self._limits, truncate=truncate)
        self._begin(once, call)
        try:
            if call.waiting():
                self._check(call)
                self._run(call)
        except CancelledError as error:
            raise EmbeddingError(
                f"embedding server {self._model.options.place} was closed during a call"
            ) from error
        finally:
            self._end(once, call)
        vectors = call.vectors if len(once) == len(texts) else call.vectors[inverse]
        rows: list[int] = inverse.tolist()
        reasons = {
            place: call.reasons[row] for place, row in enumerate(rows) if row in call.reasons
        }
        truncated = sum(1 for row in rows if row in call.truncated and row not in call.reasons)
        if reasons:
            raise TextsRefusedError(reasons, vectors, truncated=truncated)
        return CountedVectors(vectors=vectors, truncated=truncated)

    def _check(self, call: ServerCall) -> None:
        with self._checking:
            if not self._checked:
                check_server(self._model, self._client, stopped=call.stopped)
                self._checked = True

    def _run(self, call: ServerCall) -> None:
        batches = list(pack(call.waiting(), call.tokens, self._limits.now))
        if len(batches) < 2:
            for batch in batches:
                call.embed(batch)
            return
        threads = self._model.options.concurrency
        run_at_once(call.embed, batches, threads=threads, stopped=call.stopped)

    def _begin(self, texts: Sequence[str], call: ServerCall) -> None:
        with self._lock:
            self._calls.add(call)
            for row, text in enumerate(texts if self._saved else ()):
                saved = self._saved.pop(_key(text), None)
                if saved is not None:
                    call.vectors[row] = saved
                    call.done[row] = True

    def _end(self, texts: Sequence[str], call: ServerCall) -> None:
        most = MOST_SAVED_BYTES // (4 * self.spec.dimension)
        with self._lock:
            self._calls.discard(call)
            if not call.waiting():
                return
            rows: list[int] = np.flatnonzero(call.done)[:most].tolist()
            if len(self._saved) + len(rows) > most:
                self._saved.clear()
            for row in rows:
                self._saved[_key(texts[row])] = call.vectors[row].copy()


def _key(text: str) -> bytes:
    # Of long texts the keys alone would take more than the vectors.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _limits(options: ServerOptions) -> BatchLimits:
    tokens = options.batch_tokens
    if options.tokens_per_minute is not None:
        # A request of more than a burst would take from the next minute's budget.
        tokens = min(tokens, max(1, int(options.tokens_per_minute * BURST_SHARE)))
    return BatchLimits(texts=options.batch_texts, tokens=tokens)
