from __future__ import annotations

import functools
import json
import re
from dataclasses import replace

import pytest
from tokenizers import Encoding, Tokenizer, normalizers, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models

from lexigram_ray.core.errors import ConfigError
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


def test_the_engine_cuts_at_the_models_limit_and_says_where(encoder):
    encoded = encoder.encode(["word " * 254, "word " * 255, "word"])

    assert [len(tokens) for tokens in encoded.ids] == [256, 256, 3]
    assert encoded.truncated.tolist() == [False, True, False]
    assert encoded.refused == {}


def test_where_long_texts_fail_the_reason_names_the_tokens_and_the_limit(model):
    strict = TextEncoder(load_tokenizer(model), LIMIT, "fail")

    encoded = strict.encode(["word " * 254, "word " * 1000, "word " * 200_000])

    assert encoded.refused[1] == "it has 1002 tokens, and the model reads 256"
    assert re.fullmatch("it has at least [0-9]{4} tokens, and .* 256", encoded.refused[2])
    assert set(encoded.refused) == {1, 2}
    assert not encoded.truncated.any()


def test_an_empty_text_still_has_tokens(encoder):
    assert [len(tokens) for tokens in encoder.encode(["", " \n"]).ids] == [2, 2]


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
    encoded = encoder.encode([text])

    whole = _cut_whole(load_tokenizer(model), text, LIMIT)
    assert encoded.ids[0].tolist() == whole.ids
    assert encoded.truncated[0] == bool(whole.overflowing)


@pytest.mark.parametrize("kind", ["byte-level BPE", "Unigram", "BPE over spaces"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(" " * 300_000 + "late words " * 9_000, id="white space first"),
        pytest.param("antidisestablishmentarianism " * 30_000, id="one long token many times"),
        pytest.param("東京都は首都です。日本の" * 10_000, id="no white space at all"),
        pytest.param("word " * 20 + "y" * 300_000 + " end", id="a long word"),
    ],
)
def test_other_tokenizers_read_the_head_of_a_long_text_to_the_same_tokens(kind, text):
    encoder = TextEncoder(_trained(kind), 24)

    encoded = encoder.encode([text])

    whole = _cut_whole(_trained(kind), text, 24)
    assert encoded.ids[0].tolist() == whole.ids
    assert encoded.truncated[0] == bool(whole.overflowing)


def test_a_lone_surrogate_refuses_its_text_and_no_other(encoder):
    encoded = encoder.encode(["good", "bad \ud800 text", "long " * 100_000 + "\ud800"])

    assert set(encoded.refused) == {1, 2}
    assert encoded.refused[1].startswith("it is not valid Unicode: surrogates")
    assert len(encoded.ids[0]) == 3


def test_a_damaged_tokenizer_is_named(tmp_path, model):
    damaged = tmp_path / "tokenizer.json"
    damaged.write_text(json.dumps({"model": 1}))

    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        load_tokenizer(replace(model, tokenizer_file=damaged))


def test_a_model_that_lower_cases_does_so_before_its_own_tokenizer(model):
    tokenizer = load_tokenizer(replace(model, lower_case=True))

    assert tokenizer.encode("ÄB").ids == tokenizer.encode("äb").ids


def _cut_whole(tokenizer: Tokenizer, text: str, limit: int) -> Encoding:
    tokenizer.enable_truncation(max_length=limit)
    return tokenizer.encode(text)


@functools.cache
def _trained_json(kind: str) -> str:
    # Words of 28 letters and runs of spaces become tokens of their own: long ones.
    texts = [
        *real_texts(60),
        *["antidisestablishmentarianism " * 20, (" " * 32 + "x") * 20, "東京都は日本の首都です。"]
        * 10,
    ]
    if kind == "Unigram":
        tokenizer = Tokenizer(tokenizer_models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=1000, special_tokens=["<unk>"], unk_token="<unk>", max_piece_length=32
        )
    else:
        tokenizer = Tokenizer(tokenizer_models.BPE())
        trainer = trainers.BpeTrainer(vocab_size=1500, show_progress=False)
        if kind == "BPE over spaces":
            tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def _trained(kind: str) -> Tokenizer:
    return Tokenizer.from_str(_trained_json(kind))
