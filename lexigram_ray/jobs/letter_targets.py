"""Who is told of failures that nobody will retry: a webhook, and a function of the user's."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ConfigError, DLQError
from lexigram_ray.jobs.letter_records import DeadLetter
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.jobs.retry_policy import RetryPolicy

HANDLER_SECONDS = 60.0
"""Time limit of the user's function."""

REFUSALS = frozenset({400, 413, 422})
"""Statuses by which a server refuses one letter; by any other it takes none now."""

Handler = Callable[[DeadLetter], object]
"""The user's function; it may be a coroutine function. It takes a letter by returning."""


class NotTakenError(DLQError):
    """A letter was not taken.

    Args:
        of_target: Whether others would not have been either.
    """

    code = "not_taken"

    def __init__(self, message: str, *, of_target: bool) -> None:
        super().__init__(message)
        self.of_target = of_target


class Target(Protocol):
    """Somebody who is told of letters."""

    @property
    def name(self) -> str:
        """What it is called in the log."""
        ...

    def tell(self, letter: DeadLetter) -> None:
        """Give a letter over.

        Raises:
            NotTakenError: It was not taken.
        """
        ...


class Webhook:
    """An HTTP server that takes letters by answering with a status of 200 to 299.

    Args:
        url: Of the server.
        seconds: Time limit of a request.
        policy: Says how many retries a letter had.
    """

    def __init__(self, url: str, seconds: float, policy: RetryPolicy) -> None:
        self._url = url
        self._seconds = seconds
        self._policy = policy
        self._limit = TimeLimit(seconds)

    @property
    def name(self) -> str:
        """The server, without what may be secret of its URL."""
        return f"webhook {urlsplit(self._url).hostname}"

    def tell(self, letter: DeadLetter) -> None:
        """Send a letter; see `Target`."""
        # httpx's own limits are ones of silence: a server that drips would never end.
        status = self._limit.run(lambda: self._post(letter))
        if not 200 <= status < 300:
            raise NotTakenError(
                f"it answered with status {status}", of_target=status not in REFUSALS
            )

    def _post(self, letter: DeadLetter) -> int:
        import httpx

        # ASCII only: file names may hold what is no character.
        content = json.dumps({"event": "dead_letter", "letter": self._shown(letter)})
        headers = {"Idempotency-Key": key_of(letter), "Content-Type": "application/json"}
        try:
            with (
                httpx.Client(timeout=self._seconds) as http,
                http.stream("POST", self._url, content=content, headers=headers) as answer,
            ):
                return answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotTakenError(error_text(error), of_target=True) from error

    def _shown(self, letter: DeadLetter) -> dict[str, object]:
        shown = letter.to_dict(max_retries=self._policy.max_retries(letter.category))
        # Tracebacks name what is on this machine, and may be as long as all else.
        attempts = cast("list[dict[str, object]]", shown["attempts"])
        return shown | {"attempts": [each | {"traceback": None} for each in attempts]}


class HandlerTarget:
    """A function of the user's, by its import path; imported when it is first needed.

    Args:
        path: `package.module:name`.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._limit = TimeLimit(HANDLER_SECONDS)

    @property
    def name(self) -> str:
        """Its import path."""
        return f"handler {self._path}"

    def tell(self, letter: DeadLetter) -> None:
        """Call it with a letter; see `Target`."""
        self._limit.run(lambda: self._call(letter))

    def _call(self, letter: DeadLetter) -> None:
        try:
            handler = load_handler(self._path)
        except ConfigError as error:
            raise NotTakenError(error.message, of_target=True) from error
        try:
            answer = handler(letter)
            if inspect.isawaitable(answer):
                asyncio.run(_awaited(answer))
        except BaseException as error:
            # Whatever ends a program, or a task, ends this call of it alone.
            raise NotTakenError(error_text(error), of_target=False) from error


class TimeLimit:
    """Runs functions one after the other, each for so long at most.

    One that goes on longer cannot be ended: until it has ended by itself, no other is run.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread: threading.Thread | None = None

    def run(self, function: Callable[[], Any]) -> Any:
        """Return what the function returns, and raise what it raises.

        Raises:
            NotTakenError: It takes too long, or an earlier one still does.
        """
        if self._thread is not None and self._thread.is_alive():
            raise NotTakenError("an earlier call of it has not ended", of_target=True)
        ends: list[Callable[[], Any]] = []
        self._thread = threading.Thread(
            target=lambda: ends.append(_end_of(function)), name="tell", daemon=True
        )
        self._thread.start()
        self._thread.join(self._seconds)
        if not ends:
            raise NotTakenError(f"it takes longer than {self._seconds:g} s", of_target=True)
        return ends[0]()


def targets_of(config: WorkersConfig, policy: RetryPolicy) -> list[Target]:
    """Return who is to be told, by the settings."""
    settings = config.dead_letters
    targets: list[Target] = []
    if settings.webhook_url is not None:
        url = settings.webhook_url.get_secret_value()
        targets.append(Webhook(url, settings.webhook_seconds, policy))
    if settings.handler is not None:
        targets.append(HandlerTarget(settings.handler))
    return targets


def check_targets(config: WorkersConfig) -> None:
    """Refuse settings by which nobody can be told.

    Raises:
        ConfigError: The webhook is no HTTP URL, or the handler cannot be imported here.
    """
    settings = config.dead_letters
    if settings.webhook_url is not None:
        url = urlsplit(settings.webhook_url.get_secret_value())
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError(
                "dead_letters.webhook_url is no URL that can be sent to",
                hint="give it whole, such as https://example.org/failures",
            )
    if settings.handler is not None:
        load_handler(settings.handler)


def load_handler(path: str) -> Handler:
    """Import a function by its path, `package.module:name`.

    Raises:
        ConfigError: There is none.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ConfigError(
            f"dead_letters.handler is {path!r}, which names no function",
            hint="write it as package.module:name",
        )
    hint = "install its package where `lexigram-ray up` runs, or put its folder on PYTHONPATH"
    try:
        found: object = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # A script that is imported may call sys.exit().
        raise ConfigError(
            f"dead_letters.handler {path!r} cannot be imported: {error_text(error)}", hint=hint
        ) from error
    if not callable(found):
        raise ConfigError(f"dead_letters.handler {path!r} is no function", hint=hint)
    return found


def key_of(letter: DeadLetter) -> str:
    """Return what is equal only for the same failure of the same letter."""
    return f"{letter.id}-{int(letter.last_failed_at.timestamp() * 1_000_000)}"


def _end_of(function: Callable[[], Any]) -> Callable[[], Any]:
    try:
        answer = function()
    except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
        return _raising(error)
    return lambda: answer


def _raising(error: BaseException) -> Callable[[], Any]:
    def throw() -> Any:
        raise error

    return throw


async def _awaited(answer: Awaitable[object]) -> object:
    return await answer
