"""The provider for OpenAI-compatible servers, against a real server that misbehaves."""

from __future__ import annotations

import json
import pickle
import re
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest

from lexigram_ray.core.errors import (
    ConfigError,
    EmbeddingError,
    EmbeddingServerError,
    ModelNotFoundError,
    TextsRefusedError,
)
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.embedding.server_model import PLAIN_TEXT, describe_server
from lexigram_ray.embedding.server_options import ServerOptions
from lexigram_ray.embedding.server_pace import Pace
from lexigram_ray.embedding.server_provider import ServerProvider
from tests.misbehaving_server import (
    DIMENSION,
    MODEL,
    Asked,
    MisbehavingServer,
    changed,
    dripping,
    dropped,
    error,
    expected,
    html,
    raw_vector,
    refusing,
    running,
    slow,
    well,
)

KEY = "sk-very-secret-0123456789"
TEXTS = [f"text number {number} of some" for number in range(200)]


@pytest.fixture(scope="module")
def one_server() -> Iterator[MisbehavingServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(one_server: MisbehavingServer) -> MisbehavingServer:
    one_server.reset()
    return one_server


Make = Callable[..., ServerProvider]


@pytest.fixture
def make(server: MisbehavingServer, tmp_path: Path) -> Iterator[Make]:
    """Make providers whose own backoff is short; what a server asks for is waited for in full."""
    made: list[ServerProvider] = []

    def provider(long_texts: str = "truncate", **options: object) -> ServerProvider:
        wanted = ServerOptions(**{"url": server.url, "api_key": KEY, "batch_texts": 50, **options})
        model = describe_server(MODEL, wanted, models_dir=tmp_path)
        pace = Pace(wanted.tokens_per_minute, draw=lambda: 0.01)
        made.append(ServerProvider(model, long_texts=long_texts, pace=pace))
        made[-1].embed_query("first")  # it looks at the server's model before its first text
        server.requests.clear()
        server.texts_answered.clear()
        return made[-1]

    yield provider
    for each in made:
        each.close()


def _assert_right(vectors: np.ndarray, texts: list[str] = TEXTS) -> None:
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(texts), atol=1e-6)


def _sent_once(server: MisbehavingServer) -> bool:
    return sorted(set(server.texts_answered) - {PLAIN_TEXT}) == sorted(
        text for text in server.texts_answered if text != PLAIN_TEXT
    )


# What is sent, and what is learned of the server


def test_texts_get_their_vectors_in_order_and_the_server_sees_openais_request(server, make):
    provider = make(dimensions=DIMENSION)
    before = provider.usage

    vectors = provider.embed_texts([*TEXTS, TEXTS[7]])

    _assert_right(vectors, [*TEXTS, TEXTS[7]])
    assert [len(asked.texts) for asked in server.requests] == [50, 50, 50, 50]
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert {name: value for name, value in server.requests[0].body.items() if name != "input"} == {
        "model": MODEL, "encoding_format": "base64", "dimensions": DIMENSION,
    }  # fmt: skip
    assert provider.usage.prompt_tokens - before.prompt_tokens == 5 * len(TEXTS)
    assert (provider.usage.requests - before.requests, provider.usage.retries) == (4, 0)


def test_a_query_is_one_request(server, make):
    provider = make()

    _assert_right(provider.embed_query("what is it?")[None], ["what is it?"])
    assert len(server.requests) == 1


def test_the_model_is_probed_once_and_remembered_for_other_processes(server, tmp_path):
    options = ServerOptions(url=server.url, api_key=KEY)
    first = describe_server(MODEL, options, models_dir=tmp_path)

    again = describe_server(MODEL, options, models_dir=tmp_path)

    assert (again, len(server.requests)) == (first, 1)
    assert (first.spec.dimension, first.spec.max_tokens) == (DIMENSION, 8191)
    assert KEY not in "".join(file.read_text() for file in tmp_path.rglob("*.json"))
    other = describe_server("another", options, models_dir=tmp_path)
    assert other.spec.revision != first.spec.revision
    assert pickle.loads(pickle.dumps(first)) == first


def test_each_prefix_and_query_of_a_gateway_is_a_model_of_its_own(server, tmp_path):
    revisions = {
        describe_server(MODEL, ServerOptions(url=url), models_dir=tmp_path).spec.revision
        for url in (server.url, f"{server.url}/", f"{server.url}?for=a", f"{server.url}?for=b")
    }

    assert len(revisions) == 3


