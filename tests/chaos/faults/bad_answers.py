"""What an embedding server does wrong: now and then, for some texts, or for as long as it likes."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response

from tests.misbehaving_server import (
    DIMENSION,
    Asked,
    Fault,
    changed,
    dropped,
    error,
    garbage,
    hanging,
)

POISON = "quicksilver"
"""A word of the texts that a server never gets right."""

RETRY_AFTER_SECONDS = 5


@dataclass
class Seldom:
    """A fault that hits some of the requests, and so passes.

    Attributes:
        most: So many times, and all is well.
        times: When it was made, in monotonic seconds.
    """

    fault: Fault
    chance: random.Random
    share: float
    most: int
    times: list[float] = field(default_factory=list[float])
    _asked: int = 0

    async def __call__(self, asked: Asked) -> Response | None:
        """Answer one request."""
        self._asked += 1
        # What a server's model is, is learned from its first answer ever.
        is_hit = self._asked > 1 and self.chance.random() < self.share
        if not is_hit or len(self.times) >= self.most:
            return None
        self.times.append(time.monotonic())
        return await self.fault(asked)


@dataclass
class Always:
    """A fault that hits every request that it is about.

    Attributes:
        of_poison: Whether it is about poisonous texts only.
        after: So many requests are answered well before.
        times: When it was made, in monotonic seconds.
    """

    fault: Fault
    of_poison: bool = False
    after: int = 0
    times: list[float] = field(default_factory=list[float])
    _asked: int = 0

    async def __call__(self, asked: Asked) -> Response | None:
        """Answer one request."""
        self._asked += 1
        is_fine = self.of_poison and not any(POISON in text for text in asked.texts)
        if is_fine or self._asked <= self.after:
            return None
        self.times.append(time.monotonic())
        return await self.fault(asked)


def _spoiled(vector: list[float]) -> Fault:
    """Send a vector for the poisonous texts, or for the first where none is."""

    def change(asked: Asked, body: dict[str, Any]) -> None:
        poisonous = [place for place, text in enumerate(asked.texts) if POISON in text]
        for place in poisonous or [0]:
            body["data"][place]["embedding"] = vector

    return changed(change)


def _one_short(asked: Asked, body: dict[str, Any]) -> None:
    del asked
    body["data"].pop()


THROTTLED = error(429, "too many requests", retry_after=str(RETRY_AFTER_SECONDS))
BROKEN = error(500, "something went wrong")
NOT_FINITE = _spoiled([math.nan] * DIMENSION)
ANOTHER_DIMENSION = _spoiled([0.5] * (DIMENSION // 2))

PASSING: dict[str, tuple[Fault, int]] = {
    f"429 with Retry-After {RETRY_AFTER_SECONDS}": (THROTTLED, 2),
    "500": (BROKEN, 6),
    "garbage for JSON": (garbage, 6),
    "NaN in a vector": (NOT_FINITE, 4),
    "another dimension": (ANOTHER_DIMENSION, 4),
    "half a body": (dropped, 6),
    "no answer at all": (hanging, 3),
}
"""Each with how often it is made beneath a command: waits are real."""

LASTING: dict[str, Fault] = {"429 for ever": THROTTLED, "500 for ever": BROKEN}

POISONED: dict[str, Fault] = {
    "NaN for some texts": NOT_FINITE,
    "another dimension for some texts": ANOTHER_DIMENSION,
    "400 for some texts": error(400, "this input is not allowed"),
    "a vector too few for some texts": changed(_one_short),
}
