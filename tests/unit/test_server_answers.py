from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexigram_ray.core.errors import ConfigError, ModelNotFoundError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.embedding.server_options import ServerOptions
from lexigram_ray.embedding.server_vectors import Vectors, read_vectors
from lexigram_ray.embedding.server_verdicts import Again, Answer, Refusal, judge

OPTIONS = ServerOptions(url="http://host:8000/v1", api_key="sk-0123456789")


def _judged(status: int, body: object = "", **headers: str) -> Refusal | Again:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(status=status, headers=named, body=raw)
    return judge(answer, model="m", options=OPTIONS, now=0.0)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no such thing", "type": "x"}}, "no such thing"),
        ({"error": "batch too large", "error_type": "Validation"}, "batch too large"),
        ({"detail": "Not Found"}, "Not Found"),
        (
            {"detail": [{"loc": ["body", "input"], "msg": "too short", "input": "my text"}]},
            "too short (body.input)",
        ),
        (b"<!doctype html><p>no</p>", "HTML instead of JSON"),
        (b"plain\n\x1b[31mwords", "plain [31mwords"),
        (b"", "nothing more is said"),
        (b"\xff" * 5000, "\ufffd" * 300 + "..."),
        ({"error": {"message": "key sk-0123456789 is bad"}}, "key *** is bad"),
        (b"[" * 100_000, "[" * 300 + "..."),
    ],
)
def test_the_words_of_every_kind_of_server_are_found_and_are_one_line(body, words):
    assert _judged(400, body) == Refusal(reason=words)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_is_of_the_texts(status):
    assert isinstance(_judged(status, {"error": "no"}), Refusal)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_what_passes_is_asked_again(status):
    again = _judged(status, {"error": "later"}, retry_after="2")

    assert isinstance(again, Again)
    assert again.wait_seconds == 2
    assert (again.category is FailureCategory.THROTTLED) == (status == 429)
    assert not again.hopeless


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "input is too large to process. increase the physical batch size"),
        (500, "the input length exceeds the context length"),
        (429, "Request too large for m on tokens per min (TPM): Limit 40000, Requested 60000"),
    ],
)
def test_what_can_never_pass_is_a_refusal_whatever_its_status(status, words):
    assert _judged(status, {"error": {"message": words}}) == Refusal(reason=words)


def test_the_servers_own_advice_goes_before_the_status():
    assert isinstance(_judged(400, "x", x_should_retry="true"), Again)
    never = _judged(503, "x", x_should_retry="false")
    assert isinstance(never, Again)
    assert never.hopeless


@pytest.mark.parametrize("status", [301, 302, 308, 401, 402, 403, 404, 405, 204])
def test_wrong_use_stops_with_a_way_out(status):
    with pytest.raises(ConfigError) as caught:
        _judged(status, {"error": "sk-0123456789"})

    assert caught.value.hint
    assert "sk-0123456789" not in str(caught.value)


def test_a_missing_model_is_told_from_a_wrong_path():
    with pytest.raises(ModelNotFoundError, match="http://host:8000/v1 has no model m"):
        _judged(404, {"error": {"message": "model m not found"}})


@pytest.mark.parametrize(
    ("reason", "of_length"),
    [
        ("This model's maximum context length is 8192 tokens, however you requested 9000", True),
        ("Input validation error: `inputs` must have less than 512 tokens. Given: 700", True),
        ("the input length exceeds the maximum of 512 tokens", True),
        ("invalid token in the input", False),
        ("batch size 64 > maximum allowed batch size 32", False),
    ],
)
def test_a_text_that_is_too_long_is_known_by_the_servers_words(reason, of_length):
    assert Refusal(reason=reason).of_length is of_length


def _read(body: object, count: int, dimension: int | None = 2) -> Vectors | Again:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_vectors(Answer(status=200, headers={}, body=raw), count, dimension)


def _data(*vectors: object) -> dict[str, object]:
    return {"data": [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "embedding", "index", "usage", "prompt_tokens"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@settings(max_examples=50)
@given(JSON | st.lists(st.fixed_dictionaries({"index": JSON, "embedding": JSON}), max_size=3))
def test_nothing_that_a_server_sends_is_an_exception(content):
    for body in (content, {"data": content}, {"data": content, "usage": content}):
        answer = _read(body, 2)
        if isinstance(answer, Vectors):
            norms = np.linalg.norm(answer.rows, axis=1)
            assert all(
                place in answer.faults or abs(norm - 1) < 1e-6 for place, norm in enumerate(norms)
            )


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_vectors_of_any_size_are_normalised(scale):
    answer = _read(_data([3 * scale, 4 * scale]), 1)

    assert isinstance(answer, Vectors)
    np.testing.assert_allclose(answer.rows, [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("vector", ["====", "AAA", [], {}, None, [[1, 2]], ["a", "b"], [1, 2, 3]])
def test_a_vector_that_cannot_be_read_is_a_fault_of_its_row_alone(vector):
    answer = _read(_data([0, 1], vector), 2)

    assert isinstance(answer, Vectors)
    assert list(answer.faults) == [1]
    np.testing.assert_array_equal(answer.rows, [[0, 1], [0, 0]])


def test_the_first_vector_gives_the_dimension_where_none_is_known():
    answer = _read(_data([0, 0, 2]), 1, None)

    assert isinstance(answer, Vectors)
    assert answer.rows.shape == (1, 3)


@pytest.mark.parametrize("before", [270, 280, 290, 297])
def test_no_part_of_the_key_stands_where_a_long_message_is_cut(before):
    refusal = _judged(400, {"error": f"{'x' * before} sk-0123456789 is bad"})

    assert isinstance(refusal, Refusal)
    assert "sk-" not in refusal.reason


@pytest.mark.parametrize("key", ["sk-0123456789", "sk-0123456789%20"])
def test_a_redirect_that_quotes_the_key_does_not_show_it(key):
    with pytest.raises(ConfigError, match="leads to") as caught:
        _judged(301, location=f"http://host/login/{key}?key={key}")

    assert "sk-0123456789" not in str(caught.value)
