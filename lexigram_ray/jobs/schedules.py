"""What the store promises of schedules and their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.intake import Intake
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.queue import Queue
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.schedule_definitions import ScheduleDefinitions
from lexigram_ray.jobs.schedule_listing import ScheduleListing
from lexigram_ray.jobs.schedule_records import PlannedRun, Run, Schedule
from lexigram_ray.jobs.schedule_runs import ScheduleRuns

RUNS_KEPT = 1000
"""Ended runs of each schedule that `expire` keeps where nobody says how many."""


class Schedules:
    """When maintenance runs, and what became of it.

    The store decides no time: which times are due, and which of them run, is said by whoever calls
    `record`. However many do so at once, each time of a schedule is decided on once.

    Times of callers carry a time zone.
    """

    def __init__(
        self, database: Database, intake: Intake, letters: LetterWriting, queue: Queue
    ) -> None:
        self._definitions = ScheduleDefinitions(database)
        self._listing = ScheduleListing(database)
        self._runs = ScheduleRuns(database, intake, letters, queue)

    # -- Definitions -------------------------------------------------------------------------------

    def define(self, schedules: Sequence[Schedule], *, origins: Sequence[str]) -> None:
        """Write definitions, and remove those of some origins that are not among them.

        What a user has made of `enabled` stays until the definition itself says something else. A
        schedule that is new, or whose times have changed, is considered from now on. The runs of a
        removed one stay.

        Args:
            schedules: By different names.
            origins: Whose schedules these are all of: `("builtin", "config")`, say.

        Raises:
            UsageError: One has no name, two have the same, or one has not exactly one of `cron` and
                `interval_seconds`, or an interval or time-out that is not above zero.
        """
        self._definitions.define(schedules, origins)

    def list(self) -> list[Schedule]:
        """Return all schedules, by name."""
        return self._definitions.all()

    def get(self, name: str) -> Schedule | None:
        """Return a schedule."""
        return self._definitions.get(name)

    def enable(self, name: str, enabled: bool) -> Schedule:
        """Let a schedule run, or not; one that was disabled is considered from now on.

        Raises:
            UsageError: There is no such schedule.
        """
        return self._definitions.enable(name, enabled)

    # -- Making runs -------------------------------------------------------------------------------

    def record(
        self, schedule: Schedule, runs: Sequence[PlannedRun], considered_until: datetime
    ) -> list[Run]:
        """Make runs and their jobs, and note how far the schedule has been considered.

        Args:
            schedule: As it was read: its `considered_until` is compared with what stands now.
            runs: Decisions on times up to `considered_until`.
            considered_until: All due times up to here are decided with this.

        Returns:
            What was made. Nothing, with nothing changed, where another one has considered the
            schedule since, or where it is gone or disabled; and no run for a time that has one.
        """
        return self._runs.record(schedule, runs, considered_until)

    def run_now(
        self,
        name: str,
        options: Mapping[str, object] | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> Run:
        """Make a run that is due now, be the schedule enabled or not.

        Args:
            name: Of the schedule.
            options: Stand over those of the schedule.
            timeout_seconds: Stands over that of the schedule.

        Raises:
            UsageError: There is no such schedule; or an earlier run has not ended, and the schedule
                neither queues nor replaces.
        """
        return self._runs.run_now(name, options or {}, timeout_seconds)

    # -- Working on them ---------------------------------------------------------------------------

    def ready(self, limit: int) -> list[Job]:
        """Return the maintenance jobs that could be claimed now, the longest due first; claim none.

        At most one of each schedule, the longest due; and none of a schedule of which a live owner
        holds one.
        """
        return self._runs.ready(limit)

    def unfinished(self, name: str) -> list[Job]:
        """Return the jobs of a schedule that have not ended, in the order of their due times."""
        return self._listing.unfinished(name)

    # -- Looking at them ---------------------------------------------------------------------------

    def runs(
        self,
        name: str | None = None,
        *,
        status: MaintenanceStatus | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[list[Run], str | None]:
        """Return runs, the latest due first, and the cursor of the next page if there is one.

        Args:
            name: Of a schedule, which may be gone; None for all.
            status: Only runs in this state.
            limit: Runs of a page.
            cursor: Of the page before.

        Raises:
            UsageError: The cursor is not one of ours, or the limit is below 1.
        """
        return self._listing.page(name, status, limit, cursor)

    def run_of_job(self, job_id: str) -> Run | None:
        """Return the run that a job does."""
        return self._listing.of_job(job_id)

    def last_completed(self, name: str) -> Run | None:
        """Return the latest due run of a schedule that has completed."""
        return self._listing.last_completed(name)

    def expire(self, keep: int = RUNS_KEPT) -> int:
        """Forget old runs with their jobs, and return how many.

        Args:
            keep: So many ended runs stay of each schedule, and the last one that has completed.
        """
        return self._runs.expire(keep)
