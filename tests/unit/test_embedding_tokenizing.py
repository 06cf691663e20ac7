from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lexigram_ray.core.errors import ConfigError, EmbeddingError
from lexigram_ray.embedding.tokenizing import TextEncoder, load_tokenizer
from tests.embedding_models import minilm, real_texts

LIMIT = 256


@pytest.fixture
def model(tmp_path):
    return minilm(tmp_path)


@pytest.fixture
def encoder(model):
    return TextEncoder(load_tokenizer(model), LIMIT)


def test_the_chunkers_tokenizer_cuts_and_pads_nothing(model):
    tokenizer = load_tokenizer(model)

    assert len(tokenizer.encode("word " * 5000, add_special_tokens=False).ids) == 5000
    assert len(tokenizer.encode("word").ids) == 3


def test_the_engine_cuts_at_the_models_limit_and_counts(encoder):
    ids = encoder.encode(["word " * 254, "word " * 255, "word"])

    assert [len(tokens) for tokens in ids] == [256, 256, 3]
    assert encoder.truncated_texts == 1


def test_an_empty_text_still_has_tokens(encoder):
    assert len(encoder.encode([""])[0]) == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("".join(real_texts(60)) * 24, id="a megabyte of prose"),
        pytest.param("x" * 1_000_000, id="one word of a megabyte"),
        pytest.param(" " * 200_000 + "late words " * 9_000, id="words after much white space"),
        pytest.param("é中😀 " * 200_000, id="many short words"),
        pytest.param("word " * 200 + "y" * 300_000, id="a long word at the end"),
    ],
)
def test_only_the_head_of_a_long_text_is_read_and_the_tokens_are_the_same(encoder, model, text):
    whole = load_tokenizer(model)
    whole.enable_truncation(max_length=LIMIT)

    assert encoder.encode([text])[0].tolist() == whole.encode(text).ids


def test_a_lone_surrogate_is_an_error_that_names_its_text(encoder):
    with pytest.raises(EmbeddingError, match="text 1 is not valid Unicode"):
        encoder.encode(["good", "bad \ud800 text"])


def test_a_lone_surrogate_in_a_long_text_is_an_error_too(encoder):
    with pytest.raises(EmbeddingError, match="text 0 is not valid Unicode"):
        encoder.encode(["\ud800" + "long " * 100_000])


def test_a_damaged_tokenizer_is_named(tmp_path, model):
    damaged = tmp_path / "tokenizer.json"
    damaged.write_text(json.dumps({"model": 1}))

    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        load_tokenizer(replace(model, tokenizer_file=damaged))


def test_a_model_that_lower_cases_does_so_before_its_own_tokenizer(model):
    tokenizer = load_tokenizer(replace(model, lower_case=True))

    assert tokenizer.encode("ÄB").ids == tokenizer.encode("äb").ids
