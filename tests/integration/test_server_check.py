"""The look at a plain text, by which a server's model is known again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexigram_ray.core.errors import EmbeddingServerError
from lexigram_ray.embedding.server_model import describe_server
from lexigram_ray.embedding.server_options import ServerOptions
from lexigram_ray.embedding.server_pace import Pace
from lexigram_ray.embedding.server_provider import ServerProvider
from tests.misbehaving_server import DIMENSION, MODEL, Fault, changed, expected, running


def of_numbers(count: int, value: float) -> Fault:
    """Send such a vector for every text."""

    def change(_: object, body: dict[str, Any]) -> None:
        for entry in body["data"]:
            entry.update(embedding=[value] * count)

    return changed(change)


NOT_FINITE = of_numbers(DIMENSION, math.nan)
TOO_SHORT = of_numbers(DIMENSION // 2, 0.5)


@pytest.mark.parametrize("slip", [NOT_FINITE, TOO_SHORT], ids=["not finite", "too short"])
def test_a_slip_or_two_at_the_plain_text_are_not_another_model(tmp_path: Path, slip: Fault) -> None:
    with running() as server:
        options = ServerOptions(url=server.url)
        model = describe_server(MODEL, options, models_dir=tmp_path)
        provider = ServerProvider(model, pace=Pace(draw=lambda: 0.01))
        server.next = [slip, slip]

        vectors = provider.embed_texts(["one", "two"])
        server.always = slip
        with pytest.raises(EmbeddingServerError, match="even for a plain text"):
            ServerProvider(model).embed_texts(["three"])

    np.testing.assert_allclose(vectors, expected(["one", "two"]), atol=1e-6)
