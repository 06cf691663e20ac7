"""What the actors that `up` keeps running have in common: duties that go on whatever happens."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.ray_process import begin_ray_process

PAUSE_SECONDS = 5.0

logger = logging.getLogger("lexigram_ray")


class KeptActor:
    """Does duties with the store, each in a thread of its own, until it is told to stop.

    Args:
        name: Its own.
        settings_key: Tells one configuration from another.
    """

    def __init__(self, config: WorkersConfig, name: str, settings_key: str) -> None:
        begin_ray_process(config)
        self._config = config
        self._name = name
        self._settings_key = settings_key
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []

    def __repr__(self) -> str:
        return self._name

    def describe(self) -> dict[str, object]:
        """Return where it runs, and with which settings."""
        return {
            "pid": os.getpid(),
            "node": socket.gethostname(),
            "settings_key": self._settings_key,
        }

    def stop(self, seconds: float) -> None:
        """Begin nothing any more; return once nothing is under way, or the time is over."""
        logger.info("%s ends", self._name)
        self._ending.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _keep_doing(self, duty: Callable[[Store], None]) -> None:
        """Start a duty; it is given an open store, and goes on until `_ending` is set."""
        what = duty.__name__.strip("_")
        thread = threading.Thread(target=self._go_on, args=(duty, what), name=what, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _go_on(self, duty: Callable[[Store], None], what: str) -> None:
        logger.info("%s begins to %s", self._name, what)
        while not self._ending.is_set():
            try:
                with Store.open(self._config.paths.store_url) as store:
                    duty(store)
            except Exception:
                # Whatever it is, it may pass; nobody else does it.
                logger.exception("%s looks again in %.0f s", self._name, PAUSE_SECONDS)
                self._ending.wait(PAUSE_SECONDS)
