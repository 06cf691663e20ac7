"""How far an embedding job is: counted from what places report, told a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from lexigram_ray.jobs.embed_report import EmbedProgress
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.jobs.tracker import SETTLE_SECONDS, TELL_EVERY_SECONDS

EmbedProgressCallback = Callable[[EmbedProgress], None]


class TextTracker:
    """Counts, and passes an `EmbedProgress` on.

    Args:
        tell: Receives each progress; called from the run's own thread.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, tell: EmbedProgressCallback, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._started = clock()
        self._work_started: float | None = None
        self._characters_before = 0
        self._told = 0.0
        self.now = EmbedProgress(phase="reading")

    def enter(self, phase: str) -> None:
        """Begin a phase, and say so at once."""
        self.now = replace(self.now, phase=phase)
        self._pass_on()

    def read(self, rows: int) -> None:
        """Say how many rows have been read so far."""
        self.now = replace(self.now, texts_read=rows)
        self.pulse()

    def begin_work(
        self, *, job_id: str, total: int, done: int, cached: int, failed: int, characters: int
    ) -> None:
        """Set what is known once the work to do is known."""
        self.now = replace(
            self.now,
            phase="starting" if characters else self.now.phase,
            job_id=job_id,
            texts_total=total,
            texts_done=done,
            cached=cached,
            failed=failed,
            characters_total=characters,
        )
        self._pass_on()

    def ended(self, unit: StagedUnit, execution: RowsExecution, *, counted: bool) -> None:
        """Count one unit; its characters only where they were `counted` as work."""
        self.now = replace(
            self.now,
            phase="embedding",
            texts_done=self.now.texts_done + unit.rows,
            cached=self.now.cached + execution.cached,
            failed=self.now.failed + len(execution.failures),
            characters_done=self.now.characters_done + (unit.characters if counted else 0),
        )
        if counted and self._work_started is None:
            # The first unit's time is for the most part that of Ray's and the model's start.
            self._work_started = self._clock()
            self._characters_before = self.now.characters_done
        self.pulse()

    def pulse(self) -> None:
        """Pass the progress on when the last telling is long enough ago."""
        if self._clock() - self._told >= TELL_EVERY_SECONDS:
            self._pass_on()

    def _pass_on(self) -> None:
        self._told = self._clock()
        self.now = replace(
            self.now,
            seconds_elapsed=self._told - self._started,
            seconds_remaining=self._remaining(),
        )
        self._tell(self.now)

    def _remaining(self) -> float | None:
        done = self.now.characters_done - self._characters_before
        if self._work_started is None or done == 0:
            return None
        elapsed = self._clock() - self._work_started
        if elapsed < SETTLE_SECONDS:
            return None
        left = self.now.characters_total - self.now.characters_done
        return elapsed * left / done
