"""`/v1/embeddings` and `/v1/models` on Ray, as OpenAI's clients and their like use them."""

from __future__ import annotations

import asyncio
import os
import signal
from base64 import b64decode
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx
import llama_index.core
import numpy as np
import openai
import pytest
import ray
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.embedding.model_sources import packaged_folder
from lexigram_ray.embedding.models import LocalModel
from lexigram_ray.embedding.tokenizing import load_tokenizer
from lexigram_ray.runtime.warm import WarmEmbedders
from lexigram_ray.service.ray_embedders import RayEmbedders
from lexigram_ray.service.served_models import configured_model
from tests.embedding_models import real_texts
from tests.integration.local_ray import local_ray
from tests.ready_state import with_model
from tests.service_site import Site, running_service

__all__ = ["local_ray"]

pytestmark = [pytest.mark.slow, pytest.mark.ray]

TEXTS = (
    "The moon pulls the water of the sea, and so the tide comes and goes.",
    "Yeast turns sugar into gas.",
    "Grüße aus 東京 \N{SNOWMAN}",
)
TIKTOKEN_FILES = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, converted_models: Path) -> WorkersConfig:
    return WorkersConfig(
        state_dir=with_model(tmp_path_factory.mktemp("served") / "state", converted_models)
    )


@pytest.fixture(scope="module")
def site(local_ray: None, config: WorkersConfig) -> Iterator[Site]:
    """A service beside Ray's cluster, as a replica is."""
    with running_service(config, RayEmbedders(config)) as running:
        yield running


@pytest.fixture(scope="module")
def reference() -> SentenceTransformer:
    return SentenceTransformer(str(packaged_folder()), device="cpu")


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key="none") as made:
        yield made


def asked(site: Site, **body: Any) -> httpx.Response:
    return site.client.post("/v1/embeddings", json={"model": DEFAULT_MODEL, **body}, timeout=300)


def vectors_in(answer: httpx.Response) -> NDArray[np.float32]:
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [each["index"] for each in data] == list(range(len(data)))
    return np.array([each["embedding"] for each in data], np.float32)


def cosines(left: Any, right: Any) -> NDArray[np.float64]:
    one, other = np.asarray(left, np.float64), np.asarray(right, np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / norms)


def warm_embedder(config: WorkersConfig) -> Any:
    warm = WarmEmbedders(config, configured_model(config).recipe, lifetime="detached")
    (handle,) = warm.on_every_node()
    return handle


def pid_of(handle: Any) -> int:
    return int(ray.get(handle.__ray_call__.remote(lambda _: os.getpid())))


def test_vectors_are_those_of_sentence_transformers(
    site: Site, reference: SentenceTransformer
) -> None:
    texts = [*real_texts(40), *TEXTS]
    vectors = vectors_in(asked(site, input=texts))
    assert vectors.shape == (43, 384)
    assert cosines(vectors, reference.encode(texts)).min() >= 0.999
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5


def test_many_requests_at_once_each_get_their_own_vectors(site: Site) -> None:
    texts = [text[:200] for text in real_texts(96)]
    together = vectors_in(asked(site, input=texts))
    with ThreadPoolExecutor(32) as threads:
        alone = list(threads.map(lambda text: vectors_in(asked(site, input=text))[0], texts))
    assert cosines(together, alone).min() > 0.999


def test_usage_counts_the_tokens_that_the_model_reads(site: Site) -> None:
    usage = asked(site, input=["hello world", "word " * 1000]).json()["usage"]
    # Two words between the two special tokens, and the model's limit.
    assert usage == {"prompt_tokens": 4 + 256, "total_tokens": 260}


def test_base64_and_numbers_are_the_same_vectors(site: Site) -> None:
    numbers = vectors_in(asked(site, input=list(TEXTS)))
    answer = asked(site, input=list(TEXTS), encoding_format="base64").json()
    coded = [np.frombuffer(b64decode(each["embedding"]), "<f4") for each in answer["data"]]
    assert cosines(numbers, coded).min() > 0.9999


def test_fewer_dimensions_are_the_first_ones_normalised_again(site: Site) -> None:
    whole = vectors_in(asked(site, input=list(TEXTS)))
    short = vectors_in(asked(site, input=list(TEXTS), dimensions=64))
    assert short.shape == (3, 64)
    assert cosines(short, whole[:, :64]).min() > 0.999
    assert np.abs(np.linalg.norm(short, axis=1) - 1).max() < 1e-5


