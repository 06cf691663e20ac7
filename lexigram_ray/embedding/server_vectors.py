"""From the body of an answer to vectors, trusting nothing in it. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.embedding.server_verdicts import Again, Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """An answer's vectors, in the order of the texts.

    Attributes:
        rows: float32, shape `(n, dim)`, L2-normalised; zeros at `faults`.
        faults: Why a text's vector cannot be used, by its position.
        prompt_tokens: What the server counted; None where it does not say, or says 0.
    """

    rows: NDArray[np.float32]
    faults: Mapping[int, str]
    prompt_tokens: int | None


def read_vectors(answer: Answer, count: int, dimension: int | None) -> Vectors | Again:
    """Read an answer to `count` texts.

    Args:
        answer: With status 200.
        count: How many texts were sent.
        dimension: Length of a vector; None takes that of the first one.

    Returns:
        The vectors; or `Again` where it cannot be known which vector is whose.
    """
    try:
        body: object = json.loads(answer.body)
    except (ValueError, RecursionError):
        return Again(reason=f"sent {_kind(answer.body)} where vectors should be")
    fields = cast("dict[str, object]", body) if isinstance(body, dict) else {}
    data = fields.get("data")
    if not isinstance(data, list):
        return Again(reason="sent JSON without vectors")
    entries = cast("list[object]", data)
    if len(entries) != count:
        return Again(reason=f"sent {len(entries)} vectors for {_texts(count)}", of_texts=True)
    ordered = _ordered(entries)
    if ordered is None:
        return Again(reason="numbered its vectors so that they fit no texts", of_texts=True)
    vectors = [_vector(entry) for entry in ordered]
    if dimension is None:
        dimension = next((len(vector) for vector in vectors if vector is not None), 0)
    rows, faults = _stacked(vectors, dimension)
    return Vectors(rows=rows, faults=faults, prompt_tokens=_prompt_tokens(fields.get("usage")))


def _kind(body: bytes) -> str:
    start = body.lstrip()[:1]
    return {b"<": "HTML", b"": "nothing"}.get(start, "what is no JSON")


def _texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count} texts"


def _ordered(entries: list[object]) -> list[dict[str, object]] | None:
    if not all(isinstance(entry, dict) for entry in entries):
        return None
    known = [cast("dict[str, object]", entry) for entry in entries]
    if all("index" not in entry for entry in known):
        return known
    placed: dict[int, dict[str, object]] = {}
    for entry in known:
        index = entry.get("index")
        if isinstance(index, int) and 0 <= index < len(known):
            placed[index] = entry
    # Numbers that repeat or lack would hand a text the vector of another.
    return [placed[index] for index in range(len(known))] if len(placed) == len(known) else None


def _vector(entry: dict[str, object]) -> NDArray[np.float64] | None:
    written = entry.get("embedding")
    try:
        if isinstance(written, str):
            raw = base64.b64decode(written, validate=True)
            return np.frombuffer(raw, "<f4").astype(np.float64)
        if isinstance(written, list):
            vector = np.asarray(written, np.float64)
            return vector if vector.ndim == 1 else None
    except (binascii.Error, ValueError, TypeError, OverflowError):
        return None
    return None


def _stacked(
    vectors: list[NDArray[np.float64] | None], dimension: int
) -> tuple[NDArray[np.float32], dict[int, str]]:
    rows = np.zeros((len(vectors), dimension), np.float32)
    faults: dict[int, str] = {}
    for place, vector in enumerate(vectors):
        if vector is None or not len(vector):
            faults[place] = "the server sent no vector that can be read"
        elif len(vector) != dimension:
            faults[place] = f"the server sent a vector of {len(vector)} numbers, not {dimension}"
        elif not np.isfinite(vector).all():
            faults[place] = "the server sent a vector that is not finite"
        elif not vector.any():
            faults[place] = "the server sent a vector of zeros, which has no direction"
        else:
            # By the largest first: squares of huge or tiny numbers leave the range of a float.
            scaled = vector / np.abs(vector).max()
            rows[place] = scaled / np.linalg.norm(scaled)
    return rows, faults


def _prompt_tokens(usage: object) -> int | None:
    if not isinstance(usage, dict):
        return None
    fields = cast("dict[str, object]", usage)
    for name in ("prompt_tokens", "total_tokens"):
        tokens = fields.get(name)
        if isinstance(tokens, int) and tokens > 0:
            return tokens
    return None
