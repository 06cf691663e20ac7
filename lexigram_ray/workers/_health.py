"""What a health check answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class HealthStatus(StrEnum):
    """How a component is."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    STARTING = "starting"


class HealthCheckCategory(StrEnum):
    """What a check is for: restarting a program, or sending it work."""

    LIVENESS = "liveness"
    READINESS = "readiness"
    STARTUP = "startup"


@dataclass(frozen=True)
class HealthCheckResult:
    """One component's answer.

    Attributes:
        component: Such as `worker.batch_embedding.<worker_id>`.
        status: How it is.
        message: In words; None where there is nothing to add.
        error: What is wrong; None where nothing is.
        duration_ms: How long the check took.
        details: Facts, such as the worker's statistics.
        checked_at: When it was checked.
        category: What the check is for.
    """

    component: str
    status: HealthStatus = HealthStatus.HEALTHY
    message: str | None = None
    error: str | None = None
    duration_ms: float = 0.0
    details: dict[str, Any] | None = None
    checked_at: datetime | None = None
    category: HealthCheckCategory = HealthCheckCategory.READINESS

    def is_healthy(self) -> bool:
        """Return whether all is well."""
        return self.status == HealthStatus.HEALTHY

    def is_degraded(self) -> bool:
        """Return whether it works, but not as it should."""
        return self.status == HealthStatus.DEGRADED

    def to_dict(self) -> dict[str, Any]:
        """Return the facts, ready for JSON; what is None is left out."""
        facts: dict[str, Any] = {
            "component": self.component,
            "category": self.category.value,
            "status": self.status.value,
            "message": self.message,
            "error": self.error,
            "duration_ms": self.duration_ms,
            "details": self.details,
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
        }
        return {name: fact for name, fact in facts.items() if fact is not None}
