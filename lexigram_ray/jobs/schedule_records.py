"""Schedules and their runs as the store keeps and returns them: frozen, and free of SQL.

A schedule says when a task runs. A run is one of its times: it has a job that does it, or the
reason why there is none.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import inf
from typing import cast

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import MaintenanceStatus

MAINTENANCE = "maintenance"
"""Kind of the jobs that are made by schedules rather than asked for."""

CANCELLED_CODE = "cancelled"
"""Error code of a run whose job was cancelled."""

NO_SCHEDULE = "schedule_not_found"
"""Code of the error that names a schedule which there is not."""

RUN_UNFINISHED = "run_unfinished"
"""Code of the error that refuses a run while an earlier one of its schedule has not ended."""


class Missed(StrEnum):
    """Which of the times run that have passed while nobody looked."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a run whose forerunner has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


class Trigger(StrEnum):
    """Why there is a run."""

    SCHEDULE = "schedule"
    MISSED = "missed"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a task runs, and how.

    Attributes:
        name: Of the schedule; built-in ones are called as their duties.
        task: Name of a duty, or `package.module:name` of a function.
        cron: Five fields; None where `interval_seconds` says when.
        interval_seconds: Between two times; None where `cron` says when.
        timezone: IANA name of the zone that `cron` is read in.
        jitter_seconds: A run starts up to so much later than it is due.
        timeout_seconds: How long a run may work before it is ended.
        options: JSON, given to the task.
        origin: Who has defined it: `builtin`, `config` or `api`.
        considered_until: All due times up to here have been decided on; set by the store.
        created_at: Set by the store.
        updated_at: When its definition changed last; set by the store.
    """

    name: str
    task: str
    cron: str | None
    interval_seconds: float | None
    timezone: str = "UTC"
    jitter_seconds: float = 0.0
    missed: Missed = Missed.LATEST
    overlap: Overlap = Overlap.SKIP
    timeout_seconds: float = 300.0
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    enabled: bool = True
    origin: str = "builtin"
    considered_until: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def times(self) -> tuple[object, ...]:
        """What its due times follow from."""
        return (self.cron, self.interval_seconds, self.timezone)

    def to_dict(self) -> dict[str, object]:
        """Return what `maintenance list --json` and HTTP answer."""
        return {
            "name": self.name,
            "task": self.task,
            "cron": self.cron,
            "interval_seconds": self.interval_seconds,
            "timezone": self.timezone,
            "jitter_seconds": self.jitter_seconds,
            "missed": self.missed.value,
            "overlap": self.overlap.value,
            "timeout_seconds": self.timeout_seconds,
            "options": dict(self.options),
            "enabled": self.enabled,
            "origin": self.origin,
            "considered_until": _iso(self.considered_until),
            "created_at": _iso(self.created_at),
            "updated_at": _iso(self.updated_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """What was decided for one due time.

    Attributes:
        start_at: When its job may start: with jitter, later than it is due.
        skip_reason: Why it is recorded without a job; None where it gets one.
        replaces: Ids of maintenance jobs that are cancelled first, where they have not ended.
    """

    due_at: datetime
    trigger: Trigger
    start_at: datetime
    skip_reason: str | None = None
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One time of a schedule, with what its job says.

    Attributes:
        schedule: Name of the schedule, which may be gone.
        job_id: None where it was skipped.
        reason: Why it was skipped, or its job's error; empty where all is well.
        error_code: Of its job; `cancelled` where that was cancelled.
        result: JSON, its job's summary: `figures`, `faults` and `lines`.
    """

    id: str
    schedule: str
    task: str
    due_at: datetime
    trigger: Trigger
    created_at: datetime
    job_id: str | None
    status: MaintenanceStatus
    reason: str = ""
    error_code: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def faults(self) -> list[Mapping[str, object]]:
        """What it found to be wrong: objects of `name`, `detail` and `fix`."""
        found = self.result.get("faults")
        return cast("list[Mapping[str, object]]", found) if isinstance(found, list) else []

    @property
    def figures(self) -> Mapping[str, object]:
        """What it counted and measured, by name."""
        found = self.result.get("figures")
        return cast("Mapping[str, object]", found) if isinstance(found, dict) else {}

    @property
    def duration_seconds(self) -> float | None:
        """How long it worked, over all attempts; None until it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def to_dict(self) -> dict[str, object]:
        """Return what `maintenance runs --json` and HTTP answer; `name` is the schedule's."""
        return {
            "id": self.id,
            "name": self.schedule,
            "task": self.task,
            "due_at": self.due_at.isoformat(),
            "trigger": self.trigger.value,
            "status": self.status.value,
            "job_id": self.job_id,
            "created_at": self.created_at.isoformat(),
            "started_at": _iso(self.started_at),
            "finished_at": _iso(self.finished_at),
            "duration_seconds": self.duration_seconds,
            "reason": self.reason,
            "error_code": self.error_code,
            "faults": [dict(each) for each in self.faults],
            "result": dict(self.result),
        }


def check_schedules(schedules: Iterable[Schedule]) -> None:
    """Refuse definitions that say nothing sensible; whether a `cron` can be read is not asked here.

    Raises:
        UsageError: See `Schedules.define`.
    """
    seen: set[str] = set()
    for each in schedules:
        if not each.name:
            raise UsageError(f"a schedule of {each.task} has no name", hint="give it one")
        if each.name in seen:
            raise UsageError(f"two schedules are called {each.name}", hint="rename one of them")
        seen.add(each.name)
        if (each.cron is None) == (each.interval_seconds is None):
            raise UsageError(
                f"schedule {each.name} needs either `cron` or `interval_seconds`",
                hint="give exactly one of them",
            )
        seconds = {
            "interval_seconds": each.interval_seconds,
            "timeout_seconds": each.timeout_seconds,
        }
        for field_name, value in seconds.items():
            if value is not None and not 0 < value < inf:
                raise UsageError(
                    f"{field_name} of schedule {each.name} is {value:g}",
                    hint="give seconds above 0",
                )
        if not 0 <= each.jitter_seconds < inf:
            raise UsageError(
                f"jitter_seconds of schedule {each.name} is {each.jitter_seconds:g}",
                hint="give seconds, 0 for none",
            )


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def no_such_schedule(name: str, names: Sequence[str]) -> UsageError:
    """Return the error that refuses a name which no schedule has.

    Args:
        name: As it was given.
        names: Those that there are; the nearest one is named.
    """
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return UsageError(
        f"no schedule {name!r}",
        hint=f"did you mean {near[0]}?" if near else "`lexigram-ray maintenance list` shows them",
        code=NO_SCHEDULE,
    )
