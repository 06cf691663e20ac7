"""A server's model as the rest sees one: learned by one request, then remembered."""

from __future__ import annotations

import base64 as base_64
import hashlib
import json
import logging
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import numpy as np

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.json_file import write_object
from lexigram_ray.embedding.server_options import ServerOptions
from lexigram_ray.embedding.server_pace import Pace
from lexigram_ray.embedding.server_requests import ServerClient
from lexigram_ray.embedding.server_vectors import Vectors
from lexigram_ray.embedding.server_verdicts import Refusal

FOLDER = "servers"
# Every model has a vector for it: what a server answers to it says how the server is.
PLAIN_TEXT = "The quick brown fox jumps over the lazy dog."
# Whoever waits for the first answer is in front of the screen.
PROBE_ATTEMPTS = 3
# As files and pickles have it, whatever the machine's own order.
VECTOR_DTYPE = np.dtype("<f4")

logger = logging.getLogger(__name__)


SERVER_POOLING = "server"
"""Stands in a spec where the pooling is done elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerModel:
    """A model that runs behind a server. Pickles, with the key.

    Attributes:
        spec: Everything that changes its vectors, as far as it can be known from outside.
        options: The server and its limits.
        base64: Whether the server sends vectors in base64.
        plain_vector: Its first vector of `PLAIN_TEXT`, L2-normalised, as little-endian float32.
    """

    spec: ModelSpec
    options: ServerOptions
    base64: bool
    plain_vector: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learned:
    dimension: int
    base64: bool
    plain_vector: bytes


def describe_server(
    name: str, options: ServerOptions, *, models_dir: Path, pace: Pace | None = None
) -> ServerModel:
    """Learn what a server's model is, by one request unless an earlier run has made it.

    Args:
        name: The model's name at the server.
        options: The server.
        models_dir: Where what was learned is remembered.
        pace: Only for tests.

    Raises:
        ConfigError: The URL, the key or the dimensions are wrong, or the server refuses a
            plain text.
        ModelNotFoundError: The server has no such model.
        EmbeddingError: The server does not answer.
    """
    key = _key(name, options)
    file = models_dir / FOLDER / f"{key}.json"
    learned = _recall(file)
    if learned is None:
        learned = _probe(name, options, pace or Pace())
        _remember(file, learned, name, options)
    spec = ModelSpec(
        name=name,
        revision=_revision(name, options),
        dimension=learned.dimension,
        max_tokens=options.max_text_tokens,
        pooling=SERVER_POOLING,
        precision="fp32",
    )
    return ServerModel(
        spec=spec, options=options, base64=learned.base64, plain_vector=learned.plain_vector
    )


def _probe(name: str, options: ServerOptions, pace: Pace) -> _Learned:
    answer, base64 = _ask_plainly(name, options, pace, base64=True)
    if isinstance(answer, Refusal) and base64:
        # Some servers refuse whatever they do not know, without naming it.
        answer, base64 = _ask_plainly(name, options, pace, base64=False)
    if isinstance(answer, Refusal):
        raise refused_plainly(name, options, answer)
    return _Learned(
        dimension=_dimension(answer, name, options),
        base64=base64,
        plain_vector=answer.rows[0].astype(VECTOR_DTYPE).tobytes(),
    )


def _ask_plainly(
    name: str, options: ServerOptions, pace: Pace, *, base64: bool
) -> tuple[Vectors | Refusal, bool]:
    impatient = replace(options, max_attempts=min(PROBE_ATTEMPTS, options.max_attempts))
    client = ServerClient(name, impatient, pace, dimension=None, base64=base64)
    try:
        answer = client.ask([PLAIN_TEXT], stopped=threading.Event())
    finally:
        client.close()
    return answer, client.base64


def refused_plainly(name: str, options: ServerOptions, refusal: Refusal) -> ConfigError:
    """Return the error of a server that does not even take a plain text."""
    asked = f" with dimensions={options.dimensions}" if options.dimensions is not None else ""
    hint = "check embedding.model"
    if options.dimensions is not None:
        hint += " and unset embedding.server.dimensions, which not every model knows"
    return ConfigError(
        f"embedding server {options.place} refuses a plain text for {name}{asked}:"
        f" {refusal.reason}",
        hint=hint,
    )


def _dimension(answer: Vectors, name: str, options: ServerOptions) -> int:
    server = f"embedding server {options.place}, model {name}"
    if answer.faults:
        raise ConfigError(
            f"{server}: {answer.faults[0]}", hint="check that the model is one for embeddings"
        )
    dimension = answer.rows.shape[1]
    if options.dimensions not in (None, dimension):
        raise ConfigError(
            f"{server}: asked for {options.dimensions} numbers a vector, it sends {dimension}",
            hint="unset embedding.server.dimensions: the model cannot shorten its vectors",
        )
    return dimension


def _key(name: str, options: ServerOptions) -> str:
    return _hashed([options.url, name, options.dimensions])


def _revision(name: str, options: ServerOptions) -> str:
    # Path and query too: gateways serve each model under its own, by one name.
    parts = urlsplit(options.url)
    place = [parts.netloc.lower(), parts.path.rstrip("/"), parts.query]
    return _hashed([*place, name, options.dimensions])


def _hashed(parts: list[str | int | None]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _recall(file: Path) -> _Learned | None:
    try:
        content: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fields = cast("dict[str, object]", content) if isinstance(content, dict) else {}
    dimension, base64 = fields.get("dimension"), fields.get("base64")
    if not isinstance(dimension, int) or dimension < 1 or not isinstance(base64, bool):
        return None
    vector = _vector_in(fields.get("plain_vector"))
    if len(vector) != dimension * VECTOR_DTYPE.itemsize:
        return None
    return _Learned(dimension=dimension, base64=base64, plain_vector=vector)


def _vector_in(written: object) -> bytes:
    try:
        vector = base_64.b64decode(str(written), validate=True)
        norm = float(np.linalg.norm(np.frombuffer(vector, VECTOR_DTYPE)))
    except ValueError:
        return b""
    return vector if abs(norm - 1) < 1e-3 else b""


def _remember(file: Path, learned: _Learned, name: str, options: ServerOptions) -> None:
    record = {
        "server": options.place,
        "model": name,
        "dimension": learned.dimension,
        "base64": learned.base64,
        "plain_vector": base_64.b64encode(learned.plain_vector).decode(),
    }
    try:
        write_object(file, record)
    except OSError as error:  # the next run asks again
        logger.debug("cannot write %s: %s", file, error)
