"""What an answer without vectors means: ask again, ask for less, or stop. Pure."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from lexigram_ray.core.errors import ConfigError, ModelNotFoundError, UsageError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.embedding.server_options import ServerOptions
from lexigram_ray.embedding.server_pace import retry_after_seconds

# Beyond this a run had better end and be taken up later.
MOST_WAIT_SECONDS = 300.0
REASON_CHARACTERS = 300
SERVER_ERRORS = 500
REFUSALS = frozenset({400, 413, 422})
# 408, 409, 425: the request was not looked at; 429: too many.
ASK_AGAIN = frozenset({408, 409, 425, 429})
TOO_LONG = re.compile(
    r"context length|maximum (input|sequence) length|too long|too many tokens|too large to process"
    r"|(maximum|at most|exceed\w*|less than|more than) .{0,40}token",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The server does not take these texts: fewer of them, or shorter ones, may do.

    Attributes:
        reason: The server's own words.
    """

    reason: str

    @property
    def of_format(self) -> bool:
        """Whether it is base64 that the server does not know."""
        lower = self.reason.lower()
        return "encoding_format" in lower or "base64" in lower

    @property
    def of_length(self) -> bool:
        """Whether a text, or all of them together, are too long."""
        return TOO_LONG.search(self.reason) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The same request may do later.

    Attributes:
        reason: What happened, to be read after the server's name.
        category: What it is if it never does.
        wait_seconds: What the server asks for; None where it says nothing.
        hopeless: The server says that asking again is of no use.
        of_texts: Whether one of the texts may be the cause.
    """

    reason: str
    category: FailureCategory = FailureCategory.TRANSIENT
    wait_seconds: float | None = None
    hopeless: bool = False
    of_texts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back over HTTP; the headers' names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether there should be vectors in it."""
        return self.status == 200


def judge(answer: Answer, *, model: str, options: ServerOptions, now: float) -> Refusal | Again:
    """Say what an answer of another status than 200 means.

    Args:
        answer: From the server.
        model: What was asked for.
        options: The server and its key.
        now: Seconds since 1970.

    Raises:
        ConfigError: The key or the URL is wrong, or the account has no credit.
        ModelNotFoundError: The server does not have the model.
    """
    reason = _words(answer.body, options)
    advised = answer.headers.get("x-should-retry", "").lower()
    refusal = Refusal(reason=reason)
    if answer.status in REFUSALS and advised != "true":
        return refusal
    if _is_too_large(answer.status, refusal):
        return refusal
    if answer.status in ASK_AGAIN or answer.status >= SERVER_ERRORS or advised == "true":
        if "insufficient_quota" in _code(answer.body):
            raise ConfigError(
                f"embedding server {options.place}: the account's credit is used up: {reason}",
                hint="add credit, or use another key; the same command goes on where it stopped",
            )
        wait = retry_after_seconds(answer.headers, now)
        too_long = wait is not None and wait > MOST_WAIT_SECONDS
        asks = f", asking to wait {wait:.0f} seconds" if too_long else ""
        return Again(
            reason=f"answered {answer.status} ({reason}){asks}",
            category=FailureCategory.THROTTLED
            if answer.status == 429
            else FailureCategory.TRANSIENT,
            wait_seconds=wait,
            hopeless=advised == "false" or too_long,
        )
    raise _stop(answer, reason, model, options)


def judge_transport(error: Exception, options: ServerOptions) -> Again:
    """Say what a failure below HTTP means.

    Raises:
        ConfigError: The server's certificate is not trusted.
    """
    causes = list(_chain(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        raise ConfigError(
            f"embedding server {options.place} has a certificate that is not trusted: {error}",
            hint="set SSL_CERT_FILE to the certificates of your organisation",
        ) from error
    said = options.hide(str(error)) or type(error).__name__
    return Again(reason=f"did not answer ({said})")


def _is_too_large(status: int, refusal: Refusal) -> bool:
    # llama.cpp calls it 500, and OpenAI 429 where one request is above a whole minute's budget.
    if status == 429:
        return "request too large" in refusal.reason.lower()
    return status >= SERVER_ERRORS and refusal.of_length


def _stop(answer: Answer, reason: str, model: str, options: ServerOptions) -> UsageError:
    server = f"embedding server {options.place}"
    if answer.status == 401:
        which = "refuses the key" if options.api_key else "asks for a key"
        return ConfigError(
            f"{server} {which}: {reason}",
            hint="set embedding.server.api_key_file to a file that holds the key",
        )
    if answer.status in (402, 403):
        return ConfigError(
            f"{server} does not let this key use {model}: {reason}",
            hint="use a key that may, or another model",
        )
    if answer.status == 404 and "model" in reason.lower():
        return ModelNotFoundError(
            f"{server} has no model {model}: {reason}",
            hint=f"set embedding.model to one of those that {options.place}/models lists",
        )
    leads = options.hide(answer.headers.get("location", "")).partition("?")[0]
    where = f" and leads to {leads}" if leads else ""
    return ConfigError(
        f"{server} answered {answer.status}{where}: {reason}",
        hint="check embedding.server.url; most end in /v1",
    )


def _words(body: bytes, options: ServerOptions) -> str:
    """Return the server's words, on one short line without the key."""
    text = body.decode("utf-8", "replace").strip()
    if text[:1] == "<":
        return "HTML instead of JSON"
    with contextlib.suppress(ValueError, RecursionError):
        text = _message(json.loads(text)) or text
    # Hidden before it is cut: a half of a key is not found any more.
    line = options.hide(" ".join(re.sub(r"[\x00-\x1f\x7f]+", " ", text).split()))
    if not line:
        return "nothing more is said"
    return line if len(line) <= REASON_CHARACTERS else f"{line[:REASON_CHARACTERS]}..."


def _message(said: object) -> str:
    # OpenAI, vLLM: {"error": {"message"}}; TEI, Ollama: {"error": ""}; FastAPI: {"detail": ...}.
    if isinstance(said, str):
        return said
    if isinstance(said, list) and said:
        # Of FastAPI's details the first one's words: the rest quotes what was sent.
        return _message(cast("list[object]", said)[0])
    if isinstance(said, dict):
        fields = cast("dict[str, object]", said)
        for name in ("error", "message", "detail", "msg"):
            if words := _message(fields.get(name)):
                place = fields.get("loc")
                return f"{words} ({_path(place)})" if isinstance(place, list) else words
    return ""


def _path(place: object) -> str:
    return ".".join(str(part) for part in cast("list[object]", place))


def _code(body: bytes) -> str:
    try:
        said: object = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = cast("dict[str, object]", said).get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        return ""
    fields = cast("dict[str, object]", error)
    return f"{fields.get('code')} {fields.get('type')}"


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    next_one: BaseException | None = error
    while next_one is not None and next_one not in found:
        found.append(next_one)
        next_one = next_one.__cause__ or next_one.__context__
    return found