def test_token_ids_of_the_model_itself_stand_for_their_text(
    site: Site, config: WorkersConfig
) -> None:
    model = configured_model(config).recipe.model
    assert isinstance(model, LocalModel)
    ids = load_tokenizer(model).encode(TEXTS[1]).ids
    text = vectors_in(asked(site, input=TEXTS[1]))
    assert cosines(vectors_in(asked(site, input=ids)), text).min() > 0.99
    assert cosines(vectors_in(asked(site, input=[ids])), text).min() > 0.99


def test_a_request_of_the_most_texts_is_answered_whole(site: Site) -> None:
    texts = [f"{n} bees" for n in range(2048)]
    answer = asked(site, input=texts, encoding_format="base64")
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 2048


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"input": ""}, "input", "empty string"),
        ({"input": ["a", ""]}, "input", "item 1"),
        ({"input": []}, "input", "empty list"),
        ({"input": [[]]}, "input", "item 0"),
        ({"input": 7}, "input", "a string, a list of strings"),
        ({"input": ["a", 7]}, "input", "a string, a list of strings"),
        ({"input": [True]}, "input", "a string, a list of strings"),
        ({"input": ["a"] * 2049}, "input", "at most 2048"),
        ({"input": [-1]}, "input", "whole number from 0"),
        ({"input": [99_999]}, "input", "99999 is no token id"),
        ({"input": [101, 102]}, "input", "stand for no text"),
        ({}, "input", "required"),
        ({"input": "a", "dimensions": 385}, "dimensions", "between 1 and 384"),
        ({"input": "a", "dimensions": "64"}, "dimensions", "integer"),
        ({"input": "a", "dimensions": 0}, "dimensions", "greater"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "'float' or 'base64'"),
        ({"input": "a", "truncate": True}, "truncate", "not permitted"),
    ],
)
def test_what_is_wrong_is_a_400_that_names_its_part(
    site: Site, body: dict[str, Any], param: str, said: str
) -> None:
    answer = asked(site, **body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert said in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 50_000,
        b"\xff{}",
        b"null",
        b'"a"',
        b'{"model": "all-MiniLM-L6-v2", "input": "\\ud800"}',
        b'{"model": "\\ud800", "input": "a"}',
    ],
)
def test_a_body_that_is_no_request_is_a_400(site: Site, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = site.client.post("/v1/embeddings", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_model_is_a_404_that_names_the_known_one(
    client: openai.OpenAI,
) -> None:
    with pytest.raises(openai.NotFoundError, match="all-MiniLM-L6-v2") as caught:
        client.embeddings.create(model="gpt-4o", input="a")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_models_are_listed_and_shown_under_every_name_that_they_have(
    client: openai.OpenAI,
) -> None:
    (listed,) = client.models.list().data
    assert listed.id == DEFAULT_MODEL
    for name in (DEFAULT_MODEL, "all-MiniLM-L6-v2", "text-embedding-3-small"):
        assert client.models.retrieve(name) == listed


def test_the_official_client_works_unchanged(
    client: openai.OpenAI, reference: SentenceTransformer
) -> None:
    for name in (DEFAULT_MODEL, "all-MiniLM-L6-v2", "text-embedding-ada-002"):
        answer = client.embeddings.create(model=name, input=list(TEXTS))
        vectors = [each.embedding for each in answer.data]
        assert cosines(vectors, reference.encode(list(TEXTS))).min() >= 0.999
        assert answer.usage.prompt_tokens > 0
    numbers = client.embeddings.create(
        model=DEFAULT_MODEL, input=TEXTS[0], encoding_format="float", dimensions=8
    )
    assert len(numbers.data[0].embedding) == 8


def test_the_official_asynchronous_client_works_unchanged(site: Site) -> None:
    async def ask() -> int:
        async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key="none") as client:
            asking = (client.embeddings.create(model=DEFAULT_MODEL, input=text) for text in TEXTS)
            return sum(len(answer.data) for answer in await asyncio.gather(*asking))

    assert asyncio.run(ask()) == 3


def test_langchain_works_with_its_defaults_where_tiktoken_has_its_encoding(
    site: Site, reference: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By default it sends token ids of OpenAI's tokenizer, under OpenAI's names.
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(TIKTOKEN_FILES))
    embeddings = OpenAIEmbeddings(
        model="text-embedding-3-small", base_url=f"{site.url}/v1", api_key="none"
    )
    vectors = embeddings.embed_documents(list(TEXTS))
    assert cosines(vectors, reference.encode(list(TEXTS))).min() >= 0.999
    assert cosines([embeddings.embed_query(TEXTS[0])], vectors[:1]).min() > 0.999


def test_langchain_works_with_the_models_own_name_when_it_sends_text(
    site: Site, reference: SentenceTransformer
) -> None:
    embeddings = OpenAIEmbeddings(
        model=DEFAULT_MODEL,
        base_url=f"{site.url}/v1",
        api_key="none",
        check_embedding_ctx_length=False,
    )
    vectors = embeddings.embed_documents(list(TEXTS))
    assert cosines(vectors, reference.encode(list(TEXTS))).min() >= 0.999


def test_openais_token_ids_without_its_encoding_at_hand_say_the_way_out(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    answer = asked(site, input=[[15339, 1917]], model="text-embedding-3-small")
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert "check_embedding_ctx_length=False" in message
    assert "TIKTOKEN_CACHE_DIR" in message


def test_a_number_that_is_no_token_of_openais_is_a_400(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(TIKTOKEN_FILES))
    answer = asked(site, input=[[2_000_000_000]], model="text-embedding-3-small")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"


@pytest.mark.parametrize("name", [{}, {"model_name": DEFAULT_MODEL}])
def test_llamaindex_works_unchanged(
    site: Site, reference: SentenceTransformer, name: dict[str, str]
) -> None:
    embedding = OpenAIEmbedding(api_base=f"{site.url}/v1", api_key="none", **name)
    vectors = embedding.get_text_embedding_batch(list(TEXTS))
    assert cosines(vectors, reference.encode(list(TEXTS))).min() >= 0.999
    assert cosines([embedding.get_query_embedding(TEXTS[0])], vectors[:1]).min() > 0.999


def test_saturation_is_a_429_that_says_when_to_come_again(
    site: Site, config: WorkersConfig
) -> None:
    batches = {"most_texts": 1, "calls_at_once": 1, "most_waiting": 4}
    service = config.service.model_validate({"batches": batches})
    narrow = config.model_copy(update={"service": service})
    with running_service(narrow, RayEmbedders(narrow)) as other:
        vectors_in(asked(other, input="warm"))
        with ThreadPoolExecutor(1) as threads:
            refused, taken = None, False
            while refused is None or not taken:
                # Of two that come at once, the small one may be first.
                large = threads.submit(asked, other, input=real_texts(100))
                while not large.done():
                    answer = asked(other, input=list(TEXTS) * 2)
                    refused = answer if answer.status_code == 429 else refused
                taken = large.result().status_code == 200
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["retry-after-ms"] == "1000"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.json()["error"]["code"] == "saturated"


@pytest.mark.chaos
def test_an_embedder_killed_in_mid_flight_loses_no_request(
    site: Site, config: WorkersConfig
) -> None:
    texts = real_texts(240)
    requests: Sequence[list[str]] = [texts[start : start + 10] for start in range(0, 240, 10)]
    handle = warm_embedder(config)
    pid = pid_of(handle)
    with ThreadPoolExecutor(len(requests)) as threads:
        under_way = [threads.submit(asked, site, input=each) for each in requests]
        wait(under_way, return_when=FIRST_COMPLETED)
        os.kill(pid, signal.SIGKILL)
        assert not all(each.done() for each in under_way)
        found = np.concatenate([vectors_in(each.result()) for each in under_way])
    assert pid_of(handle) != pid
    assert cosines(found, vectors_in(asked(site, input=texts))).min() > 0.999


@pytest.mark.chaos
def test_an_embedder_that_is_gone_for_good_is_replaced(site: Site, config: WorkersConfig) -> None:
    handle = warm_embedder(config)
    pid = pid_of(handle)
    ray.kill(handle, no_restart=True)
    assert vectors_in(asked(site, input=TEXTS[0])).shape == (1, 384)
    assert pid_of(warm_embedder(config)) != pid


def test_the_first_request_of_a_new_replica_finds_the_warm_embedder(
    site: Site, config: WorkersConfig
) -> None:
    pid = pid_of(warm_embedder(config))
    with running_service(config, RayEmbedders(config)) as other:
        assert vectors_in(asked(other, input=TEXTS[0])).shape == (1, 384)
    assert pid_of(warm_embedder(config)) == pid
