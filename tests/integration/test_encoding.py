"""Vectors with their tokens, past the cache: the same ones, by any provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexigram_ray.core.errors import TextsRefusedError
from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.embedding.encoding import encode
from lexigram_ray.embedding.engine import LocalProvider, load_provider
from lexigram_ray.embedding.models import describe_model
from tests.fakes import HashingProvider

TEXTS = ["The tide comes and goes.", "bees", "The tide comes and goes.", "word " * 400]
UNREADABLE = "\ud800"
REFUSED = "refused"


@pytest.fixture(scope="module")
def provider(converted_models: Path) -> LocalProvider:
    return load(converted_models)


def load(models: Path, long_texts: str = "truncate") -> LocalProvider:
    model = describe_model(DEFAULT_MODEL, precision="auto", models_dir=models)
    assert long_texts in ("truncate", "fail")
    return load_provider(model, models_dir=models, long_texts=long_texts)  # pyright: ignore[reportArgumentType]


def test_one_text_or_many_have_the_vectors_of_documents(provider: LocalProvider) -> None:
    documents = provider.embed_texts(TEXTS)
    together = encode(provider, TEXTS, as_query=False)
    alone = [encode(provider, [text], as_query=False).vectors[0] for text in TEXTS]
    assert (together.vectors * documents).sum(axis=1).min() > 0.999
    assert (np.array(alone) * documents).sum(axis=1).min() > 0.999


def test_queries_have_the_vectors_of_queries(provider: LocalProvider) -> None:
    queries = np.array([provider.embed_query(text) for text in TEXTS])
    assert (encode(provider, TEXTS, as_query=True).vectors * queries).sum(axis=1).min() > 0.999


def test_tokens_are_what_the_model_reads(provider: LocalProvider) -> None:
    assert encode(provider, TEXTS, as_query=False).tokens.tolist() == [8, 3, 8, 256]
    assert encode(provider, TEXTS[1:2], as_query=False).tokens.tolist() == [3]


def test_a_text_without_a_vector_is_named_and_the_others_have_theirs(
    provider: LocalProvider,
) -> None:
    found = encode(provider, ["bees", UNREADABLE, "bees"], as_query=False)
    assert list(found.refused) == [1]
    assert np.linalg.norm(found.vectors, axis=1).round(3).tolist() == [1, 0, 1]
    alone = encode(provider, [UNREADABLE], as_query=False)
    assert list(alone.refused) == [0]
    assert not alone.vectors.any()


def test_where_long_texts_fail_a_long_query_is_still_cut(converted_models: Path) -> None:
    strict = load(converted_models, "fail")
    assert list(encode(strict, TEXTS, as_query=False).refused) == [3]
    assert not encode(strict, TEXTS, as_query=True).refused


class Picky(HashingProvider):
    """One of other code, that refuses a text."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = super().embed_texts(texts)
        refused = {place: "no" for place, text in enumerate(texts) if text == REFUSED}
        if refused:
            vectors[list(refused)] = 0
            raise TextsRefusedError(refused, vectors)
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self.embed_texts([text])[0]


@pytest.mark.parametrize("as_query", [False, True])
def test_a_provider_that_counts_nothing_has_no_tokens(as_query: bool) -> None:
    found = encode(Picky(), ["a", REFUSED, "b"], as_query=as_query)
    assert found.tokens.tolist() == [0, 0, 0]
    assert found.refused == {1: "no"}
    assert np.linalg.norm(found.vectors, axis=1).round(3).tolist() == [1, 0, 1]
