"""The tasks of a worker, their runs under way, and what has become of the earlier ones.

Everything here is guarded by one lock: tasks may be registered, run and looked at from any thread.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lexigram_ray.core.ids import new_job_id
from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.schedule_records import Trigger
from lexigram_ray.workers.constants import MAX_HISTORY_SIZE
from lexigram_ray.workers.maintenance._handler_call import HandlerCall
from lexigram_ray.workers.maintenance._records import Entry, Recorded, Stuck, TaskRun
from lexigram_ray.workers.maintenance._task_checks import checked_name, unknown_task
from lexigram_ray.workers.maintenance._timing import Due, Timing, begin_timing, look
from lexigram_ray.workers.types import MaintenanceResult, MaintenanceTask


@dataclass(slots=True)
class Book:
    """All of it.

    Attributes:
        counts: Runs that have ended, by status; `skipped` are times without a run.
    """

    counts: Counter[MaintenanceStatus] = field(default_factory=Counter[MaintenanceStatus])
    _entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    _history: deque[Recorded] = field(
        default_factory=lambda: deque[Recorded](maxlen=MAX_HISTORY_SIZE)
    )
    _running: dict[str, TaskRun] = field(default_factory=dict[str, TaskRun])
    _left: dict[str, TaskRun] = field(default_factory=dict[str, TaskRun])
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def add(self, task: MaintenanceTask, timing: Timing, *, isolated: bool) -> None:
        """Take a task in.

        Raises:
            InvalidTaskError: Its name is another one's.
        """
        with self._lock:
            checked_name(task.name, self._entries)
            self._entries[task.name] = Entry(task=task, timing=timing, isolated=isolated)

    def remove(self, name: str) -> None:
        """Forget a task; a run of it that is under way ends as it would.

        Raises:
            UnknownTaskError: There is none of that name.
        """
        with self._lock:
            self.entry(name)
            del self._entries[name]

    def entry(self, name: str) -> Entry:
        """Return a task.

        Raises:
            UnknownTaskError: There is none of that name.
        """
        with self._lock:
            if name not in self._entries:
                raise unknown_task(name, self._entries)
            return self._entries[name]

    def switch(self, name: str, now: datetime, *, enabled: bool) -> None:
        """Have a task run by itself or not; cron times that come while it is off are nobody's.

        Raises:
            UnknownTaskError: There is none of that name.
        """
        with self._lock:
            entry = self.entry(name)
            if enabled and not entry.task.enabled and entry.timing.schedule.cron is not None:
                entry.timing = begin_timing(entry.timing.schedule, now)
            entry.task.enabled = enabled

    def due(self, now: datetime) -> list[tuple[Entry, Due]]:
        """Decide on what has become due, and return it: each time once."""
        with self._lock:
            found: list[tuple[Entry, Due]] = []
            for entry in self._entries.values():
                if not entry.may_be_due(now):
                    continue
                entry.timing, due = look(entry.timing, now)
                if due is not None:
                    found.append((entry, due))
            return found

    def next_look(self, now: datetime) -> datetime | None:
        """Return when the next task is due, in UTC; None where none ever is."""
        with self._lock:
            times = [entry.next_run(now) for entry in self._entries.values()]
        return min((time for time in times if time is not None), default=None)

    def begin(
        self, entry: Entry, call: HandlerCall, now: datetime, trigger: Trigger, due: Due | None
    ) -> TaskRun | MaintenanceResult:
        """Begin a run, unless one of the task still goes on: that is skipped, and why is said."""
        with self._lock:
            self._end_lost(now)
            if entry.run is not None and self._goes_on(entry.run):
                return self._skip(entry, entry.run, now, trigger)
            run = TaskRun(
                id=new_job_id(),
                task=entry.task,
                call=call,
                trigger=trigger,
                started_at=now,
                due_at=due.at if due is not None else None,
            )
            entry.run = self._running[run.id] = run
            entry.task.last_run = now
            entry.task.last_status = MaintenanceStatus.RUNNING
            return run

    def end(self, run: TaskRun, result: MaintenanceResult) -> None:
        """Record how a run has ended."""
        with self._lock:
            self._running.pop(run.id, None)
            if run.call.is_going_on():
                self._left[run.id] = run
            run.task.last_status, run.task.last_error = result.status, result.error
            run.task.run_count += 1
            self.counts[result.status] += 1
            self._history.append(Recorded(run_id=run.id, trigger=run.trigger, result=result))
            entry = self._entries.get(run.task.name)
            if entry is not None and entry.run is run:
                entry.last_result = result

    def running(self) -> list[TaskRun]:
        """Return the runs under way."""
        with self._lock:
            return [run for run in self._running.values() if not run.call.is_lost()]

    def stuck(self) -> list[Stuck]:
        """Return the runs that have failed by their time limit and go on all the same."""
        with self._lock:
            self._left = {key: run for key, run in self._left.items() if run.call.is_going_on()}
            return [
                Stuck(task_name=run.task.name, run_id=run.id, started_at=run.started_at)
                for run in self._left.values()
            ]

    def tasks(self, now: datetime) -> list[dict[str, Any]]:
        """Return what there is to say of all tasks, in the order of their registration."""
        with self._lock:
            return [self._said_of(entry, now) for entry in self._entries.values()]

    def task(self, name: str, now: datetime) -> dict[str, Any] | None:
        """Return what there is to say of a task; None where there is none of that name."""
        with self._lock:
            entry = self._entries.get(name)
            return None if entry is None else self._said_of(entry, now)

    def last_results(self) -> Mapping[str, MaintenanceResult]:
        """Return how the last run of each task has ended, by the names of the tasks."""
        with self._lock:
            return {
                name: entry.last_result
                for name, entry in self._entries.items()
                if entry.last_result is not None
            }

    def recent(self, limit: int) -> Sequence[Recorded]:
        """Return the last lines of the history, the latest last."""
        with self._lock:
            return list(self._history)[max(0, len(self._history) - max(0, limit)) :]

    def size(self) -> int:
        """Return how many tasks are registered."""
        with self._lock:
            return len(self._entries)

    def history_size(self) -> int:
        """Return how many lines the history has."""
        with self._lock:
            return len(self._history)

    def _goes_on(self, run: TaskRun) -> bool:
        is_watched = run.id in self._running and not run.call.is_lost()
        return is_watched or run.call.is_going_on()

    def _end_lost(self, now: datetime) -> None:
        """Record the end of runs whose event loop was closed under them."""
        for run in [run for run in self._running.values() if run.call.is_lost()]:
            result = MaintenanceResult(
                task_name=run.task.name,
                task_type=run.task.task_type,
                status=MaintenanceStatus.FAILED,
                started_at=run.started_at,
                completed_at=max(now, run.started_at),
                duration_seconds=max(0.0, (now - run.started_at).total_seconds()),
                error="its event loop was closed before it had ended",
            )
            self.end(run, result)

    def _skip(
        self, entry: Entry, before: TaskRun, now: datetime, trigger: Trigger
    ) -> MaintenanceResult:
        since = before.started_at.strftime("%Y-%m-%d %H:%M:%S")
        under_way = before.id in self._running
        how = "has not ended" if under_way else "timed out, and has not ended even so"
        result = MaintenanceResult(
            task_name=entry.task.name,
            task_type=entry.task.task_type,
            status=MaintenanceStatus.SKIPPED,
            started_at=now,
            completed_at=now,
            duration_seconds=0.0,
            error=f"not run: its run of {since} UTC {how}",
        )
        entry.skipped += 1
        self.counts[MaintenanceStatus.SKIPPED] += 1
        # One line for all times that one run is in the way of: a history is not to be filled so.
        if entry.told_of != before.id or trigger is Trigger.MANUAL:
            entry.told_of = before.id
            skipped = Recorded(run_id=new_job_id(), trigger=trigger, result=result)
            self._history.append(skipped)
        return result

    def _said_of(self, entry: Entry, now: datetime) -> dict[str, Any]:
        due = entry.next_run(now)
        last = entry.last_result
        return entry.task.to_dict() | {
            "timeout": entry.task.timeout,
            "timezone": entry.task.timezone,
            "isolated": entry.isolated,
            "running": entry.run is not None and self._goes_on(entry.run),
            "next_run": due.isoformat() if due is not None else None,
            "skipped_count": entry.skipped,
            "last_duration_seconds": last.duration_seconds if last is not None else None,
        }
