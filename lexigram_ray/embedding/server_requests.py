"""Asking an OpenAI-compatible server: one request, tried until it has an answer. The HTTP edge."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import ConfigError, EmbeddingServerError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.embedding.server_connections import Connections
from lexigram_ray.embedding.server_limits import estimate_tokens
from lexigram_ray.embedding.server_options import ServerOptions
from lexigram_ray.embedding.server_pace import Pace
from lexigram_ray.embedding.server_vectors import Vectors, read_vectors
from lexigram_ray.embedding.server_verdicts import Again, Answer, Refusal, judge, judge_transport

if TYPE_CHECKING:
    import httpx

# Whoever gave up asks again no sooner, as budgets are counted by the minute, and no later, as
# none is counted by more than the day.
LEAST_RETRY_SECONDS = 60.0
MOST_RETRY_SECONDS = 86_400.0
# An answer that fits no texts is the server's slip once or twice; then one of the texts causes it.
SLIPS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUsage:
    """What a server was asked for so far.

    Attributes:
        prompt_tokens: As the server counted them; texts of a server that does not are not in it.
        requests: Sent, retries among them.
        retries: Sent again after a failure.
    """

    prompt_tokens: int = 0
    requests: int = 0
    retries: int = 0


class ServerClient:
    """Requests to one server for one model. Safe to use from several threads.

    Args:
        model: Its name at the server.
        options: The server and its limits.
        pace: Lets requests go.
        dimension: Length that vectors must have; None takes what comes.
        base64: Whether vectors are asked for in base64, a third of the size of numbers in JSON.
    """

    def __init__(
        self,
        model: str,
        options: ServerOptions,
        pace: Pace,
        *,
        dimension: int | None,
        base64: bool = True,
    ) -> None:
        self._model = model
        self._options = options
        self._pace = pace
        self._dimension = dimension
        self._base64 = base64
        self._connections = Connections(options)
        self._counting = threading.Lock()
        self._usage = ServerUsage()

    @property
    def usage(self) -> ServerUsage:
        """What was asked for so far."""
        return self._usage

    @property
    def base64(self) -> bool:
        """Whether base64 is asked for; no longer once the server has refused it."""
        return self._base64

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def ask(
        self, texts: Sequence[str], *, stopped: threading.Event, slips: int = SLIPS
    ) -> Vectors | Refusal:
        """Ask for the vectors of texts that fit into one request.

        Args:
            texts: At least one, none of them empty.
            stopped: Set when the answer is no longer wanted.
            slips: Answers that fit no texts before the texts are held to be the cause.

        Raises:
            UsageError: The key, the URL or the model is wrong.
            EmbeddingServerError: The server was asked `max_attempts` times and did not answer;
                `category` says whether it was throttled, `retry_after` when to ask again.
            CancelledError: `stopped` was set.
        """
        estimated = sum(estimate_tokens(text) for text in texts)
        attempt, slipped = 0, 0
        while True:
            # First the connection: whoever waits for one must still hear of a server's wait.
            with self._connections.one() as http:
                self._pace.admit(estimated, stopped)
                outcome = self._try(http, texts, estimated, retry=attempt > 0)
                pause = self._heed(outcome, attempt + 1) if isinstance(outcome, Again) else 0.0
            if isinstance(outcome, Vectors):
                return outcome
            if isinstance(outcome, Refusal):
                if self._base64 and outcome.of_format:
                    self._base64 = False
                    continue
                return outcome
            attempt += 1
            slipped += outcome.of_texts
            if slipped >= min(slips, self._options.max_attempts):
                return Refusal(reason=f"it {outcome.reason}")
            if outcome.hopeless or attempt >= self._options.max_attempts:
                raise self._gave_up(outcome, attempt)
            self._pace.pause(pause, stopped)

    def _try(
        self, http: httpx.Client, texts: Sequence[str], estimated: int, *, retry: bool
    ) -> Vectors | Refusal | Again:
        import httpx

        self._count(requests=1, retries=int(retry))
        try:
            answer = self._post(http, texts)
        except httpx.HTTPError as error:
            return judge_transport(error, self._options)
        except httpx.InvalidURL as error:
            raise ConfigError(
                f"embedding.server.url is {self._options.place!r}, which is no URL: {error}",
                hint="give the base URL alone, such as https://api.openai.com/v1",
            ) from error
        if isinstance(answer, Again):
            return answer
        outcome: Vectors | Refusal | Again
        if answer.ok:
            outcome = read_vectors(answer, len(texts), self._dimension)
            if isinstance(outcome, Vectors) and outcome.prompt_tokens is not None:
                self._pace.settle(estimated, outcome.prompt_tokens)
                self._count(prompt_tokens=outcome.prompt_tokens)
            return outcome
        # What was refused has used nothing of the budget.
        self._pace.settle(estimated, 0)
        return judge(answer, model=self._model, options=self._options, now=time.time())

    def _post(self, http: httpx.Client, texts: Sequence[str]) -> Answer | Again:
        limit = self._options.timeout_seconds
        deadline = time.monotonic() + limit
        with http.stream("POST", self._options.endpoint, content=self._body(texts)) as got:
            body = bytearray()
            for part in got.iter_bytes():
                body += part
                # httpx's own limit is one of silence: a body that drips would never end.
                if time.monotonic() > deadline:
                    return Again(reason=f"took longer than {limit:g} seconds to answer")
            headers = {name.lower(): value for name, value in got.headers.items()}
            return Answer(status=got.status_code, headers=headers, body=bytes(body))

    def _body(self, texts: Sequence[str]) -> bytes:
        request: dict[str, object] = {"model": self._model, "input": list(texts)}
        if self._base64:
            request["encoding_format"] = "base64"
        if self._options.dimensions is not None:
            request["dimensions"] = self._options.dimensions
        return json.dumps(request, ensure_ascii=False).encode()

    def _heed(self, outcome: Again, attempt: int) -> float:
        """Return the seconds that this request waits alone; let all wait where the server says."""
        seconds = outcome.wait_seconds or self._pace.backoff(attempt)
        if outcome.hopeless or attempt >= self._options.max_attempts:
            return 0.0
        logger.info(
            "embedding server %s %s; asking again in %.1f seconds",
            self._options.place,
            outcome.reason,
            seconds,
        )
        if outcome.wait_seconds or outcome.category is FailureCategory.THROTTLED:
            self._pace.hold(seconds)  # this request waits with the others when it is admitted
            return 0.0
        return seconds

    def _gave_up(self, outcome: Again, attempts: int) -> EmbeddingServerError:
        times = f" {attempts} times" if attempts > 1 else ""
        throttled = outcome.category is FailureCategory.THROTTLED
        error = EmbeddingServerError(
            f"embedding server {self._options.place} {outcome.reason}{times}",
            hint="lower embedding.server.concurrency, or set embedding.server.tokens_per_minute to"
            " the account's budget"
            if throttled
            else "see whether the server runs and embedding.server.url is right",
        )
        error.category = outcome.category
        if throttled or outcome.wait_seconds is not None:
            wanted = max(LEAST_RETRY_SECONDS, outcome.wait_seconds or 0.0)
            error.retry_after = min(MOST_RETRY_SECONDS, wanted)
        return error

    def _count(self, *, requests: int = 0, retries: int = 0, prompt_tokens: int = 0) -> None:
        with self._counting:
            self._usage = ServerUsage(
                prompt_tokens=self._usage.prompt_tokens + prompt_tokens,
                requests=self._usage.requests + requests,
                retries=self._usage.retries + retries,
            )
