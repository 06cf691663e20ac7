"""Where the failures of a pool go: a function, a dead-letter worker, or a queue of dead letters."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.jobs.awaiting import call, parameters_of
from lexigram_ray.jobs.foreign_queue import Message, unwrapped
from lexigram_ray.jobs.redaction import error_text

__all__ = ["FailureSink", "SuccessSink", "failure_sink", "success_sink"]

logger = logging.getLogger("lexigram_ray")

FailureSink = Callable[[Message, BaseException], Awaitable[None]]
SuccessSink = Callable[[Message], Awaitable[None]]


def failure_sink(target: Any, queue: object = None) -> FailureSink | None:
    """Return a function that hands a message that has failed for good to `target`.

    Args:
        target: A function of (job, error in words), plain or asynchronous; an object with
            `add_failed_job(job, error)`, as a dead-letter worker has; with `add(message_id,
            payload, reason)`; or a queue with `enqueue(task)`. None for nobody. The job is the
            object that the queue gave, where that has a name and an id, else the message.
        queue: Where the messages come from: a dead-letter worker retries them there.

    Raises:
        ConfigError: It is none of these.
    """
    if target is None:
        return None
    add_failed_job = _own(target, "add_failed_job")
    if add_failed_job is not None:
        return _with_words(add_failed_job, **_named(add_failed_job, queue))
    add = _own(target, "add")
    if add is not None:

        async def add_letter(message: Message, error: BaseException) -> None:
            await call(add, message.id, _payload(message), error_text(error))

        return add_letter
    enqueue = _own(target, "enqueue")
    if enqueue is not None:

        async def enqueue_letter(message: Message, error: BaseException) -> None:
            letter = _payload(message) | {"id": message.id, "error": error_text(error)}
            unwrapped(await call(enqueue, letter))

        return enqueue_letter
    if callable(target):
        return _with_words(target)
    raise ConfigError(
        f"{type(target).__name__} cannot be told of failures",
        hint="give a function of (job, error), or an object with add_failed_job or enqueue",
    )


def success_sink(target: Any) -> SuccessSink | None:
    """Return a function that tells `target` of a message that was done; None where it need not be.

    It raises nothing: what is done is done.

    Args:
        target: Is told where it has `job_succeeded(job_id, job)`, as a dead-letter worker has.
    """
    job_succeeded = None if target is None else _own(target, "job_succeeded")
    if job_succeeded is None:
        return None

    async def tell(message: Message) -> None:
        try:
            await call(job_succeeded, message.id, message)
        except Exception:
            logger.exception("%s was not told of job %s", type(target).__name__, message.id)

    return tell


def _with_words(function: Callable[..., Any], **named: object) -> FailureSink:
    async def tell(message: Message, error: BaseException) -> None:
        await call(function, _job(message), error_text(error), **named)

    return tell


def _named(function: Callable[..., Any], queue: object) -> dict[str, object]:
    is_taken = "queue" in (parameters_of(function) or {})
    return {"queue": queue} if is_taken and queue is not None else {}


def _own(target: object, name: str) -> Callable[..., Any] | None:
    # A function has no such methods, unless it is a test double, which has all.
    if inspect.isroutine(target):
        return None
    method = getattr(target, name, None)
    return method if callable(method) else None


def _payload(message: Message) -> dict[str, Any]:
    return {
        "name": message.name,
        "args": message.args,
        "kwargs": message.kwargs,
        "priority": message.priority,
    }


def _job(message: Message) -> object:
    raw = message.raw
    has_all = all(isinstance(getattr(raw, name, None), str) for name in ("id", "name"))
    return raw if has_all else message