def test_another_model_behind_the_same_url_embeds_nothing(server, make, tmp_path):
    model = make()._model
    swapped = ServerProvider(model, pace=Pace(draw=lambda: 0.01))
    server.always = changed(
        lambda asked, body: body.update(well(asked, [raw_vector(f"!{t}") for t in asked.texts]))
    )

    with pytest.raises(EmbeddingServerError, match="not the one that the server sent") as caught:
        swapped.embed_texts(TEXTS)
    swapped.close()

    assert [asked.texts for asked in server.requests] == [[PLAIN_TEXT]]
    assert caught.value.category is FailureCategory.PERMANENT
    assert "may have changed" in (caught.value.hint or "")


def test_a_wholly_cached_job_asks_no_server(server, make, tmp_path):
    provider, hashes = make(), [hash_text(text) for text in TEXTS]
    cache = EmbeddingCache(tmp_path / "cache", provider.spec)
    CachedEmbedder(lambda: provider, cache, provider.spec).embed(TEXTS, hashes)
    server.requests.clear()

    again = CachedEmbedder(lambda: pytest.fail("asked"), cache, provider.spec).embed(TEXTS, hashes)

    _assert_right(again.vectors)
    assert server.requests == []


@pytest.mark.parametrize("words", ["unknown parameter: encoding_format", "unknown field"])
def test_a_server_that_knows_no_base64_is_asked_for_numbers(server, make, words):
    server.always = refusing(lambda asked: words if "encoding_format" in asked.body else None, 422)
    provider = make()

    _assert_right(provider.embed_texts(TEXTS))
    assert not any("encoding_format" in asked.body for asked in server.requests)


def test_base64_refused_in_the_middle_of_a_run_costs_no_text(server, make):
    provider = make()
    server.always = refusing(
        lambda asked: "base64 is not supported" if "encoding_format" in asked.body else None
    )

    _assert_right(provider.embed_texts(TEXTS))


# Wrong order, short answers, NaN


def _shuffled(asked: Asked, body: dict) -> None:
    np.random.default_rng(len(asked.texts)).shuffle(body["data"])


def _unnumbered(asked: Asked, body: dict) -> None:
    for entry in body["data"]:
        del entry["index"]


@pytest.mark.parametrize("change", [_shuffled, _unnumbered])
def test_vectors_are_ordered_by_their_numbers_where_they_have_some(server, make, change):
    provider = make()
    server.always = changed(change)

    _assert_right(provider.embed_texts(TEXTS))


def test_vectors_whose_numbers_repeat_are_never_given_to_the_wrong_text(server, make):
    provider = make(batch_texts=8)
    server.always = changed(lambda _, body: [entry.update(index=0) for entry in body["data"]])

    _assert_right(provider.embed_texts(TEXTS[:16]), TEXTS[:16])


def test_a_short_answer_once_is_asked_for_again(server, make):
    provider = make()
    server.next = [changed(lambda _, body: body["data"].pop())]

    _assert_right(provider.embed_texts(TEXTS))
    assert provider.usage.retries == 1


def test_a_text_for_which_the_server_never_sends_a_vector_is_refused_alone(server, make):
    provider = make()
    bad = TEXTS[123]

    def drop(asked: Asked, body: dict) -> None:
        if bad in asked.texts:
            # As servers do that skip a text: the others move up and are numbered anew.
            del body["data"][asked.texts.index(bad)]
            for index, entry in enumerate(body["data"]):
                entry["index"] = index

    server.always = changed(drop)
    with pytest.raises(TextsRefusedError, match="0 vectors for 1 text") as caught:
        provider.embed_texts(TEXTS)

    assert list(caught.value.reasons) == [123]
    _assert_right(np.delete(caught.value.vectors, 123, 0), TEXTS[:123] + TEXTS[124:])


@pytest.mark.parametrize("value", [float("nan"), None, 1e400, 0.0, "x"])
def test_a_vector_that_cannot_be_used_is_asked_for_again_and_then_refused(server, make, value):
    provider = make()
    bad = TEXTS[60]

    def spoil(asked: Asked, body: dict) -> None:
        if bad in asked.texts:
            body["data"][asked.texts.index(bad)]["embedding"] = [value] * DIMENSION

    server.always = changed(spoil)
    with pytest.raises(TextsRefusedError) as caught:
        provider.embed_texts(TEXTS)

    assert list(caught.value.reasons) == [60]
    assert not caught.value.vectors[60].any()
    _assert_right(np.delete(caught.value.vectors, 60, 0), TEXTS[:60] + TEXTS[61:])
    assert [asked.texts for asked in server.requests if asked.texts == [bad]] == [[bad], [bad]]


