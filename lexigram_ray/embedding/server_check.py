"""Whether the model behind a server is still the one whose vectors were kept."""

from __future__ import annotations

import threading

import numpy as np

from lexigram_ray.core.errors import EmbeddingServerError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.embedding.server_model import (
    PLAIN_TEXT,
    VECTOR_DTYPE,
    ServerModel,
    refused_plainly,
)
from lexigram_ray.embedding.server_requests import ServerClient
from lexigram_ray.embedding.server_vectors import Vectors
from lexigram_ray.embedding.server_verdicts import Refusal

# One model's vectors of one text differ by rounding, below 0.001 even in 8 bits.
LEAST_COSINE = 0.99
# One vector that cannot be used is a slip of the server; so many in a row are its model.
PLAIN_ASKS = 3


def check_server(model: ServerModel, client: ServerClient, *, stopped: threading.Event) -> None:
    """Ask for the vector of a plain text, and compare it with that of the first answer ever.

    Raises:
        ConfigError: The server refuses a plain text.
        EmbeddingServerError: It does not answer, or has another model now.
        CancelledError: `stopped` was set.
    """
    answer = _ask_plainly(model, client, stopped)
    cosine = float(answer.rows[0] @ np.frombuffer(model.plain_vector, VECTOR_DTYPE))
    if cosine < LEAST_COSINE:
        raise _other_model(
            model,
            "the vector of a plain text is not the one that the server sent at first"
            f" (cosine {cosine:.3f})",
        )


def _ask_plainly(model: ServerModel, client: ServerClient, stopped: threading.Event) -> Vectors:
    fault = ""
    for _ in range(PLAIN_ASKS):
        answer = client.ask([PLAIN_TEXT], stopped=stopped)
        if isinstance(answer, Refusal):
            raise refused_plainly(model.spec.name, model.options, answer)
        if not answer.faults:
            return answer
        fault = answer.faults[0]
    raise _other_model(model, f"{fault}, even for a plain text")


def _other_model(model: ServerModel, why: str) -> EmbeddingServerError:
    error = EmbeddingServerError(
        f"embedding server {model.options.place}, model {model.spec.name}: {why}",
        hint="the model behind the server may have changed: name it anew, and embed into"
        " a new collection",
    )
    error.category = FailureCategory.PERMANENT
    return error
