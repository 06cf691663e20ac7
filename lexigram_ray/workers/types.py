"""Dead-letter items, maintenance tasks and their results, as the workers take and return them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.types import FailureCategory, MaintenanceStatus, MaintenanceTaskType
from lexigram_ray.workers._maintenance_types import MaintenanceResult, MaintenanceTask, aware
from lexigram_ray.workers.constants import (
    DEFAULT_BASE_BACKOFF,
    DEFAULT_MAX_RETRIES,
    MAX_BACKOFF_SECONDS,
)

if TYPE_CHECKING:
    from lexigram_ray.workers.protocols import JobProtocol

__all__ = [
    "DLQAction",
    "DLQItem",
    "DLQStats",
    "FailureCategory",
    "MaintenanceResult",
    "MaintenanceStatus",
    "MaintenanceTask",
    "MaintenanceTaskType",
]

# Doubling further could only overflow: the cap is reached long before.
_MOST_DOUBLINGS = 60


class DLQAction(StrEnum):
    """What can be done about a dead letter."""

    RETRY = "retry"
    ARCHIVE = "archive"
    DELETE = "delete"
    NOTIFY = "notify"


@dataclass
class DLQItem:
    """A failed job.

    Attributes:
        job_id: Of the job that failed.
        original_job: As it was enqueued.
        failure_count: How often it has failed.
        first_failure: When it failed first, with a time zone.
        last_failure: When it failed last.
        last_error: What the last failure said.
        failure_category: Of the last failure.
        retry_count: Retries so far.
        max_retries: Retries that it gets at most; one of unknown cause gets no more than three.
        next_retry: Not before this time; None where none is planned.
        metadata: Facts for whoever looks at it, JSON-ready.
    """

    job_id: str
    original_job: JobProtocol
    failure_count: int
    first_failure: datetime
    last_failure: datetime
    last_error: str
    failure_category: FailureCategory = FailureCategory.UNKNOWN
    retry_count: int = 0
    max_retries: int = DEFAULT_MAX_RETRIES
    next_retry: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    def can_retry(self) -> bool:
        """Return whether a retry may help, is left, and is due.

        What is permanent or caused by the input fails again and is not retried; neither is what
        waits for `next_retry`.
        """
        from lexigram_ray.jobs.retry_policy import RetryPolicy

        policy = RetryPolicy(
            most_retries=self.max_retries,
            base_seconds=DEFAULT_BASE_BACKOFF,
            cap_seconds=MAX_BACKOFF_SECONDS,
        )
        if self.retry_count >= policy.max_retries(FailureCategory(self.failure_category)):
            return False
        return self.next_retry is None or aware(self.next_retry) <= datetime.now(UTC)

    def calculate_backoff(self, base_delay: int = DEFAULT_BASE_BACKOFF) -> int:
        """Return the seconds to wait before the next retry: doubled by each so far, to a cap.

        Args:
            base_delay: Seconds before the first retry.
        """
        doubled = base_delay * 2 ** min(self.retry_count, _MOST_DOUBLINGS)
        return min(doubled, MAX_BACKOFF_SECONDS)

    def to_dict(self) -> dict[str, Any]:
        """Return the item without its job, ready for JSON; times are in ISO 8601."""
        return {
            "job_id": self.job_id,
            "failure_count": self.failure_count,
            "first_failure": self.first_failure.isoformat(),
            "last_failure": self.last_failure.isoformat(),
            "last_error": self.last_error,
            "failure_category": FailureCategory(self.failure_category).value,
            "retry_count": self.retry_count,
            "max_retries": self.max_retries,
            "next_retry": self.next_retry.isoformat() if self.next_retry else None,
            "can_retry": self.can_retry(),
            "metadata": self.metadata,
        }


@dataclass
class DLQStats:
    """How many dead letters there are, and what became of others.

    Attributes:
        total_items: That are there now.
        by_category: Of these, by the category's value.
        retried_count: Retries that were begun.
        archived_count: Put aside for good.
        deleted_count: Deleted by their retention or by hand.
        permanent_failures: That nobody retries.
    """

    total_items: int = 0
    by_category: dict[str, int] = field(default_factory=dict[str, int])
    retried_count: int = 0
    archived_count: int = 0
    deleted_count: int = 0
    permanent_failures: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON."""
        return {
            "total_items": self.total_items,
            "by_category": dict(self.by_category),
            "retried_count": self.retried_count,
            "archived_count": self.archived_count,
            "deleted_count": self.deleted_count,
            "permanent_failures": self.permanent_failures,
        }