def test_a_server_that_changes_its_dimension_stops_the_call_and_blames_no_text(server, make):
    provider = make()
    server.always = changed(
        lambda _, body: [entry.update(embedding=[1.0] * 8) for entry in body["data"]]
    )

    with pytest.raises(
        (EmbeddingError, EmbeddingServerError), match="8 numbers, not 16, even for a plain text"
    ) as caught:
        provider.embed_texts(TEXTS)

    assert not isinstance(caught.value, TextsRefusedError)
    assert caught.value.category is FailureCategory.PERMANENT


# Refusals


def test_one_poison_text_of_200_is_found_and_everything_else_is_paid_once(server, make):
    provider = make(batch_texts=200, concurrency=4)
    poison = TEXTS[77]
    server.always = refusing(
        lambda asked: (
            f"input {asked.texts.index(poison)} is poison" if poison in asked.texts else None
        )
    )
    with pytest.raises(TextsRefusedError, match="is poison") as caught:
        provider.embed_texts([*TEXTS, poison])

    assert list(caught.value.reasons) == [77, 200]
    assert caught.value.category is FailureCategory.INVALID_INPUT
    kept = np.delete(caught.value.vectors, [77, 200], 0)
    _assert_right(kept, TEXTS[:77] + TEXTS[78:])
    assert _sent_once(server)
    assert len(server.requests) <= 18
    assert provider.usage.retries == 0


def test_a_server_that_refuses_everything_is_not_a_fault_of_the_texts(server, make):
    provider = make()
    server.always = error(400, "invalid model configuration")

    with pytest.raises(ConfigError, match=r"refuses a plain text.*invalid model configuration"):
        provider.embed_texts(TEXTS)

    assert len(server.requests) < 20


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_batch_that_is_too_large_is_halved_and_later_ones_are_smaller(server, make, status):
    provider = make(batch_texts=100, concurrency=1)
    server.always = refusing(
        lambda asked: (
            "batch size > maximum allowed batch size 32" if len(asked.texts) > 32 else None
        ),
        status,
    )

    _assert_right(provider.embed_texts(TEXTS))
    assert _sent_once(server)
    server.requests.clear()
    provider.embed_texts(TEXTS)
    assert max(len(asked.texts) for asked in server.requests) == 25


def test_a_limit_of_tokens_leaves_short_texts_together(server, make):
    provider = make(batch_texts=100, concurrency=1)
    long = [f"{text} {'word ' * 80}" for text in TEXTS]
    server.always = refusing(
        lambda asked: (
            "max 1000 tokens per request"
            if sum(len(text.split()) for text in asked.texts) > 1000
            else None
        )
    )

    _assert_right(provider.embed_texts(long[:40]), long[:40])
    server.requests.clear()
    _assert_right(provider.embed_texts(TEXTS[:100]), TEXTS[:100])
    assert [len(asked.texts) for asked in server.requests] == [100]


def test_batches_keep_the_limit_of_tokens(server, make):
    provider = make(batch_tokens=100)

    provider.embed_texts(TEXTS)

    assert max(sum(map(len, asked.texts)) for asked in server.requests) <= 300


def test_empty_and_broken_texts_are_refused_without_asking(server, make):
    with pytest.raises(TextsRefusedError) as caught:
        make().embed_texts(["good", "", "lone \ud800", ""])

    assert {row: reason[:20] for row, reason in caught.value.reasons.items()} == {
        1: "it is empty, and a s", 2: "it is not valid Unic", 3: "it is empty, and a s",
    }  # fmt: skip
    assert [asked.texts for asked in server.requests] == [["good"]]
    _assert_right(caught.value.vectors[:1], ["good"])


def test_long_texts_are_cut_and_counted(server, make):
    provider = make(max_text_tokens=10)

    counted = provider.embed_counted(["short", "x" * 100, "x" * 100, "汉" * 100])

    assert counted.truncated == 3
    _assert_right(counted.vectors, ["short", "x" * 30, "x" * 30, "汉" * 10])
    with pytest.raises(TextsRefusedError) as caught:
        provider.embed_counted(["", "x" * 100])
    assert vars(caught.value)["truncated"] == 1


def test_a_text_that_the_server_finds_too_long_is_cut_until_it_takes_it(server, make):
    provider = make()
    long = "y" * 1000
    server.always = refusing(
        lambda asked: (
            "This model's maximum context length is 200 tokens"
            if max(map(len, asked.texts)) > 400
            else None
        )
    )

    counted = provider.embed_counted([*TEXTS[:3], long])

    assert counted.truncated == 1
    _assert_right(counted.vectors, [*TEXTS[:3], long[:249]])


