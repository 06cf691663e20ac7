"""What a batch embedding job runs with: what was asked, over what is configured."""

from __future__ import annotations

import logging

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.types import DEFAULT_MODEL
from lexigram_ray.workers.batch_embedding import _settings
from lexigram_ray.workers.batch_embedding._settings import embedding_settings

ADA = "text-embedding-ada-002"
SERVER = {"url": "http://localhost:1/v1"}


def asked(config: WorkersConfig, name: str | None, size: int = 100, *, use_cache: bool = True):
    settings = embedding_settings(config, model_name=name, batch_size=size, use_cache=use_cache)
    return settings.embedding


def test_the_default_name_means_the_configured_model_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _settings._say_once.cache_clear()
    config = load_config(embedding={"model": "some/model"})
    with caplog.at_level(logging.INFO, "lexigram_ray"):
        assert asked(config, ADA).model == asked(config, ADA).model == "some/model"
    assert sum("it means the configured model" in line for line in caplog.messages) == 1
    assert asked(config, None).model == "some/model"


def test_any_other_name_is_that_model() -> None:
    assert asked(load_config(), "other/model").model == "other/model"


def test_a_server_is_asked_for_the_default_name_unless_another_model_is_configured() -> None:
    assert asked(load_config(embedding={"server": SERVER}), ADA).model == ADA
    named = load_config(embedding={"server": SERVER, "model": "bge-m3"})
    assert asked(named, ADA).model == "bge-m3"
    assert load_config().embedding.model == DEFAULT_MODEL


def test_the_batch_size_is_a_limit_of_calls_or_of_requests() -> None:
    assert asked(load_config(), None, 7).batch_texts == 7
    assert asked(load_config(), None).batch_texts is None
    config = load_config(embedding={"server": {**SERVER, "batch_texts": 50}})
    assert asked(config, None, 7).server.batch_texts == 7
    assert asked(config, None, 100).server.batch_texts == 50


def test_the_cache_is_used_where_both_want_it() -> None:
    assert asked(load_config(), None).cache
    assert not asked(load_config(), None, use_cache=False).cache
    assert not asked(load_config(embedding={"cache": False}), None).cache
