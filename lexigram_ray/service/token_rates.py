"""How many requests each token may make, at one replica."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST_BURST = 10
"""Requests that may always come at once, however few are allowed in a minute."""

MOST_REMEMBERED = 1000

_ROUNDING_SECONDS = 1e-6


class TokenRates:
    """A bucket for each token that fills steadily and holds a second's worth (GCRA).

    For one event loop: a call is not interrupted by another.

    Args:
        per_minute: Requests of one token.
        ticks: Returns seconds of a clock that only goes forward.
    """

    def __init__(self, per_minute: int, ticks: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute
        self._slack = self._interval * (max(LEAST_BURST, per_minute / 60) - 1)
        self._ticks = ticks
        # When each bucket is full again; those that are full need not be remembered.
        self._full_at: dict[str, float] = {}

    def take(self, key: str) -> float:
        """Take one request out of a bucket.

        Returns:
            Zero, or the seconds until there is one again; nothing was taken then.
        """
        now = self._ticks()
        full_at = max(now, self._full_at.get(key, now))
        wait = full_at - self._slack - now
        if wait > _ROUNDING_SECONDS:
            return wait
        if len(self._full_at) >= MOST_REMEMBERED:
            self._full_at = {each: at for each, at in self._full_at.items() if at > now}
        self._full_at[key] = full_at + self._interval
        return 0.0
