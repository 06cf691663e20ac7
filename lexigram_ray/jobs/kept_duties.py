"""Duties with the store that go on whatever happens, each in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.store import Store

__all__ = ["PAUSE_SECONDS", "KeptDuties"]

PAUSE_SECONDS = 5.0

logger = logging.getLogger("lexigram_ray")


class KeptDuties:
    """Threads that are begun again after an error, until they are told to stop.

    Args:
        config: Says where the store is.
        name: Whose duties they are, for the log.
    """

    def __init__(self, config: WorkersConfig, name: str) -> None:
        self._config = config
        self._name = name
        self._threads: list[threading.Thread] = []
        self.ending = threading.Event()
        """Set once nothing is to be begun any more."""

    def keep_doing(self, duty: Callable[[Store], None], what: str) -> None:
        """Start a duty; it is given an open store, and goes on until `ending` is set.

        Args:
            duty: Returns soon after `ending` was set.
            what: It is, for the log.
        """
        thread = threading.Thread(target=self._go_on, args=(duty, what), name=what, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self, seconds: float) -> bool:
        """Begin nothing any more; return once nothing is under way, or the time is over.

        Returns:
            Whether nothing is under way any more.
        """
        logger.info("%s ends", self._name)
        self.ending.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _go_on(self, duty: Callable[[Store], None], what: str) -> None:
        logger.info("%s begins to %s", self._name, what)
        while not self.ending.is_set():
            try:
                with Store.open(self._config.paths.store_url) as store:
                    duty(store)
            except Exception:
                # Whatever it is, it may pass; nobody else does it.
                logger.exception("%s looks again in %.0f s", self._name, PAUSE_SECONDS)
                self.ending.wait(PAUSE_SECONDS)
