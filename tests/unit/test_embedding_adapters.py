from __future__ import annotations

import asyncio
import pickle

import numpy as np
import pytest

from lexigram_ray.core.errors import ConfigError, EmbeddingError, TextsRefusedError
from lexigram_ray.embedding.adapters import as_provider
from lexigram_ray.embedding.engine import LocalProvider
from tests.fakes import HashingProvider


class Lists:
    """A user's class: plain lists, not normalised, one text of no use."""

    revision = "7"

    def embed(self, texts):
        return [_numbers(text) for text in texts]


def _numbers(text):
    return {"nan": [float("nan"), 1.0], "zero": [0.0, 0.0]}.get(text, [3.0, float(len(text))])


class Async:
    """A client of the kind that belongs to the loop in which it was first used."""

    name = "house-model"
    dimension = 2

    def __init__(self):
        self.loops = set()

    async def embed_texts(self, texts):
        self.loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [_numbers(text) for text in texts]

    async def embed_query(self, text):
        return [0.0, 2.0]


def test_plain_lists_become_normalised_vectors_of_a_learned_dimension():
    provider = as_provider(Lists())

    vectors = provider.embed_texts(["four"])

    assert (provider.spec.name, provider.spec.revision, provider.spec.dimension) == (
        f"{__name__}.Lists",
        "7",
        2,
    )
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_array_equal(provider.embed_query("four"), vectors[0])
    assert provider.embed_texts([]).shape == (0, 2)


def test_coroutines_are_awaited_in_one_loop_even_from_within_another():
    source = Async()
    provider = as_provider(source)

    async def call():
        return provider.embed_texts(["four"])

    np.testing.assert_allclose(asyncio.run(call()), [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(provider.embed_texts(["four"]), [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_array_equal(provider.embed_query("x"), [0.0, 1.0])
    assert provider.spec.name == "house-model"
    assert len(source.loops) == 1


def test_a_row_without_direction_is_refused_and_its_neighbours_have_vectors():
    with pytest.raises(TextsRefusedError) as caught:
        as_provider(Lists()).embed_texts(["nan", "four", "zero"])

    assert caught.value.reasons == {
        0: "Lists gave a vector that is not finite",
        2: "Lists gave a vector of zeros",
    }
    np.testing.assert_allclose(caught.value.vectors, [[0, 0], [0.6, 0.8], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([[1.0, 0.0]], r"shape \(1, 2\), not \(2, 2\)"),
        ([[1.0], [1.0, 2.0]], "no array of numbers"),
        (None, "shape|no array of numbers"),
        ("words", "no array of numbers"),
    ],
)
def test_what_is_no_table_of_vectors_is_an_error_that_names_the_provider(returned, said):
    source = type("House", (), {"dimension": 2, "embed_texts": lambda self, texts: returned})()

    with pytest.raises(EmbeddingError, match=said) as caught:
        as_provider(source).embed_texts(["a", "b"])

    assert "House" in str(caught.value)


def test_a_failure_of_the_object_is_named_and_chained():
    class Broken:
        dimension = 2

        def embed_texts(self, texts):
            raise KeyError("weights")

    with pytest.raises(EmbeddingError, match="Broken failed: KeyError") as caught:
        as_provider(Broken()).embed_texts(["a"])

    assert isinstance(caught.value.__cause__, KeyError)


def test_an_object_that_embeds_nothing_is_refused_with_the_way_out():
    with pytest.raises(ConfigError, match="neither embed_texts nor embed") as caught:
        as_provider(object())

    assert caught.value.hint is not None


def test_a_spec_of_its_own_counts_and_a_pickle_keeps_it():
    provider = as_provider(HashingProvider(16))

    copy = pickle.loads(pickle.dumps(provider))

    assert copy.spec == provider.spec == HashingProvider(16).spec
    np.testing.assert_array_equal(copy.embed_texts(["a"]), HashingProvider(16).embed_texts(["a"]))


def test_a_provider_of_this_package_is_returned_as_it_is():
    own = LocalProvider.__new__(LocalProvider)

    assert as_provider(own) is own


def test_tensors_of_any_kind_become_vectors():
    torch = pytest.importorskip("torch")
    gradient = torch.nn.Parameter(torch.ones(2))
    kinds = (
        torch.ones(2, 2, dtype=torch.bfloat16),
        torch.nn.Parameter(torch.ones(2, 2)),
        [gradient, gradient],
    )

    for returned in kinds:
        source = type("House", (), {"dimension": 2, "embed": lambda self, _, got=returned: got})()
        vectors = as_provider(source).embed_texts(["a", "b"])
        np.testing.assert_allclose(vectors, np.full((2, 2), 0.5**0.5), rtol=1e-6)


def test_an_object_that_says_nothing_of_itself_has_no_revision_and_its_modules_name():
    spec = as_provider(
        type("House", (), {"dimension": 2, "embed": None, "embed_texts": len})()
    ).spec

    assert (spec.name, spec.revision) == (f"{__name__}.House", "")
