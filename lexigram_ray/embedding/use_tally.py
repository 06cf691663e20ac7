"""What this process has looked up and used of a cache, until it is noted on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import EmbeddingError
from lexigram_ray.embedding.use_notes import UseHistory, write_note

# Only the clean-up and the hit rate need notes: losing a minute of them harms nothing.
NOTE_AFTER_SECONDS = 60.0
NOTE_AFTER_KEYS = 65_536

logger = logging.getLogger(__name__)


class UseTally:
    """Gathers each row in use once a day. Not safe to use from several threads.

    Args:
        folder: Where notes go; see `use_notes`.
        today: Days since 1970.
        clock: Seconds, of any beginning.
    """

    def __init__(
        self, folder: Path, *, today: Callable[[], int], clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._today = today
        self._clock = clock
        self._day = today()
        self._noted = np.zeros(0, np.bool_)
        self._begin()

    def count(self, looked_up: int, found: int) -> None:
        """Count texts looked up, and how many of them were found."""
        self._turn_the_day()
        if looked_up and self._since is None:
            self._since = self._clock()
        self._looked_up += looked_up
        self._found += found

    def use(self, rows: NDArray[np.int64], keys: NDArray[np.void]) -> None:
        """Note rows of the table, shape `(n,)`, with their keys, as used today."""
        if not len(rows):
            return
        self._turn_the_day()
        if (most := int(rows.max()) + 1) > len(self._noted):
            self._noted = np.concatenate([self._noted, np.zeros(most, np.bool_)])
        new = ~self._noted[rows]
        self._noted[rows] = True
        if new.any():
            self._keys.append(keys[new])
            self._waiting += int(np.count_nonzero(new))

    def forget_rows(self) -> None:
        """Take all rows for unused: their numbers have changed, or the day."""
        self._noted = np.zeros(0, np.bool_)

    def write_if_due(self) -> None:
        """Write a note if enough has gathered, or long ago."""
        late = self._since is not None and self._clock() - self._since >= NOTE_AFTER_SECONDS
        if late or self._waiting >= NOTE_AFTER_KEYS:
            self.write()

    def write(self) -> None:
        """Write what has gathered as one note; without space or permission it is dropped."""
        if not self._looked_up:
            return
        keys = np.concatenate(self._keys) if self._keys else UseHistory().keys
        note = UseHistory(
            keys=keys,
            days=np.full(len(keys), self._day, np.int32),
            counts={self._day: (self._looked_up, self._found)},
        )
        try:
            write_note(self._folder, note)
        except (OSError, EmbeddingError) as error:
            logger.warning("the use of the embedding cache was not noted: %s", error)
        self._begin()

    def _turn_the_day(self) -> None:
        if (today := self._today()) != self._day:
            self.write()
            self._day = today
            self.forget_rows()

    def _begin(self) -> None:
        self._keys: list[NDArray[np.void]] = []
        self._waiting = 0
        self._looked_up = 0
        self._found = 0
        self._since: float | None = None
