"""A task queue and its jobs under the older interface: queue names, timeouts, progress."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_queue import field_of, unwrapped

if TYPE_CHECKING:
    from lexigram_ray.workers.protocols import JobProtocol, TaskQueueProtocol

__all__ = [
    "HAS_LEX_TASKS",
    "JobAdapter",
    "JobStatus",
    "LexigramTasksAdapter",
    "TaskQueueError",
]

HAS_LEX_TASKS = find_spec("lexigram") is not None
"""Whether the Lexigram framework is installed; the adapter does without it."""


class JobStatus(StrEnum):
    """States of a queue's job."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    RETRYING = "retrying"
    CANCELLED = "cancelled"


class TaskQueueError(WorkerError, RuntimeError):
    """A task queue refused a task."""

    code = "queue_refused"


class JobAdapter:
    """A queue's job: what it has itself, and else what this adapter was told of it.

    Args:
        raw_job: As the queue has it: an object or a mapping.
    """

    def __init__(self, raw_job: JobProtocol | Any) -> None:
        self._job = raw_job
        self._made_at = datetime.now(UTC)
        self._updated_at: datetime | None = None
        self._status: JobStatus | None = None
        self._progress: float | None = None

    @property
    def raw(self) -> Any:
        """The job as the queue has it."""
        return self._job

    @property
    def id(self) -> str:
        """Its id."""
        return str(field_of(self._job, "id"))

    @property
    def status(self) -> JobStatus:
        """How far it is; what is none of the known states is `pending`."""
        if self._status is not None:
            return self._status
        return _status_of(field_of(self._job, "status")) or JobStatus.PENDING

    @property
    def data(self) -> dict[str, Any]:
        """What its handler is given: `data`, or else `kwargs`."""
        for name in ("data", "kwargs"):
            found = field_of(self._job, name)
            if isinstance(found, Mapping):
                return dict(cast("Mapping[str, Any]", found))
        return {}

    @property
    def created_at(self) -> datetime:
        """When it was made, UTC; where the job does not say so, when this adapter was."""
        found = field_of(self._job, "created_at")
        return found if isinstance(found, datetime) else self._made_at

    @property
    def updated_at(self) -> datetime | None:
        """When it changed last, UTC; None where nothing is known of that."""
        found = field_of(self._job, "updated_at")
        return found if isinstance(found, datetime) else self._updated_at

    @property
    def progress(self) -> float | None:
        """How much is done, as `update_progress` was told; None before."""
        return self._progress

    async def update_status(self, status: JobStatus, error: str | None = None) -> None:
        """Note a new state; the job itself is told where it can be."""
        known = _status_of(status)
        update = getattr(self._job, "update_status", None)
        if callable(update):
            await call(update, status, error)
        if known is not None:
            self._status = known
        self._updated_at = datetime.now(UTC)

    async def update_progress(
        self, progress: float, metadata: dict[str, Any] | None = None
    ) -> None:
        """Note how much is done; the job itself is told where it can be."""
        update = getattr(self._job, "update_progress", None)
        if callable(update):
            await call(update, progress, metadata)
        self._progress = progress
        self._updated_at = datetime.now(UTC)


class LexigramTasksAdapter:
    """A task queue by queue name.

    Args:
        task_queue: Has `enqueue(task)`, and what else of a task queue is used; plain or async.
    """

    def __init__(self, task_queue: TaskQueueProtocol | Any) -> None:
        self._queue = task_queue

    async def enqueue(
        self, job_type: str, data: dict[str, Any], priority: int = 0, delay_seconds: int = 0
    ) -> str:
        """Put a task into the queue, and return its id.

        Args:
            job_type: Its name.
            data: What its handler is given.
            priority: Higher is done earlier.
            delay_seconds: Not before then; for the queue to mind.

        Raises:
            TaskQueueError: The queue refused it.
        """
        task = {
            "name": job_type,
            "args": (),
            "kwargs": data,
            "priority": priority,
            "delay_seconds": delay_seconds,
        }
        try:
            answer = unwrapped(await call(self._queue.enqueue, task))
        except WorkerError as error:
            raise TaskQueueError(
                f"Failed to enqueue task {job_type!r}: {error.message}", hint=error.hint
            ) from error
        return str(answer if isinstance(answer, str) else field_of(answer, "id") or answer)

    async def dequeue(self, queue_name: str, timeout: int = 30) -> JobAdapter | None:
        """Take the next job; None where none came within `timeout` seconds."""
        raw = unwrapped(await _asked(self._queue.dequeue, queue_name, timeout=timeout))
        return None if raw is None else JobAdapter(raw)

    async def get_job(self, job_id: str) -> JobAdapter | None:
        """Return a job by its id; None where there is none."""
        raw = unwrapped(await call(self._queue.get_job, job_id))
        return None if raw is None else JobAdapter(raw)

    async def delete_job(self, job_id: str) -> bool:
        """Drop a job; return whether there was one."""
        return bool(unwrapped(await call(self._queue.delete_job, job_id)))

    async def count(self, queue_name: str, status: JobStatus | None = None) -> int:
        """Return how many jobs of a name, or of a name and state, there are."""
        return int(unwrapped(await call(self._queue.count, queue_name, status=status)))

    async def get_stats(self) -> dict[str, int | float | str] | None:
        """Return how many jobs are `pending` and in `processing`; None where nobody counts."""
        counting = getattr(self._queue, "get_task_count", None)
        if not callable(counting):
            return None
        pending = unwrapped(await call(counting))
        running = 0
        if callable(getattr(self._queue, "count", None)):
            running = await self._running()
        return {"pending": int(pending), "processing": running}

    async def _running(self) -> int:
        try:
            found = unwrapped(await call(self._queue.count, "", status=JobStatus.RUNNING))
        except Exception:  # noqa: BLE001 - a queue that knows no states: nothing is said of them
            return 0
        return found if isinstance(found, int) else 0


async def _asked(dequeue: Any, queue_name: str, *, timeout: int) -> Any:
    """Take a job by name where the queue has names; else the next one."""
    import inspect

    try:
        inspect.signature(dequeue).bind(queue_name, timeout=timeout)
    except TypeError:
        return await call(dequeue)
    except ValueError:
        pass
    return await call(dequeue, queue_name, timeout=timeout)


def _status_of(status: object) -> JobStatus | None:
    try:
        return JobStatus(str(getattr(status, "value", status)))
    except ValueError:
        return None
