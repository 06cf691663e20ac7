"""Maintenance tasks and how their runs end, as the maintenance worker takes and returns them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lexigram_ray.core.types import MaintenanceStatus, MaintenanceTaskType
from lexigram_ray.workers.constants import DEFAULT_TASK_TIMEOUT


@dataclass
class MaintenanceTask:
    """A task that runs again and again.

    Attributes:
        name: Unique among a worker's tasks.
        task_type: What kind of maintenance it is.
        handler: What is called; plain or async.
        schedule_cron: Five fields: minute hour day month weekday; it goes before
            `interval_seconds`.
        interval_seconds: Between two starts.
        enabled: Whether it runs by itself.
        timeout: Seconds after which a run is stopped.
        last_run: When the last run started; None before the first.
        last_status: How the last run ended.
        last_error: What it said if it failed.
        run_count: Runs so far.
        timezone: IANA name of the zone whose clock `schedule_cron` follows.
    """

    name: str
    task_type: MaintenanceTaskType
    handler: Callable[[], Any]
    schedule_cron: str | None = None
    interval_seconds: int | None = None
    enabled: bool = True
    timeout: float = DEFAULT_TASK_TIMEOUT
    last_run: datetime | None = None
    last_status: MaintenanceStatus = MaintenanceStatus.PENDING
    last_error: str | None = None
    run_count: int = 0
    timezone: str = field(default="UTC", kw_only=True)

    def should_run(self, *, now: datetime | None = None) -> bool:
        """Return whether it is due: one of its times has come since its last run began.

        A task that has never run is due; one that is disabled never is.

        Args:
            now: The moment that is asked about; this one if None.

        Raises:
            ConfigError: The cron expression or the time zone is wrong.
        """
        if not self.enabled:
            return False
        due = self.next_due()
        return due is not None and due <= aware(now or datetime.now(UTC))

    def next_due(self) -> datetime | None:
        """Return when it is due next, in UTC; None if never (by itself) again.

        For a task that has never run, that is a time long past.

        Raises:
            ConfigError: The cron expression or the time zone is wrong.
        """
        if self.last_run is None:
            return datetime.min.replace(tzinfo=UTC)
        last_run = aware(self.last_run)
        if self.schedule_cron is not None:
            from lexigram_ray.jobs.schedule_records import Schedule
            from lexigram_ray.maintenance.fire_times import next_due

            schedule = Schedule(
                name=self.name,
                task=self.name,
                cron=self.schedule_cron,
                interval_seconds=None,
                timezone=self.timezone,
            )
            return next_due(schedule, last_run)
        if self.interval_seconds is not None:
            return last_run + timedelta(seconds=self.interval_seconds)
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the task without its handler, ready for JSON; times are in ISO 8601."""
        return {
            "name": self.name,
            "task_type": MaintenanceTaskType(self.task_type).value,
            "schedule_cron": self.schedule_cron,
            "interval_seconds": self.interval_seconds,
            "enabled": self.enabled,
            "last_run": self.last_run.isoformat() if self.last_run else None,
            "last_status": MaintenanceStatus(self.last_status).value,
            "last_error": self.last_error,
            "run_count": self.run_count,
        }


@dataclass
class MaintenanceResult:
    """How one run of a task ended.

    Attributes:
        task_name: Of the task.
        task_type: Its kind.
        status: `completed`, `failed` or `skipped`.
        started_at: When it began, with a time zone.
        completed_at: When it ended.
        duration_seconds: Between the two.
        items_processed: What it looked at.
        items_deleted: What it removed of it.
        error: Why it failed; None where it did not.
        metadata: Further facts, JSON-ready.
    """

    task_name: str
    task_type: MaintenanceTaskType
    status: MaintenanceStatus
    started_at: datetime
    completed_at: datetime
    duration_seconds: float
    items_processed: int = 0
    items_deleted: int = 0
    error: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def success(
        cls,
        task_name: str,
        task_type: MaintenanceTaskType,
        started_at: datetime,
        items_processed: int = 0,
        items_deleted: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> MaintenanceResult:
        """Return the result of a run that ends well now."""
        return cls._ending_now(
            task_name,
            task_type,
            started_at,
            MaintenanceStatus.COMPLETED,
            items_processed=items_processed,
            items_deleted=items_deleted,
            metadata=metadata or {},
        )

    @classmethod
    def failure(
        cls,
        task_name: str,
        task_type: MaintenanceTaskType,
        started_at: datetime,
        error: str,
    ) -> MaintenanceResult:
        """Return the result of a run that fails now."""
        return cls._ending_now(
            task_name, task_type, started_at, MaintenanceStatus.FAILED, error=error
        )

    @classmethod
    def _ending_now(
        cls,
        task_name: str,
        task_type: MaintenanceTaskType,
        started_at: datetime,
        status: MaintenanceStatus,
        **facts: Any,
    ) -> MaintenanceResult:
        completed_at = datetime.now(UTC)
        return cls(
            task_name=task_name,
            task_type=task_type,
            status=status,
            started_at=started_at,
            completed_at=completed_at,
            duration_seconds=_seconds_between(started_at, completed_at),
            **facts,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON; times are in ISO 8601."""
        return {
            "task_name": self.task_name,
            "task_type": MaintenanceTaskType(self.task_type).value,
            "status": MaintenanceStatus(self.status).value,
            "started_at": self.started_at.isoformat(),
            "completed_at": self.completed_at.isoformat(),
            "duration_seconds": self.duration_seconds,
            "items_processed": self.items_processed,
            "items_deleted": self.items_deleted,
            "error": self.error,
            "metadata": self.metadata,
        }


def aware(moment: datetime) -> datetime:
    """Return a time with a zone: one without is in UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _seconds_between(start: datetime, end: datetime) -> float:
    # A clock that was set back in between must not make a run last less than nothing.
    return max(0.0, (end - aware(start)).total_seconds())
