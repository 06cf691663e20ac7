"""What is done for dead letters all the time: retrying them when due, and telling of the others.

Both hold nothing that the store does not: any number of processes may do them at once.
"""

from __future__ import annotations

import random
import threading
import time

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.letter_sweep import Sweeper
from lexigram_ray.jobs.notifying import Notifier
from lexigram_ray.jobs.store import Store

__all__ = ["POLL_SECONDS", "keep_retrying", "keep_telling", "seconds_between_looks"]

POLL_SECONDS = 1.0
"""Between two looks for what is due: each is one indexed query."""


def keep_retrying(config: WorkersConfig, store: Store, ending: threading.Event) -> None:
    """Give new letters their times, and retry those that are due, until `ending` is set."""
    sweeper = Sweeper(config, store, time.time, random.random)
    every = seconds_between_looks(config)
    looked = -every
    while not ending.is_set():
        if time.monotonic() - looked >= every:
            sweeper.look()
            looked = time.monotonic()
        else:
            sweeper.look_for_due()
        ending.wait(POLL_SECONDS)


def keep_telling(config: WorkersConfig, store: Store, ending: threading.Event) -> None:
    """Tell whom the settings name of letters that nobody retries, until `ending` is set."""
    notifier = Notifier(config, store, time.time, random.random)
    while not ending.is_set():
        notifier.look(keep_on=lambda: not ending.is_set())
        ending.wait(POLL_SECONDS)


def seconds_between_looks(config: WorkersConfig) -> float:
    """Return how often failures that nobody has looked at yet are looked at."""
    # Else a first wait that is shorter would never be kept.
    soonest = max(POLL_SECONDS, config.dead_letters.base_backoff_seconds)
    return min(float(config.dlq_check_interval), soonest)
