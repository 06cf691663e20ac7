"""Patience with workers that answer nothing: said to the user once, and an error in the end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import EmbedderDiedError, WorkerError
from lexigram_ray.jobs.pool import TIMED_OUT

SAID_AFTER_SECONDS = 60.0
PATIENCE_SECONDS = 300.0
PATIENCE_SECONDS_A_ROW = 0.5
LAST_WORD_SECONDS = 1.0

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
            raise self._over(seconds)
        if seconds >= SAID_AFTER_SECONDS and not self._is_said:
            self._is_said = True
            logger.warning(
                "%s has not answered for %d seconds; the cluster has %s: "
                "`ray status` shows what waits",
                self._of,
                seconds,
                free_resources(),
            )

    def _over(self, seconds: float) -> WorkerError:
        return WorkerError(
            f"{self._of} did not answer for {seconds:.0f} s; the cluster has {free_resources()}",
            hint="`ray status` shows what waits for what; free it, or set "
            "runtime.embedder_gpus to 0 if GPUs are taken: the same command goes on",
        )


class UnitTime(Silence):
    """The time that rows have on a worker that is up; over, the worker counts as dead."""

    def _over(self, seconds: float) -> WorkerError:
        error = EmbedderDiedError(took_longer_than(self._limit))
        error.code = TIMED_OUT
        return error


def patience_for(rows: int, unit_seconds: float = math.inf) -> float:
    """Return the seconds after which `rows` texts have certainly met with a fault.

    Args:
        unit_seconds: From `unit_limit`: what they may take once their worker is up.
    """
    return PATIENCE_SECONDS + min(PATIENCE_SECONDS_A_ROW * rows, unit_seconds)


def unit_limit(config: WorkersConfig) -> float:
    """Return the seconds that a document or a range of rows may take on a worker.

    Without bound where a server makes the vectors: its requests have limits of their own, and a
    text that waits for the server's budget is not to blame.
    """
    return math.inf if config.embedding.server.url is not None else config.jobs.unit_seconds


def hear_last_word(reference: Any) -> None:
    """Take the result of a worker that was ended."""
    # Of a result that nobody asks for, Ray would tell the terminal that it failed.
    with suppress(RayError):
        ray.get(reference, timeout=LAST_WORD_SECONDS)


def took_longer_than(seconds: float) -> str:
    """Return how a worker died that was ended at its limit."""
    return f"it took longer than {seconds:g} s (jobs.unit_seconds)"


def free_resources() -> str:
    """Return what nobody reserves, in words."""
    free = ray.available_resources()
    return f"{free.get('CPU', 0.0):.1f} free CPUs and {free.get('GPU', 0.0):.1f} free GPUs"
