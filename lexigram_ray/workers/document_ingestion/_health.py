"""How a document worker is: asked of what it needs, and never for longer than the time given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.workers.protocols import HealthCheckResult, HealthStatus

Look = Callable[[], Awaitable[Any]]


async def health_by(
    component: str,
    *,
    running: bool,
    stats: Callable[[], dict[str, Any]],
    looks: dict[str, Look],
    timeout: float,
) -> HealthCheckResult:
    """Look at everything that a worker needs, all at once.

    Args:
        component: What is asked after.
        running: Whether it was started.
        stats: Its statistics, perhaps from the store.
        looks: By name; each raises, or returns an answer that says that it is not healthy.
        timeout: Seconds.
    """
    started = time.monotonic()
    asked = {"statistics": lambda: call(stats), **looks}
    tasks = {name: asyncio.ensure_future(look()) for name, look in asked.items()}
    await asyncio.wait(tasks.values(), timeout=max(0.0, timeout))
    late = [name for name, task in tasks.items() if not task.done()]
    for task in tasks.values():
        task.cancel()
    failed = {
        name: wrong
        for name, task in tasks.items()
        if name not in late and (wrong := _wrong(task)) is not None
    }
    details: dict[str, Any] | None = None
    if "statistics" not in late and "statistics" not in failed:
        details = tasks["statistics"].result()
    status, error = _verdict(late, failed, running=running, timeout=timeout)
    return HealthCheckResult(
        component=component,
        status=status,
        error=error,
        message=None if running else "the worker is not started",
        duration_ms=1000 * (time.monotonic() - started),
        details=details,
        checked_at=datetime.now(UTC),
    )


def _verdict(
    late: list[str], failed: dict[str, str], *, running: bool, timeout: float
) -> tuple[HealthStatus, str | None]:
    words = [f"{name}: {why}" for name, why in failed.items()]
    words += [f"{name}: no answer within {timeout:g} s" for name in late]
    error = "; ".join(words) or None
    if not running or failed:
        return HealthStatus.UNHEALTHY, error
    return (HealthStatus.DEGRADED if late else HealthStatus.HEALTHY), error


def _wrong(task: asyncio.Future[Any]) -> str | None:
    error = task.exception()
    if error is not None:
        return error_text(error)
    status = str(getattr(task.result(), "status", ""))
    if status in ("unhealthy", "degraded"):
        said = getattr(task.result(), "error", None) or getattr(task.result(), "message", None)
        return f"it says that it is {status}" + (f": {said}" if isinstance(said, str) else "")
    return None
