"""How an OpenAI-compatible server is to be asked, checked before it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from lexigram_ray.core.errors import ConfigError

# What is worth finding in a message; a shorter key would blot out innocent letters.
SHORTEST_HIDDEN_KEY = 4


class _Secret(Protocol):
    def get_secret_value(self) -> str: ...


class ServerSettings(Protocol):
    """The fields of `core.config.ServerSettings`, so that this layer needs no pydantic."""

    @property
    def url(self) -> str | None: ...  # noqa: D102
    @property
    def api_key(self) -> _Secret | None: ...  # noqa: D102
    @property
    def api_key_file(self) -> Path | None: ...  # noqa: D102
    @property
    def dimensions(self) -> int | None: ...  # noqa: D102
    @property
    def batch_texts(self) -> int: ...  # noqa: D102
    @property
    def batch_tokens(self) -> int: ...  # noqa: D102
    @property
    def concurrency(self) -> int: ...  # noqa: D102
    @property
    def tokens_per_minute(self) -> int | None: ...  # noqa: D102
    @property
    def max_text_tokens(self) -> int: ...  # noqa: D102
    @property
    def timeout_seconds(self) -> float: ...  # noqa: D102
    @property
    def max_attempts(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """A server and the limits within which it is asked. Pickles, with its key, for other processes.

    Attributes:
        url: Base URL, `/embeddings` is put behind its path.
        api_key: Sent as a bearer token; empty for servers without one. In no message or repr.
        dimensions: Asked of the server where set.
        batch_texts, batch_tokens: The most of a request; tokens are estimated.
        concurrency: Requests at once.
        tokens_per_minute: The account's budget; None has no bound.
        max_text_tokens: The model's limit of one text.
        timeout_seconds: A request's time limit, its answer included.
        max_attempts: Tries of a request before its texts fail.
    """

    url: str
    api_key: str = field(default="", repr=False)
    dimensions: int | None = None
    batch_texts: int = 256
    batch_tokens: int = 100_000
    concurrency: int = 8
    tokens_per_minute: int | None = None
    max_text_tokens: int = 8191
    timeout_seconds: float = 60.0
    max_attempts: int = 8

    def __post_init__(self) -> None:
        _check_url(self.url)
        # httpx would refuse such a key too, with the key in its message.
        if any(not "!" <= letter <= "~" for letter in self.api_key):
            raise ConfigError(
                "the embedding server's key holds a space or a character that is not ASCII",
                hint="set embedding.server.api_key to the key alone",
            )

    @property
    def place(self) -> str:
        """The server as messages name it: without query, which may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")

    @property
    def endpoint(self) -> str:
        """Where texts are posted to."""
        parts = urlsplit(self.url)
        return parts._replace(path=f"{parts.path.rstrip('/')}/embeddings").geturl()

    def budget_name(self, model: str) -> str:
        """Return what the budget of a model at this server is shared by: a hash of URL and model.

        The key is not in it: those who change an account's key still have the account's budget.
        """
        parts = urlsplit(self.url)
        place = [parts.netloc.lower(), parts.path.rstrip("/"), parts.query, model]
        return f"server:{hashlib.sha256(json.dumps(place).encode()).hexdigest()[:32]}"

    def hide(self, message: str) -> str:
        """Return a message without the key, which a server may have quoted."""
        if len(self.api_key) < SHORTEST_HIDDEN_KEY:
            return message
        for written in (self.api_key, quote(self.api_key, safe="")):
            message = message.replace(written, "***")
        return message


def server_options(settings: ServerSettings) -> ServerOptions:
    """Make options of the configuration's `embedding.server`, reading the key's file.

    Raises:
        ConfigError: There is no URL, it is none, or the key cannot be read.
    """
    if settings.url is None:
        raise ConfigError(
            "no embedding server is configured", hint="set embedding.server.url to its base URL"
        )
    return ServerOptions(
        url=settings.url.strip(),
        api_key=_read_key(settings),
        dimensions=settings.dimensions,
        batch_texts=settings.batch_texts,
        batch_tokens=settings.batch_tokens,
        concurrency=settings.concurrency,
        tokens_per_minute=settings.tokens_per_minute,
        max_text_tokens=settings.max_text_tokens,
        timeout_seconds=settings.timeout_seconds,
        max_attempts=settings.max_attempts,
    )


def _read_key(settings: ServerSettings) -> str:
    file = settings.api_key_file
    if file is None:
        return settings.api_key.get_secret_value().strip() if settings.api_key is not None else ""
    if settings.api_key is not None:
        raise ConfigError(
            "embedding.server has both api_key and api_key_file", hint="unset one of them"
        )
    try:
        key = file.expanduser().read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        # Its message and its chain would show bytes of the key.
        raise ConfigError(f"the embedding server's key file {file} is not text") from None
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the embedding server's key file {file} cannot be read: {error}",
            hint="check embedding.server.api_key_file",
        ) from error
    if not key:
        raise ConfigError(
            f"the embedding server's key file {file} is empty", hint="put the key into it"
        )
    return key


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _no_url("is not a URL") from None
    if "@" in parts.netloc:
        raise _no_url("holds a user name or a password, and messages show it")
    if not fits:
        raise _no_url(f"is {_shown(url)}, which is no http or https URL")
    if parts.path.rstrip("/").endswith("/embeddings"):
        raise _no_url(f"is {_shown(url)}, and /embeddings is put behind it")


def _shown(url: str) -> str:
    # What stands behind may be a secret, and so may what stands before an @.
    address = url.partition("?")[0].partition("#")[0]
    return repr(address.rpartition("@")[2])


def _no_url(why: str) -> ConfigError:
    return ConfigError(
        f"embedding.server.url {why}",
        hint="give the base URL alone, such as https://api.openai.com/v1",
    )
