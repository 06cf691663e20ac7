"""The actor that retries dead letters in their time, and tells of those that nobody retries."""

from __future__ import annotations

import random
import time

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.letter_sweep import Sweeper
from lexigram_ray.jobs.notifying import Notifier
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.kept_actor import KeptActor

POLL_SECONDS = 1.0
"""Between two looks for what is due: each is one indexed query."""


class DeadLetterActor(KeptActor):
    """Looks into the store once a second. It holds nothing that the store does not."""

    def __init__(self, config: WorkersConfig, name: str, settings_key: str) -> None:
        super().__init__(config, name, settings_key)
        # Two threads: a webhook that does not answer delays no retry.
        self._keep_doing(self._retry)
        self._keep_doing(self._tell)

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
