"""The actor that retries dead letters in their time, and tells of those that nobody retries."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.letter_sweep import Sweeper
from lexigram_ray.jobs.notifying import Notifier
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.actor_log import log_to_worker_file

POLL_SECONDS = 1.0
"""Between two looks for what is due: each is one indexed query."""

PAUSE_SECONDS = 5.0

logger = logging.getLogger("lexigram_ray")


class DeadLetterActor:
    """Looks into the store once a second. It holds nothing that the store does not.

    Args:
        name: Its own.
        settings_key: Tells one configuration from another.
    """

    def __init__(self, config: WorkersConfig, name: str, settings_key: str) -> None:
        log_to_worker_file()
        self._config = config
        self._name = name
        self._settings_key = settings_key
        self._ending = threading.Event()
        # Two threads: a webhook that does not answer delays no retry.
        self._threads = [self._started(self._retry), self._started(self._tell)]

    def __repr__(self) -> str:
        return self._name

    def describe(self) -> dict[str, object]:
        """Return where it runs, with which settings, and whether it does all its duties."""
        return {
            "is_whole": all(thread.is_alive() for thread in self._threads),
            "pid": os.getpid(),
            "node": socket.gethostname(),
            "settings_key": self._settings_key,
        }

    def stop(self, seconds: float) -> None:
        """Retry nothing any more; return once nothing is being retried, or the time is over."""
        logger.info("%s retries no more", self._name)
        self._ending.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _started(self, duty: Callable[[Store], None]) -> threading.Thread:
        thread = threading.Thread(
            target=self._go_on, args=(duty,), name=duty.__name__.strip("_"), daemon=True
        )
        thread.start()
        return thread

    def _go_on(self, duty: Callable[[Store], None]) -> None:
        logger.info("%s begins to %s", self._name, duty.__name__.strip("_"))
        while not self._ending.is_set():
            try:
                with Store.open(self._config.paths.store_url) as store:
                    duty(store)
            except Exception:
                # Whatever it is, it may pass; nobody else does it.
                logger.exception("%s looks again in %.0f s", self._name, PAUSE_SECONDS)
                self._ending.wait(PAUSE_SECONDS)

    def _retry(self, store: Store) -> None:
        sweeper = Sweeper(self._config, store, time.time, random.random)
        every = seconds_between_looks(self._config)
        looked = -every
        while not self._ending.is_set():
            if time.monotonic() - looked >= every:
                sweeper.look()
                looked = time.monotonic()
            else:
                sweeper.look_for_due()
            self._ending.wait(POLL_SECONDS)

    def _tell(self, store: Store) -> None:
        notifier = Notifier(self._config, store, time.time, random.random)
        while not self._ending.is_set():
            notifier.look(keep_on=lambda: not self._ending.is_set())
            self._ending.wait(POLL_SECONDS)


def seconds_between_looks(config: WorkersConfig) -> float:
    """Return how often failures that nobody has looked at yet are looked at."""
    # Else a first wait that is shorter would never be kept.
    soonest = max(POLL_SECONDS, config.dead_letters.base_backoff_seconds)
    return min(float(config.dlq_check_interval), soonest)
