"""Waiting for a job, shown: what was seen of it, and why nothing goes on where nothing does."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.job_next import is_up
from lexigram_ray.cli.job_words import waits_for_a_worker
from lexigram_ray.cli.jobs_moment import JobsMoment
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.watching import Watched

if TYPE_CHECKING:
    from lexigram_ray.cli.displays import Display
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.store import Store

UNCLAIMED_SECONDS = 3.0
"""A job that nobody has claimed, or whose owner is gone, for so long may have nobody."""
NOBODY = (
    "nothing works on the job: start() of a worker does, `lexigram-ray up`, or run() of this handle"
)


class JobWatch:
    """One waiting for the end of a job.

    Args:
        job: As it was seen last.
        display: Shows how far it is.
        timeout: Seconds; None for no limit.
    """

    def __init__(
        self, job: Job, config: WorkersConfig, display: Display, timeout: float | None
    ) -> None:
        self._config = config
        self._display = display
        self._began = time.monotonic()
        self._timeout = timeout
        self._watched = Watched.begin(job, self._began)
        self._idle_since: float | None = None
        self._said = False

    @property
    def job(self) -> Job:
        """The job as it was seen last."""
        return self._watched.job

    def look(self, store: Store) -> bool:
        """Look at the job, and return whether it is over.

        Raises:
            UsageError: It is gone from the store.
        """
        now = time.monotonic()
        self._watched = self._watched.look(store, now)
        if not self._is_idle(store):
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        return self.job.status.is_final

    def show(self) -> None:
        """Show what was seen last, and say once that nobody works on the job, where that is so.

        Raises:
            TimeoutError: It is not over, and the time is.
        """
        self._display.update(JobsMoment((self._watched,), datetime.now(UTC)))
        now = time.monotonic()
        if self._idle_since is not None and now - self._idle_since >= UNCLAIMED_SECONDS:
            self._say_idle()
        over = self.job.status.is_final or self._timeout is None
        if not over and now - self._began >= (self._timeout or 0.0):
            raise TimeoutError(
                f"job {self.job.id} is {self.job.status.value} after {now - self._began:.0f} s"
            )

    def _is_idle(self, store: Store) -> bool:
        if self.job.status is JobStatus.RUNNING:
            attempts = store.attempts_of(self.job.id)
            return bool(attempts) and attempts[-1].owner.is_gone()
        return waits_for_a_worker(self.job, datetime.now(UTC))

    def _say_idle(self) -> None:
        if not self._said and not is_up(self._config):
            self._display.say(NOBODY, label="note")
        self._said = True
