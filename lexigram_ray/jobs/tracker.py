"""How far a run is: counted from what workers report, told a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs.executor import Executed
from lexigram_ray.jobs.report import Progress, ProgressCallback

TELL_EVERY_SECONDS = 0.2
SETTLE_SECONDS = 2.0
"""Before this, a rate says more about warming up than about the work."""


class Tracker:
    """Counts, and passes a `Progress` on.

    Args:
        tell: Receives each progress; called from the run's own thread.
        clock: Seconds, monotonic.
    """

    def __init__(self, tell: ProgressCallback, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._started = clock()
        self._work_started: float | None = None
        self._told = 0.0
        self.now = Progress(phase="scanning")

    def enter(self, phase: str) -> None:
        """Begin a phase, and say so at once."""
        self.now = replace(self.now, phase=phase)
        self._pass_on()

    def begin_work(
        self,
        *,
        job_id: str,
        documents_done: int,
        documents_total: int,
        bytes_total: int,
        skipped: int,
        failed: int,
    ) -> None:
        """Set what is known once the plan stands."""
        self.now = replace(
            self.now,
            phase="starting" if bytes_total else self.now.phase,
            job_id=job_id,
            documents_done=documents_done,
            documents_total=documents_total,
            bytes_total=bytes_total,
            skipped=skipped,
            failed=failed,
        )
        self._pass_on()

    def ended(self, executed: Executed) -> None:
        """Count one document."""
        if self._work_started is None:
            self._work_started = self._clock()
        self.now = replace(
            self.now,
            phase="ingesting",
            documents_done=self.now.documents_done + 1,
            chunks_done=self.now.chunks_done + executed.chunks,
            chunks_cached=self.now.chunks_cached + executed.cached,
            bytes_done=self.now.bytes_done + executed.document.stamp.size,
            skipped=self.now.skipped + (executed.outcome is Outcome.SKIPPED),
            failed=self.now.failed + (executed.outcome is Outcome.FAILED),
            current=executed.document.source,
        )
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
        # The mean over the whole run: bytes are uneven in cost, and a short window would jump.
        if self._work_started is None or self.now.bytes_done == 0:
            return None
        elapsed = self._clock() - self._work_started
        if elapsed < SETTLE_SECONDS:
            return None
        return elapsed * (self.now.bytes_total - self.now.bytes_done) / self.now.bytes_done