def test_long_texts_can_be_refused_instead_but_a_query_is_cut(server, make):
    provider = make("fail", max_text_tokens=10)
    with pytest.raises(TextsRefusedError, match="about 34 tokens, and test-embedding reads 10"):
        provider.embed_texts(["short", "x" * 100])
    _assert_right(provider.embed_query("x" * 100)[None], ["x" * 30])


# Throttling and outages


def test_what_one_request_is_told_to_wait_all_others_wait(server, make):
    provider = make(batch_texts=10, concurrency=4)
    server.next = [error(429, "slow down", retry_after_ms="400")]
    server.always = slow(0.15)

    _assert_right(provider.embed_texts(TEXTS))

    # Only the three that were under way already come before.
    assert server.requests[4].at - server.requests[0].at >= 0.4
    assert len(server.requests) == 21


def test_a_storm_of_429_costs_waits_and_no_text(server, make):
    provider = make(batch_texts=10, concurrency=8)
    server.next = [error(429, "slow down", retry_after_ms="100") for _ in range(8)]

    _assert_right(provider.embed_texts(TEXTS))

    assert len(server.requests) == 28
    assert _sent_once(server)
    assert provider.usage.retries == 8


def test_retry_after_is_obeyed_as_a_number_and_as_a_date(server, make):
    provider = make()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.next = [error(429, "slow", retry_after="0.4"), error(503, "busy", retry_after=date)]
    began = time.time()

    provider.embed_query("a")

    first, second, third = (asked.at for asked in server.requests)
    assert second - first >= 0.4
    assert time.time() - began >= 0.9
    assert third - second <= 2.5


def test_a_server_that_stays_throttled_is_given_up_as_throttled(server, make):
    provider = make(max_attempts=3)
    server.always = error(429, "rate limit reached", retry_after_ms="10")

    with pytest.raises(
        EmbeddingServerError, match=r"answered 429 \(rate limit reached\) 3 times"
    ) as caught:
        provider.embed_texts(TEXTS[:5])

    assert caught.value.category is FailureCategory.THROTTLED
    assert caught.value.retry_after == 60
    assert "tokens_per_minute" in (caught.value.hint or "")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"x_should_retry": "false"}, 60), ({"retry_after": "7200"}, 7200)],
    ids=["told", "two hours"],
)
def test_a_wait_without_hope_is_not_begun_here_and_the_error_says_how_long_it_is(
    server, make, headers, seconds
):
    provider = make()
    server.always = error(429, "come back tomorrow", **headers)

    with pytest.raises(EmbeddingServerError, match="come back tomorrow") as caught:
        provider.embed_texts(TEXTS[:5])

    assert caught.value.category is FailureCategory.THROTTLED
    assert pickle.loads(pickle.dumps(caught.value)).retry_after == seconds
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fault", [error(500, "oops"), error(503, "starting"), dropped, html], ids=lambda f: f.__name__
)
def test_what_passes_is_tried_again(server, make, fault):
    provider = make()
    server.next = [fault] * 3

    _assert_right(provider.embed_texts(TEXTS))
    assert provider.usage.retries == 3


@pytest.mark.parametrize("fault", [slow(4.0), dripping(4.0)], ids=["silent", "dripping"])
def test_a_slow_answer_is_given_up_at_the_time_limit(server, make, fault):
    provider = make(timeout_seconds=0.3)
    server.next = [fault]
    began = time.monotonic()

    _assert_right(provider.embed_texts(TEXTS[:10]), TEXTS[:10])
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (error(500, "boom"), r"answered 500 \(boom\) 2 times"),
        (dropped, "did not answer.* 2 times"),
        (html, "sent HTML where vectors should be 2 times"),
        (changed(lambda _, body: body.pop("data")), "sent JSON without vectors 2 times"),
    ],
)
def test_a_lasting_outage_is_one_clear_error(server, make, fault, words):
    provider = make(max_attempts=2)
    server.always = fault

    with pytest.raises((EmbeddingError, EmbeddingServerError), match=words) as caught:
        provider.embed_texts(TEXTS)

    assert caught.value.category is FailureCategory.TRANSIENT
    assert caught.value.retry_after is None
    assert caught.value.hint


