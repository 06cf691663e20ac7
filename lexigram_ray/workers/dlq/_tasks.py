"""A failed job as a message: from a queue's object, a mapping, or the message itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from lexigram_ray.core.errors import DLQError
from lexigram_ray.jobs.foreign_queue import Message, field_of

__all__ = ["task_of"]


def task_of(job: object) -> Message:
    """Return what is called again when a job is retried.

    Its arguments are taken as they are now: what a handler does to the job's own does not matter.

    Args:
        job: An object with the attributes of `JobProtocol`, or a mapping with such keys.

    Raises:
        DLQError: It has no id or no name.
    """
    if isinstance(job, Message):
        return job
    job_id, name = field_of(job, "id"), field_of(job, "name")
    if job_id is None or name is None:
        raise DLQError(
            f"a {type(job).__name__} without an id and a name is no job that could be retried",
            hint="give the job as the queue has it: id, name, args, kwargs, priority",
        )
    args, kwargs = field_of(job, "args"), field_of(job, "kwargs")
    timeout, retries = field_of(job, "timeout"), field_of(job, "max_retries")
    return Message(
        id=str(job_id),
        name=str(name),
        args=tuple(cast("list[Any]", args)) if isinstance(args, (list, tuple)) else (),
        kwargs=dict(cast("Mapping[str, Any]", kwargs)) if isinstance(kwargs, Mapping) else {},
        priority=_whole(field_of(job, "priority"), 0),
        max_retries=_whole(retries, 3),
        timeout=float(timeout) if isinstance(timeout, (int, float)) else None,
        correlation_id=_text(field_of(job, "correlation_id")),
        causation_id=_text(field_of(job, "causation_id")),
        raw=job,
    )


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
