"""Making runs of what is due. Any number may look at once: the store takes one decision each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.jobs.schedule_records import Run, Schedule
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.fire_times import next_due
from lexigram_ray.maintenance.planning import TOLERANCE, plan_runs

logger = logging.getLogger("lexigram_ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quiet:
    """A schedule of which nothing is due before a time; None is never.

    Attributes:
        seen: The schedule as it was when this was found out.
    """

    seen: Schedule
    until: datetime | None


class Scheduler:
    """Looks which schedules are due, and records their runs.

    Args:
        clock: Returns the time, UTC.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._quiet: dict[str, _Quiet] = {}

    def look(self) -> list[Run]:
        """Look once; return the runs that were made."""
        schedules = self._store.schedules.list()
        self._quiet = {each.name: self._quiet_time(each) for each in schedules}
        made: list[Run] = []
        for schedule in schedules:
            if self._is_due(schedule):
                made += self._look_at(schedule)
        return made

    def _quiet_time(self, schedule: Schedule) -> _Quiet:
        known = self._quiet.get(schedule.name)
        if known is not None and known.seen == schedule:
            return known
        until = None
        if schedule.enabled and schedule.considered_until is not None:
            try:
                until = next_due(schedule, schedule.considered_until)
            except ConfigError as error:
                # Once, and not each second; the other schedules go on.
                logger.warning("schedule %s never runs: %s", schedule.name, error)
        return _Quiet(seen=schedule, until=until)

    def _is_due(self, schedule: Schedule) -> bool:
        until, now = self._quiet[schedule.name].until, self._clock()
        if until is None or schedule.considered_until is None:
            return False
        return until <= now or schedule.considered_until > now + TOLERANCE

    def _look_at(self, schedule: Schedule) -> list[Run]:
        plan = plan_runs(
            schedule,
            self._clock(),
            lambda: [job.id for job in self._store.schedules.unfinished(schedule.name)],
        )
        if plan.considered_until is None:
            return []
        runs = self._store.schedules.record(schedule, plan.runs, plan.considered_until)
        for run in runs:
            logger.info("%s, due at %s: %s", run.schedule, run.due_at, run.reason or "job made")
        return runs
