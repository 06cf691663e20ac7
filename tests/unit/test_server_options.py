from __future__ import annotations

from pathlib import Path

import pytest

from lexigram_ray.core.config import ServerSettings
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.embedding.server_options import ServerOptions, server_options

URL = "https://api.example.com/v1"
KEY = "sk-0123456789"


def _settings(**values: object) -> ServerSettings:
    return ServerSettings(**{"url": URL, **values})


def test_every_setting_of_the_configuration_is_taken_over():
    settings = _settings(api_key=KEY, tokens_per_minute=5, dimensions=9, concurrency=3)

    options = server_options(settings)

    for name in ServerOptions.__slots__:
        expected = KEY if name == "api_key" else getattr(settings, name)
        assert getattr(options, name) == expected
    assert set(ServerOptions.__slots__) == set(ServerSettings.model_fields) - {"api_key_file"}


def test_defaults_are_those_of_the_configuration():
    assert server_options(_settings()) == ServerOptions(url=URL)


def test_the_key_comes_from_its_file_and_stands_in_no_repr(tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")

    options = server_options(_settings(api_key_file=file))

    assert options.api_key == KEY
    assert KEY not in repr(options)
    assert options.hide(f"bad key {KEY}!") == "bad key ***!"


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe\x00", b"two words", "clé".encode()])
def test_a_file_without_a_key_is_refused_without_showing_it(tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        server_options(_settings(api_key_file=file))

    assert "words" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_file_or_two_keys_or_no_url_are_refused():
    with pytest.raises(ConfigError, match="nowhere cannot be read"):
        server_options(_settings(api_key_file=Path("/nowhere")))
    with pytest.raises(ConfigError, match="both api_key and api_key_file"):
        server_options(_settings(api_key=KEY, api_key_file=Path("/nowhere")))
    with pytest.raises(ConfigError, match="no embedding server"):
        server_options(ServerSettings())


@pytest.mark.parametrize(
    "url",
    ["", "api.example.com", "ftp://host/v1", "http://", "http://host:port/v1", "http://[::1/v1",
     "https://user:secret@host/v1", f"{URL}/embeddings", "http://host:99999",
     "host/v1?token=secret", f"{URL}/embeddings?token=secret", "user:secret@host/v1"],
)  # fmt: skip
def test_what_is_no_base_url_is_refused_with_an_example(url):
    with pytest.raises(ConfigError) as caught:
        ServerOptions(url=url)

    assert "https://api.openai.com/v1" in (caught.value.hint or "")
    assert "secret" not in str(caught.value)


def test_a_query_is_kept_for_the_server_and_out_of_messages():
    options = ServerOptions(url="https://host/v1/?token=secret")

    assert options.endpoint == "https://host/v1/embeddings?token=secret"
    assert options.place == "https://host/v1"


def test_a_budget_is_that_of_a_url_and_a_model_whatever_the_key():
    options = ServerOptions(url="https://API.example/v1", api_key="sk-one")
    name = options.budget_name("small")

    assert ServerOptions(url="https://api.example/v1/", dimensions=8).budget_name("small") == name
    assert options.budget_name("large") != name
    assert ServerOptions(url="https://api.example/v2").budget_name("small") != name
    assert "sk-one" not in name
