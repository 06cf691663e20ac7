"""How fast it goes: a smoothed rate that neither jumps with a batch nor clings to the start."""

from __future__ import annotations

import math
from dataclasses import dataclass

SMOOTHING_SECONDS = 10.0


@dataclass(slots=True)
class Rate:
    """A smoothed count per second.

    Attributes:
        per_second: Smoothed over `SMOOTHING_SECONDS`; 0 before anything was counted.
    """

    per_second: float = 0.0
    _count: int = 0
    _seconds: float = 0.0
    _weight: float = 0.0

    def observe(self, count: int, seconds: float) -> None:
        """Take in that `count` things were done after `seconds` (both only grow)."""
        passed = seconds - self._seconds
        if passed <= 0:
            return
        decay = math.exp(-passed / SMOOTHING_SECONDS)
        rate = (count - self._count) / passed
        # Dividing by the weight seen so far keeps the first moments unbiased.
        total = self.per_second * self._weight * decay + rate * (1 - decay)
        self._weight = self._weight * decay + (1 - decay)
        self.per_second = total / self._weight
        self._count, self._seconds = count, seconds
