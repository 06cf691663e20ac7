"""Telling a function of the user's of failures that nobody will retry, until it takes them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from lexigram_ray.jobs.awaiting import call
from lexigram_ray.workers.types import DLQItem

__all__ = ["HANDLER_SECONDS", "NotificationHandler", "Teller"]

HANDLER_SECONDS = 60.0
"""Time limit of one call."""

FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 900.0
_MOST_DOUBLINGS = 16

NotificationHandler = Callable[[DLQItem], Any]
"""The user's function; it may be a coroutine function. It takes an item by returning."""

logger = logging.getLogger("lexigram_ray")


class Teller:
    """Calls the function, and calls it again later where it has failed.

    Args:
        clock: Returns seconds that only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.handler: NotificationHandler | None = None
        self._clock = clock
        # By key: how often it has failed, and when it is to be called again.
        self._failed: dict[str, tuple[int, float]] = {}

    async def tell(self, key: str, item: DLQItem) -> bool:
        """Tell of an item, unless it is too early after a failed call.

        Args:
            key: Equal only for the same failure of the same job.
            item: What is told.

        Returns:
            Whether it was taken.
        """
        if self.handler is None:
            return False
        if self.is_early(key):
            return False
        failures, _ = self._failed.get(key, (0, 0.0))
        try:
            await asyncio.wait_for(call(self.handler, item), HANDLER_SECONDS)
        except Exception as error:  # noqa: BLE001 - a function of the user's harms nothing
            self._note(key, item, error, failures)
            return False
        self._failed.pop(key, None)
        return True

    def is_early(self, key: str) -> bool:
        """Whether its last call has failed, and is not to be made again yet."""
        failed = self._failed.get(key)
        return failed is not None and self._clock() < failed[1]

    def seconds_to_next(self) -> float | None:
        """Return the seconds until a failed call is to be made again; None where none is."""
        soonest = min((at for _, at in self._failed.values()), default=None)
        return None if soonest is None else soonest - self._clock()

    def forget(self, but: set[str]) -> None:
        """Forget failed calls, but those of these keys."""
        self._failed = {key: failed for key, failed in self._failed.items() if key in but}

    def _note(self, key: str, item: DLQItem, error: Exception, failures: int) -> None:
        wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(failures, _MOST_DOUBLINGS))
        self._failed[key] = failures + 1, self._clock() + wait
        logger.warning(
            "the notification handler has not taken job %s, and is called again in %.0f s: %r",
            item.job_id,
            wait,
            error,
            # Once with its traceback: one that always fails must not fill the log.
            exc_info=error if not failures else None,
        )
