"""How the workers are together: as the worst of them is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lexigram_ray.jobs.awaiting import resolved
from lexigram_ray.jobs.redaction import error_text, redacted
from lexigram_ray.workers.protocols import HealthCheckResult, HealthStatus

__all__ = ["COMPONENT", "health_of", "health_of_idle"]

COMPONENT = "workers"
SHARE_OF_TIME = 0.9
"""Of a check's time that workers get: whoever asked has a limit of his own, the same one."""

_WORST_FIRST = (
    HealthStatus.UNHEALTHY,
    HealthStatus.DEGRADED,
    HealthStatus.UNKNOWN,
    HealthStatus.STARTING,
    HealthStatus.HEALTHY,
)
_IN_WORDS = {HealthStatus.HEALTHY: "operational"}


def health_of_idle(*, enabled: bool) -> HealthCheckResult:
    """Return how workers are that do not run: well, if they are not to."""
    status = HealthStatus.UNHEALTHY if enabled else HealthStatus.HEALTHY
    return HealthCheckResult(
        component=COMPONENT,
        status=status,
        error="the workers have not been started, or were stopped" if enabled else None,
        details={"status": "stopped" if enabled else "disabled", "workers": {}},
        checked_at=datetime.now(UTC),
    )


async def health_of(
    workers: Sequence[tuple[Any, BaseException | None]], timeout: float
) -> HealthCheckResult:
    """Ask all workers at once, and return how they are together.

    Args:
        workers: Each with what its start failed with, if it did.
        timeout: Seconds; a worker that has not answered by then is unhealthy.
    """
    began = time.monotonic()
    limit = timeout * SHARE_OF_TIME
    asking = [
        asyncio.create_task(_ask(worker, failed, limit), name=f"health.{type(worker).__name__}")
        for worker, failed in workers
    ]
    if asking:
        await asyncio.wait(asking, timeout=limit)
    answers = [
        _answer(worker, task, limit) for (worker, _), task in zip(workers, asking, strict=True)
    ]
    said = {str(answer.status) for answer in answers}
    status = next((each for each in _WORST_FIRST if each in said), HealthStatus.HEALTHY)
    errors = [f"{answer.component}: {answer.error}" for answer in answers if answer.error]
    return HealthCheckResult(
        component=COMPONENT,
        status=status,
        error="; ".join(errors) or None,
        duration_ms=round((time.monotonic() - began) * 1000, 3),
        details={
            "status": _IN_WORDS.get(status, status.value),
            "workers": {answer.component: answer.to_dict() for answer in answers},
        },
        checked_at=datetime.now(UTC),
    )


async def _ask(worker: Any, failed: BaseException | None, timeout: float) -> Any:
    if failed is not None:
        return _unwell(worker, f"it could not be started: {redacted(str(failed))}")
    return await resolved(worker.health_check(timeout))


def _answer(worker: Any, asking: asyncio.Task[Any], limit: float) -> HealthCheckResult:
    """Return what a worker has answered; of one that has not, or has not in our shape, why."""
    if not asking.done():
        # Nobody waits for its end: it may be stuck.
        asking.cancel()
        return _unwell(worker, f"no answer within {limit:.1f} s")
    error = asking.exception()
    if error is not None:
        return _unwell(worker, error_text(error))
    answer = asking.result()
    if getattr(answer, "status", None) not in _WORST_FIRST:
        return _unwell(worker, f"its answer is no health: {answer!r}", HealthStatus.UNKNOWN)
    return answer


def _unwell(
    worker: Any, error: str, status: HealthStatus = HealthStatus.UNHEALTHY
) -> HealthCheckResult:
    return HealthCheckResult(
        component=f"worker.{type(worker).__name__}", status=status, error=error
    )
