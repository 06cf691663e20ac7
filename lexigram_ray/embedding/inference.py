"""One pass from texts to vectors on some backend: tokenise, batch, run, pool."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding.backend import Backend, DeviceMemoryError
from lexigram_ray.embedding.batching import TokenBatch, token_batches, windows
from lexigram_ray.embedding.device_memory import run_within_memory
from lexigram_ray.embedding.pooling import normalised
from lexigram_ray.embedding.token_budget import TokenBudget
from lexigram_ray.embedding.tokenizing import Encoded, TextEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """What a pass gave.

    Attributes:
        vectors: float32, shape `(n, dim)`, rows L2-normalised; NaN where there is none.
        truncated: Shape `(n,)`; True where the text was cut at the model's limit.
        tokens: Shape `(n,)`; what the model reads of each text, special tokens included.
        refused: Why a text was not run, by its position; what the model answered with NaN is not
            among them.
    """

    vectors: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    tokens: NDArray[np.int64]
    refused: dict[int, str]


def infer(
    texts: Sequence[str],
    *,
    backend: Backend,
    encoder: TextEncoder,
    budget: TokenBudget,
    dimension: int,
    pooling: str,
    turn: AbstractContextManager[object] | None = None,
) -> Inferred:
    """Embed texts by windows: memory holds the tokens of three windows, and the vectors.

    Args:
        texts: In any order.
        backend: Runs the model.
        encoder: Makes the tokens.
        budget: Tokens of a batch.
        dimension: Numbers of a vector.
        pooling: `mean` or `cls`.
        turn: Held while batches are handed to the backend: another pass that waits for it has its
            first tokens by then, and its first batch runs beside the last ones of this.

    Raises:
        EmbeddingError: The backend failed.
    """
    vectors = np.full((len(texts), dimension), np.nan, np.float32)
    truncated = np.zeros(len(texts), np.bool_)
    tokens = np.zeros(len(texts), np.int64)
    refused: dict[int, str] = {}

    def tokenised() -> Generator[TokenBatch]:
        found = _windows_ahead(texts, encoder)
        first = next(found)
        with turn or contextlib.nullcontext():
            yield from of_windows(itertools.chain([first], found))

    def of_windows(found: Iterable[tuple[NDArray[np.int64], Encoded]]) -> Generator[TokenBatch]:
        for rows, encoded in found:
            truncated[rows] = encoded.truncated
            tokens[rows] = [len(ids) for ids in encoded.ids]
            refused.update({int(rows[place]): why for place, why in encoded.refused.items()})
            good = [place for place in range(len(rows)) if place not in encoded.refused]
            yield from token_batches(
                [encoded.ids[place] for place in good],
                rows[good],
                budget=budget.tokens,
                pad_id=encoder.pad_id,
            )

    def keep(batch: TokenBatch, pooled: NDArray[np.float32]) -> None:
        vectors[batch.rows] = normalised(pooled, dimension)

    batches = tokenised()
    try:
        given_up = run_within_memory(backend, batches, keep, budget=budget, pooling=pooling)
    finally:
        batches.close()
    return Inferred(vectors=vectors, truncated=truncated, tokens=tokens, refused=refused | given_up)


def vectors_of(
    texts: Sequence[str], *, backend: Backend, encoder: TextEncoder, dimension: int, pooling: str
) -> NDArray[np.float32]:
    """Embed texts, without counting or reasons.

    Returns:
        float32, shape `(len(texts), dimension)`, rows L2-normalised; NaN where there is none.
    """
    return infer(
        texts,
        backend=backend,
        encoder=encoder,
        budget=TokenBudget(backend.token_budget),
        dimension=dimension,
        pooling=pooling,
    ).vectors


def infer_one(
    text: str, *, backend: Backend, encoder: TextEncoder, dimension: int, pooling: str
) -> Inferred:
    """Embed one text, ahead of whatever else runs.

    Raises:
        EmbeddingError: The backend failed.
    """
    encoded = encoder.encode([text])
    vectors = np.full((1, dimension), np.nan, np.float32)
    refused = dict(encoded.refused)
    if not refused:
        only = np.zeros(1, np.int64)
        (batch,) = token_batches(encoded.ids, only, budget=1, pad_id=encoder.pad_id)
        try:
            vectors = normalised(backend.run_one(batch, pooling=pooling), dimension)
        except DeviceMemoryError as error:
            refused[0] = error.reason
    tokens = np.array([len(encoded.ids[0])], np.int64)
    return Inferred(vectors=vectors, truncated=encoded.truncated, tokens=tokens, refused=refused)


def vector_of(
    text: str, *, backend: Backend, encoder: TextEncoder, dimension: int, pooling: str
) -> NDArray[np.float32]:
    """Embed one text, ahead of whatever else runs: float32, shape `(dimension,)`.

    Raises:
        EmbeddingError: The text is refused, or the backend failed.
    """
    inferred = infer_one(
        text, backend=backend, encoder=encoder, dimension=dimension, pooling=pooling
    )
    if inferred.refused:
        raise EmbeddingError(f"the text cannot be embedded: {inferred.refused[0]}")
    return inferred.vectors[0]


def _windows_ahead(
    texts: Sequence[str], encoder: TextEncoder
) -> Generator[tuple[NDArray[np.int64], Encoded]]:
    """Tokenise the next window, in a thread of its own, while the device runs this one."""

    def encode(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Encoded]:
        return rows, encoder.encode([texts[int(row)] for row in rows])

    first, *following = windows(texts) if texts else [np.empty(0, np.int64)]
    if not following:
        yield encode(first)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as thread:
        coming = thread.submit(encode, first)
        for rows in following:
            current, coming = coming, thread.submit(encode, rows)
            yield current.result()
        yield coming.result()
