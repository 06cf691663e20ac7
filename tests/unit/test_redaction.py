"""Errors that are kept: readable, bounded, and without what must not be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.jobs.redaction import (
    HIDDEN,
    MOST_CHARACTERS,
    MOST_OF_AN_ERROR,
    error_text,
    redacted,
    traceback_text,
)

SECRET = "Xk93-hunter2_Zq"


@pytest.mark.parametrize(
    "line",
    [
        f"postgresql://lexi:{SECRET}@db.example:5432/jobs",
        f"postgresql://lexi:{SECRET}@with@db.example/jobs",
        f"redis://:{SECRET}@cache:6379/0",
        f"https://{SECRET}@example.org/v1",
        f"https://example.org/v1?api_key={SECRET}&page=2",
        f"https://example.org/v1?page=2&token={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"headers={{'Authorization': 'Basic {SECRET}', 'Accept': '*/*'}}",
        f'{{"authorization": "{SECRET}"}}',
        f"(b'authorization', b'Bearer {SECRET}')",
        f"proxy-authorization: {SECRET}",
        f"X-Api-Key: {SECRET}",
        f"Cookie: session={SECRET}",
        f"sent with Bearer {SECRET}",
        f"api_key={SECRET}",
        f"api_key='{SECRET}'",
        f'"api-key": "{SECRET}"',
        f"OPENAI_API_KEY={SECRET}",
        f"password = {SECRET}",
        f"{{'db_password': '{SECRET} with spaces'}}",
        f"secret: {SECRET}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"client_secret={SECRET}",
        f"RAY_AUTH_TOKEN={SECRET}",
        f"access_token: {SECRET}",
        f"Incorrect API key provided: sk-{SECRET}.",
        f"DELETE /v1/collections/lxr_0123456789ab_{SECRET.partition('-')[2]}",
        f"hf_{'a1B2' * 8}{SECRET}".replace("-", "").replace("_Zq", ""),
        f"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_secret_does_not_survive(line: str) -> None:
    shown = redacted(line)

    assert HIDDEN in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "line",
    [
        'File "/home/lexi/secret/keys/token.py", line 12, in password_of',
        "/data/api_key/papers/2024.pdf: no space left on the device",
        "text of 600 tokens: the limit is 512 tokens",
        "max_tokens: 256, tokens = 300",
        "https://example.org:8443/v1/embeddings?page=2",
        "see https://example.org/a, or mail to ops@example.org",
        "KeyError: 'key'",
        "job 01927c3e-7d3a-7c11-9d55-0d9f1c2b3a4e has failed",
    ],
)
def test_what_is_no_secret_stays_as_it_is(line: str) -> None:
    assert redacted(line) == line


@given(st.text(max_size=300))
def test_redacting_again_changes_nothing(text: str) -> None:
    once = redacted(text)

    assert redacted(once) == once


def test_a_traceback_keeps_paths_and_causes_and_loses_secrets() -> None:
    with pytest.raises(RuntimeError) as failed:
        _fail(f"cannot reach https://lexi:{SECRET}@vectors.example/v1")
    shown = traceback_text(failed.value)

    assert __file__ in shown
    assert "OSError: cannot reach https://***@vectors.example/v1" in shown
    assert "RuntimeError: the run failed" in shown
    assert SECRET not in shown


def test_a_long_traceback_keeps_its_beginning_and_its_end() -> None:
    with pytest.raises(RuntimeError) as failed:
        _fail("x" * 3 * MOST_CHARACTERS)
    shown = traceback_text(failed.value)

    assert len(shown) == MOST_CHARACTERS
    assert shown.startswith("Traceback")
    assert shown.endswith("RuntimeError: the run failed\n")


def test_an_error_is_named_with_its_type() -> None:
    assert error_text(OSError("disk quota exceeded")) == "OSError: disk quota exceeded"
    assert error_text(ValueError()) == "ValueError"


def test_an_error_of_any_length_is_kept_short() -> None:
    shown = error_text(ValueError("begin" + "x" * 3 * MOST_OF_AN_ERROR + "end"))

    assert len(shown) == MOST_OF_AN_ERROR
    assert shown.startswith("ValueError: begin")
    assert shown.endswith("end")


def _fail(why: str) -> None:
    try:
        _reach(why)
    except OSError as cause:
        raise RuntimeError("the run failed") from cause


def _reach(why: str) -> None:
    raise OSError(why)
