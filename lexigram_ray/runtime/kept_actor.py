"""What the actors that `up` keeps running have in common: duties that go on whatever happens."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.kept_duties import KeptDuties
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.ray_process import begin_ray_process


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
        self._duties = KeptDuties(config, name)

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
        self._duties.stop(seconds)

    @property
    def _ending(self) -> threading.Event:
        """Set once nothing is to be begun any more."""
        return self._duties.ending

    def _keep_doing(self, duty: Callable[[Store], None]) -> None:
        """Start a duty; it is given an open store, and goes on until `_ending` is set."""
        self._duties.keep_doing(duty, duty.__name__.strip("_"))
