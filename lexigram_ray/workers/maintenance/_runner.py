"""One run of a task, from its start to its line in the history and its hook."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.hooks import WorkerMaintenanceRunHook, fire
from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.redaction import traceback_text
from lexigram_ray.jobs.schedule_records import Trigger
from lexigram_ray.workers.maintenance._answers import Answer, answer_of, words_of
from lexigram_ray.workers.maintenance._book import Book
from lexigram_ray.workers.maintenance._handler_call import HandlerCall
from lexigram_ray.workers.maintenance._isolated import IsolatedCall
from lexigram_ray.workers.maintenance._records import Entry, TaskRun
from lexigram_ray.workers.types import MaintenanceResult

if TYPE_CHECKING:
    from lexigram_ray.workers.maintenance._timing import Due

HOOK_SECONDS = 5.0
"""So long a run waits for subscribers to its hook."""

STOPPED = "stopped before it had ended"

runs_around: ContextVar[tuple[asyncio.Task[Any] | None, ...]] = ContextVar(
    "runs_around", default=()
)
"""The run in whose handler this is, and those around it: a handler may run another task."""

logger = logging.getLogger("lexigram_ray")


class Runner:
    """Runs tasks, and records what becomes of that.

    Args:
        clock: Returns the time, UTC.
    """

    def __init__(self, book: Book, clock: Callable[[], datetime]) -> None:
        self._book = book
        self._clock = clock

    async def run(
        self, entry: Entry, trigger: Trigger, due: Due | None = None
    ) -> MaintenanceResult:
        """Run a task, unless a run of it still goes on, and return how that ended."""
        begun = self._book.begin(entry, _call_of(entry), self._clock(), trigger, due)
        if isinstance(begun, MaintenanceResult):
            logger.info("maintenance task %s: %s", entry.task.name, begun.error)
            return begun
        runs_around.set((*runs_around.get(), asyncio.current_task()))
        result = await self._ended(begun)
        await self._tell(begun, result)
        return result

    async def _ended(self, run: TaskRun) -> MaintenanceResult:
        began = time.monotonic()
        answer, error = Answer(), STOPPED
        status = MaintenanceStatus.FAILED
        try:
            answer = answer_of(await run.call.answer(run.task.timeout))
            status, error = MaintenanceStatus.COMPLETED, None
        except Exception as failure:  # noqa: BLE001 - the run's own record tells it
            error = words_of(failure)
            logger.warning("maintenance task %s: %s", run.task.name, traceback_text(failure))
        finally:
            # Also where this run is cancelled, which goes on to whoever has asked for it.
            seconds = time.monotonic() - began
            result = MaintenanceResult(
                task_name=run.task.name,
                task_type=run.task.task_type,
                status=status,
                started_at=run.started_at,
                completed_at=max(self._clock(), run.started_at),
                duration_seconds=seconds,
                items_processed=answer.items_processed,
                items_deleted=answer.items_deleted,
                error=error,
                metadata=answer.metadata,
            )
            self._book.end(run, result)
            logger.info("maintenance task %s: %s", run.task.name, status.value)
        return result

    async def _tell(self, run: TaskRun, result: MaintenanceResult) -> None:
        hook = WorkerMaintenanceRunHook(
            task_type=run.task.task_type.value,
            task_name=run.task.name,
            run_id=run.id,
            event_id=f"{run.id}:{result.status.value}",
            duration_seconds=result.duration_seconds,
            outcome=result.status.value,
        )
        # In a thread: a subscriber that takes long keeps no other task waiting.
        try:
            await asyncio.wait_for(call(fire, hook), HOOK_SECONDS)
        except TimeoutError:
            logger.warning("maintenance task %s: a subscriber takes long", run.task.name)


def _call_of(entry: Entry) -> HandlerCall:
    if not entry.isolated:
        return HandlerCall(entry.task.handler)
    isolated = IsolatedCall(entry.task.handler, entry.task.name)
    return HandlerCall(isolated.run, ask_to_stop=isolated.stop)
