"""Patience with workers that answer nothing: said to the user once, and an error in the end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import ray

from lexigram_ray.core.errors import WorkerError

SAID_AFTER_SECONDS = 60.0
PATIENCE_SECONDS = 300.0
PATIENCE_SECONDS_A_ROW = 0.5

logger = logging.getLogger("lexigram_ray")


class Silence:
    """A wait for others in which nothing comes.

    Args:
        of: Who does not answer, such as `an embedder`.
        limit: Seconds after which it is an error; without one, somebody else sets it.
        clock: In seconds.
    """

    def __init__(
        self, of: str, limit: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._of = of
        self._limit = limit
        self._clock = clock
        self._is_said = False
        self.begin()

    def begin(self) -> None:
        """Count from now on; what was said once is not said again."""
        self._began = self._clock()

    def goes_on(self) -> None:
        """Note that nothing has come yet.

        Raises:
            WorkerError: It has lasted for longer than its limit.
        """
        seconds = self._clock() - self._began
        if seconds >= self._limit:
            raise WorkerError(
                f"{self._of} did not answer for {seconds:.0f} s; the cluster has "
                f"{free_resources()}",
                hint="`ray status` shows what waits for what; free it, or set "
                "runtime.embedder_gpus to 0 if GPUs are taken: the same command goes on",
            )
        if seconds >= SAID_AFTER_SECONDS and not self._is_said:
            self._is_said = True
            logger.warning(
                "%s has not answered for %d seconds; the cluster has %s: "
                "`ray status` shows what waits",
                self._of,
                seconds,
                free_resources(),
            )


def patience_for(rows: int) -> float:
    """Return the seconds after which `rows` texts have certainly met with a fault."""
    return PATIENCE_SECONDS + PATIENCE_SECONDS_A_ROW * rows


def free_resources() -> str:
    """Return what nobody reserves, in words."""
    free = ray.available_resources()
    return f"{free.get('CPU', 0.0):.1f} free CPUs and {free.get('GPU', 0.0):.1f} free GPUs"
