"""A registered task, its runs, and their lines in the history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lexigram_ray.jobs.schedule_records import Trigger
from lexigram_ray.workers.maintenance._handler_call import HandlerCall
from lexigram_ray.workers.maintenance._timing import Timing, next_run
from lexigram_ray.workers.types import MaintenanceResult, MaintenanceTask


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One run of a task, from its start on.

    Attributes:
        id: Of the run.
        task: As it is registered; it may be unregistered meanwhile.
        call: Of the handler.
        due_at: When it was due; None where it was asked for.
    """

    id: str
    task: MaintenanceTask
    call: HandlerCall
    trigger: Trigger
    started_at: datetime
    due_at: datetime | None = None


@dataclass(slots=True)
class Entry:
    """A registered task, and where it stands.

    Attributes:
        run: Under way, or ended for its watchers and going on all the same.
        skipped: Due times at which it was not run.
        told_of: The run because of which a skipped time was recorded last.
    """

    task: MaintenanceTask
    timing: Timing
    isolated: bool = False
    run: TaskRun | None = None
    skipped: int = 0
    told_of: str = ""
    last_result: MaintenanceResult | None = None
    _due_next: tuple[Timing, datetime | None] | None = None

    def may_be_due(self, now: datetime) -> bool:
        """Whether to look closer: that costs a thousand times as much."""
        since, following = self.timing.considered_until, self.next_run(now)
        if following is None:
            return False
        return following <= now or since is None or since > now

    def next_run(self, now: datetime) -> datetime | None:
        """Return when it is due next, in UTC; None where it is not enabled, or never."""
        if not self.task.enabled:
            return None
        if self.timing.considered_until is None:
            return now
        if self._due_next is None or self._due_next[0] is not self.timing:
            self._due_next = (self.timing, next_run(self.timing, now))
        return self._due_next[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One line of the history."""

    run_id: str
    trigger: Trigger
    result: MaintenanceResult

    def to_dict(self) -> dict[str, Any]:
        """Return the result, with the run's id and why there was a run."""
        more = {"run_id": self.run_id, "trigger": self.trigger.value}
        return self.result.to_dict() | more


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A run that has failed by its time limit, and goes on all the same."""

    task_name: str
    run_id: str
    started_at: datetime
