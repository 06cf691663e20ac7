"""When the next request to a server may go: its budget of tokens, its waits, our backoff."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from lexigram_ray.core.protocols import RateLimit

BACKOFF_BASE_SECONDS = 0.5
BACKOFF_CAP_SECONDS = 30.0
# Bursts are a twelfth of the budget, and what flows is the rest: no minute holds more than all.
BURST_SHARE = 1 / 12
# Requests that waited for the same moment go within this share of the wait after it.
SPREAD_SHARE = 0.1
MOST_SPREAD_SECONDS = 1.0

Sleep = Callable[[float, threading.Event], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """A budget of tokens a minute, as a value: every step returns the next one.

    Attributes:
        per_minute: The budget.
        level: Tokens in hand at `at`; below zero where requests were promised tokens to come.
        at: Seconds of some clock; a `now` before it lets nothing flow in.
    """

    per_minute: float
    level: float
    at: float

    @classmethod
    def full(cls, per_minute: float, now: float) -> TokenBucket:
        """Return a bucket that holds a burst."""
        return cls(per_minute=per_minute, level=per_minute * BURST_SHARE, at=now)

    @property
    def burst(self) -> float:
        """The most tokens in hand."""
        return self.per_minute * BURST_SHARE

    @property
    def per_second(self) -> float:
        """Tokens that flow in."""
        return (self.per_minute - self.burst) / 60

    def reserve(self, tokens: float, now: float) -> tuple[TokenBucket, float]:
        """Promise tokens to a request; return the bucket and the seconds until it may go.

        A request of more than a burst goes once a whole burst is in hand. Tokens below zero are
        given back.
        """
        level = self._level(now)
        lacking = min(tokens, self.burst) - level
        wait = max(0.0, lacking / self.per_second)
        left = min(self.burst, level - tokens)
        return replace(self, level=left, at=max(self.at, now)), wait

    def _level(self, now: float) -> float:
        return min(self.burst, self.level + max(0.0, now - self.at) * self.per_second)


def backoff_seconds(attempt: int, draw: float) -> float:
    """Return the wait after failed attempt `attempt` (from 1); full jitter by `draw` in [0, 1)."""
    return draw * min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(attempt - 1, 30))


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long the server says to wait; None where it says nothing that can be read.

    Args:
        headers: Names in lower case.
        now: Seconds since 1970: the header may hold a date.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        seconds = _number(headers.get(name, ""))
        if seconds is not None:
            return max(0.0, seconds / unit)
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return None


def _number(written: str) -> float | None:
    try:
        number = float(written)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _sleep(seconds: float, stopped: threading.Event) -> None:
    stopped.wait(seconds)


class LocalRateLimit:
    """A `RateLimit` of the threads of this process.

    Args:
        per_minute: The budget; None has no bound.
        clock: Monotonic seconds.
    """

    def __init__(
        self, per_minute: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._bucket = TokenBucket.full(per_minute, clock()) if per_minute else None
        self._closed_until = -math.inf

    def reserve(self, amount: float) -> float:
        """Take from the budget; return the seconds to wait before it may be used."""
        with self._lock:
            if self._bucket is None:
                return 0.0
            self._bucket, wait = self._bucket.reserve(amount, self._clock())
            return wait

    def hold_off(self, seconds: float) -> None:
        """Let no thread go on for that long."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def wait_seconds(self) -> float:
        """Return for how long no thread may go on."""
        with self._lock:
            return max(0.0, self._closed_until - self._clock())


class Pace:
    """Lets requests go, those of all who share a budget by the same clock.

    Args:
        tokens_per_minute: A budget of this process alone; None has no bound.
        limit: The budget instead, where others share it.
        clock: Monotonic seconds.
        sleep: Sleeps, and wakes early when its event is set.
        draw: Random numbers in [0, 1).
    """

    def __init__(
        self,
        tokens_per_minute: int | None = None,
        *,
        limit: RateLimit | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = _sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._limit = limit if limit is not None else LocalRateLimit(tokens_per_minute, clock)
        self._sleep = sleep
        self._draw = draw

    def admit(self, tokens: int, stopped: threading.Event) -> None:
        """Wait until a request of that many tokens may go.

        Raises:
            CancelledError: `stopped` was set.
        """
        # Tokens that are promised during a hold would all be spent in the moment after it.
        self._wait_out_holds(stopped)
        self._wait(self._limit.reserve(tokens), stopped)
        self._wait_out_holds(stopped)

    def hold(self, seconds: float) -> None:
        """Let no request go for that long: the server has told one of them to wait."""
        self._limit.hold_off(seconds)

    def pause(self, seconds: float, stopped: threading.Event) -> None:
        """Wait alone.

        Raises:
            CancelledError: `stopped` was set.
        """
        self._wait(seconds, stopped)

    def backoff(self, attempt: int) -> float:
        """Return seconds to wait after a failed attempt (from 1)."""
        return backoff_seconds(attempt, self._draw())

    def settle(self, estimated: int, used: int) -> None:
        """Correct the budget once the server has said how many tokens a request used."""
        if used != estimated:
            self._limit.reserve(used - estimated)

    def _wait_out_holds(self, stopped: threading.Event) -> None:
        while (left := self._limit.wait_seconds()) > 0:
            spread = min(MOST_SPREAD_SECONDS, left * SPREAD_SHARE)
            self._wait(left + self._draw() * spread, stopped)

    def _wait(self, seconds: float, stopped: threading.Event) -> None:
        if seconds > 0 and not stopped.is_set():
            self._sleep(seconds, stopped)
        if stopped.is_set():
            raise CancelledError
