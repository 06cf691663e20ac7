from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from lexigram_ray.core.errors import DiskFullError, EmbeddingError, TextsRefusedError
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
    def embed_texts(self, texts):
        return np.zeros((len(texts), 8), np.float32)


def test_vectors_of_another_dimension_are_an_error_and_nothing_is_kept(cache, provider):
    embedder = CachedEmbedder(lambda: _Wrong(16), cache, provider.spec)

    with pytest.raises(EmbeddingError, match="shape"):
        embedder.embed(["a"], _hashes(["a"]))

    assert not cache.lookup(_hashes(["a"]))[0].any()


class _Refusing(HashingProvider):
    """Refuses each text that says "bad", by error or by a vector of no use, and cuts "long"."""

    def embed_counted(self, texts):
        vectors = self.embed_texts(texts)
        reasons = {place: f"{text} is too bad" for place, text in enumerate(texts) if text == "bad"}
        if reasons:
            raise TextsRefusedError(reasons, vectors)
        vectors[[text == "nan" for text in texts]] = np.nan
        return SimpleNamespace(vectors=vectors, truncated=texts.count("long"))


@pytest.mark.parametrize(("bad", "reason"), [("bad", "bad is too bad"), ("nan", "not finite")])
def test_a_refused_text_costs_its_places_only_and_is_not_kept(tmp_path, bad, reason):
    texts = ["a", bad, "b", bad, "a"]
    provider = _Refusing(16)
    cache = EmbeddingCache(tmp_path, provider.spec)

    embedded = CachedEmbedder(lambda: provider, cache, provider.spec).embed(texts, _hashes(texts))

    assert list(embedded.refused) == [1, 3]
    assert all(reason in said for said in embedded.refused.values())
    assert embedded.fresh.tolist() == [True, False, True, False, False]
    assert (embedded.computed, embedded.cached) == (2, 1)
    expected = HashingProvider(16).embed_texts(texts)
    expected[[1, 3]] = 0
    np.testing.assert_array_equal(embedded.vectors, expected)
    assert cache.lookup(_hashes(["a", bad, "b"]))[0].tolist() == [True, False, True]


def test_a_provider_that_counts_what_it_cuts_is_asked_for_it(cache, provider):
    counting = _Refusing(16)
    embedder = CachedEmbedder(lambda: counting, cache, provider.spec)

    assert embedder.embed(["long", "a", "long"], _hashes(["long", "a", "long"])).truncated == 1
    assert embedder.embed(["long"], _hashes(["long"])).truncated == 0


def test_texts_without_their_hashes_are_refused(cache, provider):
    with pytest.raises(ValueError, match="2 texts with 1 hashes"):
        CachedEmbedder(lambda: provider, cache, provider.spec).embed(["a", "b"], _hashes(["a"]))


class _Closable(HashingProvider):
    closed = False

    def close(self):
        self.closed = True


@pytest.mark.parametrize("owns", [True, False])
def test_a_full_disk_at_the_end_still_closes_the_provider_unless_it_is_the_users(cache, owns):
    provider = _Closable(16)
    embedder = CachedEmbedder(lambda: provider, cache, provider.spec, owns_provider=owns)
    embedder.embed(["a"], _hashes(["a"]))
    cache.close = lambda: (_ for _ in ()).throw(DiskFullError("full"))

    with pytest.raises(DiskFullError):
        embedder.close()

    assert provider.closed is owns


def test_no_call_of_the_model_has_more_texts_than_were_asked_for(provider):
    texts = [f"text {number}" for number in range(7)]
    sizes = []

    class Counting:
        spec = provider.spec

        def embed_texts(self, some):
            sizes.append(len(some))
            vectors = provider.embed_texts(some)
            if "text 4" in some:
                place = list(some).index("text 4")
                raise TextsRefusedError({place: "no"}, vectors)
            return vectors

    embedded = CachedEmbedder(Counting, None, provider.spec, most_texts=3).embed(
        texts, _hashes(texts)
    )

    assert sizes == [3, 3, 1]
    assert (embedded.computed, dict(embedded.refused)) == (6, {4: "no"})
    expected = HashingProvider(16).embed_texts(texts)
    kept = [0, 1, 2, 3, 5, 6]
    np.testing.assert_array_equal(embedded.vectors[kept], expected[kept])
