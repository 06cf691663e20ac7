from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.embedding.cached import CachedEmbedder
from tests.fakes import HashingProvider


def _hashes(texts):
    return [hash_text(text) for text in texts]


@pytest.fixture
def provider():
    return HashingProvider(16)


@pytest.fixture
def cache(tmp_path, provider):
    return EmbeddingCache(tmp_path, provider.spec)


def test_each_distinct_text_is_computed_once_and_its_repeats_count_as_cached(provider, cache):
    texts = ["a", "b", "a", "", "a"]

    embedded = CachedEmbedder(lambda: provider, cache, provider.spec).embed(texts, _hashes(texts))

    assert (embedded.computed, embedded.cached) == (3, 2)
    assert provider.texts_embedded == 3
    np.testing.assert_array_equal(embedded.vectors, HashingProvider(16).embed_texts(texts))


def test_without_a_cache_repeats_are_still_computed_once(provider):
    texts = ["a", "a", "b"]

    embedded = CachedEmbedder(lambda: provider, None, provider.spec).embed(texts, _hashes(texts))

    assert (embedded.computed, embedded.cached) == (2, 1)
    np.testing.assert_array_equal(embedded.vectors, HashingProvider(16).embed_texts(texts))


def test_a_wholly_cached_job_never_loads_the_model(provider, cache, tmp_path):
    texts = ["a", "b"]
    first = CachedEmbedder(lambda: provider, cache, provider.spec)
    made = first.embed(texts, _hashes(texts))
    first.close()

    again = CachedEmbedder(
        lambda: pytest.fail("the model was loaded"),
        EmbeddingCache(tmp_path, provider.spec),
        provider.spec,
    ).embed(texts[::-1], _hashes(texts[::-1]))

    assert (again.computed, again.cached) == (0, 2)
    np.testing.assert_array_equal(again.vectors, made.vectors[::-1])


def test_no_texts_need_no_model(cache, provider):
    embedded = CachedEmbedder(lambda: pytest.fail("loaded"), cache, provider.spec).embed([], [])

    assert embedded.vectors.shape == (0, 16)
    assert (embedded.computed, embedded.cached) == (0, 0)


def test_many_threads_load_the_model_once_and_all_get_their_vectors(provider, cache):
    loads = []
    start = threading.Barrier(8)
    embedder = CachedEmbedder(lambda: loads.append(1) or provider, cache, provider.spec)

    def work(number):
        start.wait()
        texts = [f"{number % 3}-{i}" for i in range(200)]
        return texts, embedder.embed(texts, _hashes(texts)).vectors

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(8)))

    assert len(loads) == 1
    for texts, vectors in results:
        np.testing.assert_array_equal(vectors, HashingProvider(16).embed_texts(texts))


class _Wrong(HashingProvider):
    def __init__(self, result):
        super().__init__(16)
        self._result = result

    def embed_texts(self, texts):
        return self._result


@pytest.mark.parametrize(
    "result", [np.zeros((1, 8), np.float32), np.full((1, 16), np.nan, np.float32)]
)
def test_a_provider_that_returns_what_cannot_be_used_is_an_error_and_nothing_is_kept(
    cache, provider, result
):
    embedder = CachedEmbedder(lambda: _Wrong(result), cache, provider.spec)

    with pytest.raises(EmbeddingError):
        embedder.embed(["a"], _hashes(["a"]))

    assert not cache.lookup(_hashes(["a"]))[0].any()


def test_texts_without_their_hashes_are_refused(cache, provider):
    with pytest.raises(ValueError, match="2 texts with 1 hashes"):
        CachedEmbedder(lambda: provider, cache, provider.spec).embed(["a", "b"], _hashes(["a"]))