def test_after_an_outage_only_what_is_missing_is_asked_for(server, make):
    provider = make(batch_texts=10, concurrency=2, max_attempts=1)

    def fail_after(asked: Asked) -> str | None:
        return "down" if TEXTS[100] in asked.texts and len(server.requests) < 20 else None

    server.always = refusing(fail_after, 503)
    with pytest.raises((EmbeddingError, EmbeddingServerError), match="down"):
        provider.embed_texts(TEXTS)
    server.always = None

    _assert_right(provider.embed_texts(TEXTS))
    assert _sent_once(server)
    assert len(server.texts_answered) == len(TEXTS)


def test_the_budget_of_tokens_spreads_the_requests(server, make):
    provider = make(tokens_per_minute=12_000, batch_texts=50, concurrency=8)
    server.always = changed(lambda _, body: body.pop("usage"))

    _assert_right(provider.embed_texts(TEXTS[:150]), TEXTS[:150])

    arrivals = [asked.at for asked in server.requests]
    tokens = sum(len(text) for text in TEXTS[:150]) / 3
    # A burst of 1,000 goes at once; the rest at 11,000 a minute.
    assert arrivals[-1] - arrivals[0] >= (tokens - 1000) / (11_000 / 60) - 0.1


def test_threads_share_a_provider_and_its_waits(server, make):
    provider = make(batch_texts=5, concurrency=3)
    server.next = [error(429, "slow", retry_after_ms="50"), error(500, "oops"), dropped]

    with ThreadPoolExecutor(4) as pool:
        parts = list(
            pool.map(lambda i: provider.embed_texts(TEXTS[i * 50 : i * 50 + 50]), range(4))
        )

    _assert_right(np.concatenate(parts))
    assert _sent_once(server)


def test_closing_ends_a_call_that_waits(server, make):
    provider = make(batch_texts=50)
    server.always = error(429, "later", retry_after="60")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(provider.embed_texts, TEXTS)
        while not server.requests:
            time.sleep(0.01)
        time.sleep(0.1)
        provider.close()
        with pytest.raises(
            (EmbeddingError, EmbeddingServerError), match="was closed during a call"
        ):
            waiting.result(timeout=5)


# Wrong use, and the key


@pytest.mark.parametrize(
    "told",
    [
        (error(401, f"Incorrect API key provided: {KEY}"), ConfigError, "refuses the key"),
        (error(403, "not yours"), ConfigError, "does not let this key use test-embedding"),
        (error(404, "The model `x` does not exist"), ModelNotFoundError, "no model test-embed"),
        (error(404, "Not Found"), ConfigError, "answered 404: Not Found"),
        (error(307, "moved", location="https://elsewhere.example/v1"), ConfigError, "elsewhere"),
        (error(429, "no credit", code="insufficient_quota"), ConfigError, "credit is used up"),
    ],
)
def test_wrong_use_is_said_at_once_with_a_way_out_and_without_the_key(server, make, caplog, told):
    fault, kind, words = told
    provider = make()
    server.always = fault
    caplog.set_level(0)

    with pytest.raises(kind, match=words) as caught:
        provider.embed_texts(TEXTS[:10])

    assert len(server.requests) == 1
    assert caught.value.hint
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(provider._model)
    assert KEY not in shown


def test_a_probe_says_what_is_wrong_with_url_model_or_dimensions(server, tmp_path):
    def described(**options: object) -> None:
        describe_server(
            MODEL,
            ServerOptions(**{"url": server.url, "timeout_seconds": 1, **options}),
            models_dir=tmp_path,
            pace=Pace(draw=lambda: 0.01),
        )

    with pytest.raises(ConfigError, match="answered 404"):
        described(url=server.url.removesuffix("/v1"))
    with pytest.raises(ConfigError, match="asked for 8 numbers a vector, it sends 16"):
        described(dimensions=8)
    with pytest.raises((EmbeddingError, EmbeddingServerError), match=r"did not answer.* 3 times"):
        described(url="http://127.0.0.1:9/v1")
    server.always = error(401, "who are you")
    with pytest.raises(ConfigError, match="asks for a key"):
        described()
    assert not list(tmp_path.iterdir())


def test_a_damaged_memory_of_the_probe_only_costs_a_request(server, tmp_path):
    options = ServerOptions(url=server.url)
    first = describe_server(MODEL, options, models_dir=tmp_path)
    (file,) = tmp_path.rglob("*.json")
    record = json.loads(file.read_text())
    old = json.dumps({name: value for name, value in record.items() if name != "plain_vector"})
    for damage in ("", "[]", json.dumps({**record, "dimension": 0}), '{"dimension": "x"}', old):
        file.write_text(damage)
        assert describe_server(MODEL, options, models_dir=tmp_path) == first
    assert len(server.requests) == 6
    assert re.fullmatch(r"[0-9a-f]{32}", first.spec.revision)
