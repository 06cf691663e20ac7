"""Sending a failed job to a queue of dead letters."""

from __future__ import annotations

import asyncio
from typing import Any

from lexigram_ray.core.errors import DLQError
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_queue import unwrapped
from lexigram_ray.workers.types import DLQItem

__all__ = ["QUEUE_SECONDS", "send_dead"]

QUEUE_SECONDS = 30.0
"""Time limit of one call of a queue."""


async def send_dead(queue: object, item: DLQItem) -> None:
    """Enqueue a failed job: what was asked for, and why it failed.

    Args:
        queue: Has `enqueue(task)`, plain or asynchronous.
        item: Of the job.

    Raises:
        DLQError: The queue has none.
        Exception: It did not take the job.
    """
    enqueue = getattr(queue, "enqueue", None)
    if not callable(enqueue):
        raise DLQError(f"{type(queue).__name__} is no queue of dead letters: it has no enqueue")
    job = item.original_job
    letter: dict[str, Any] = {
        "id": item.job_id,
        "name": job.name,
        "args": job.args,
        "kwargs": job.kwargs,
        "priority": job.priority,
        "error": item.last_error,
        "category": item.failure_category.value,
    }
    unwrapped(await asyncio.wait_for(call(enqueue, letter), QUEUE_SECONDS))
