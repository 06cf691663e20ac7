"""A note that the service is ending: written by who ends it, read by every replica.

It lies with the collections, which all nodes see, and it expires: of one that was left behind by a
killed process, the next service must not believe that it is ending.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.embedding.json_file import read_object, write_object

NAME = "service-ending.json"
LOOK_SECONDS = 0.5

_UNTIL = "until"


def note_ending(
    config: WorkersConfig, seconds: float, *, now: Callable[[], float] = time.time
) -> None:
    """Have every replica say that it is not ready.

    Args:
        seconds: How long the note counts, if nobody removes it.
    """
    write_object(_path(config), {_UNTIL: now() + seconds})


def forget_ending(config: WorkersConfig) -> None:
    """Remove the note."""
    with suppress(FileNotFoundError):
        _path(config).unlink()


class EndingWatch:
    """Whether the service is ending, as the note says; the file is read twice a second at most.

    Args:
        now: Returns seconds since the epoch.
    """

    def __init__(self, config: WorkersConfig, *, now: Callable[[], float] = time.time) -> None:
        self._path = _path(config)
        self._now = now
        self._looked = float("-inf")
        self._is_ending = False

    def __call__(self) -> bool:
        """Return it."""
        now = self._now()
        # A clock that was set back must not keep it from looking.
        if not 0 <= now - self._looked < LOOK_SECONDS:
            until = read_object(self._path).get(_UNTIL)
            self._is_ending = isinstance(until, (int, float)) and now < until
            self._looked = now
        return self._is_ending


def _path(config: WorkersConfig) -> Path:
    return config.paths.lancedb.parent / NAME
