"""A task queue of other code, or of this process: messages in, messages out, by shape alone.

Nothing is taken for granted of what the object returns: a test double has every attribute, and
answers each call with another double. Such an answer is no message and no id.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.ids import hash_text, new_job_id
from lexigram_ray.jobs.awaiting import call, parameters_of

__all__ = [
    "ForeignQueue",
    "Message",
    "QueueRefusedError",
    "field_of",
    "id_of_content",
    "unwrapped",
]

logger = logging.getLogger("lexigram_ray")

_WHO = "the queue"
_KINDS = {"batch_embed": "embedding", "ingest_document": "ingestion"}
_COUNTS = ("get_task_count", "count", "size", "qsize")


class QueueRefusedError(WorkerError, RuntimeError):
    """A queue did not take a task."""


class _Task(dict[str, Any]):
    """A task as it is sent: a plain mapping, which a simple queue gives back as it is.

    Attributes:
        job_id: Its sender's; in no copy of it, so that nothing is sent but the mapping.
    """

    job_id: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One task of a queue. It has the attributes of the reference's `JobProtocol`.

    Attributes:
        id: The queue's own, or made of what the message says: the same message has the same id.
        name: Which handler it is for.
        kwargs: What the handler is given.
        raw: As the queue gave it.
        status: `pending`, until somebody says otherwise.
    """

    id: str
    name: str
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    priority: int = 0
    raw: object = None
    args: tuple[Any, ...] = ()
    status: str = "pending"
    max_retries: int = 3
    timeout: float | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


class ForeignQueue:
    """Puts messages into a queue, takes them out, and says what became of them.

    Args:
        queue: Has `enqueue(task)`, and, for a worker that is to be given something to do,
            `dequeue()`; `ack(id)` and `nack(id, requeue=...)` where it wants to know. Plain or
            asynchronous.
    """

    def __init__(self, queue: object) -> None:
        self.queue = queue

    @property
    def can_deliver(self) -> bool:
        """Whether messages can be taken out of it at all."""
        return callable(getattr(self.queue, "dequeue", None))

    async def enqueue(
        self,
        name: str,
        kwargs: Mapping[str, Any],
        priority: int = 0,
        *,
        args: tuple[Any, ...] = (),
    ) -> str:
        """Send a task, and return its id.

        Raises:
            QueueRefusedError: The queue refused it; it is a RuntimeError too.
        """
        task = _Task(name=name, args=args, kwargs=dict(kwargs), priority=priority)
        answer = await call(_method(self.queue, "enqueue"), task)
        try:
            answer = unwrapped(answer)
        except WorkerError as error:
            what, why = _KINDS.get(name, name), str(error).removeprefix(f"{_WHO} refused: ")
            raise QueueRefusedError(f"Failed to enqueue {what} job: {why}") from error.__cause__
        # It may have been delivered meanwhile, and have an id for that.
        task.job_id = _id_of(answer) or task.job_id or new_job_id()
        return task.job_id

    async def dequeue(self) -> Message | None:
        """Take the next message; None where there is none, or what came is no message."""
        if not self.can_deliver:
            return None
        raw = unwrapped(await call(_method(self.queue, "dequeue")))
        if raw is None:
            return None
        return self._message(raw)

    async def ack(self, message: Message) -> None:
        """Say that a message is done with."""
        acknowledge = getattr(self.queue, "ack", None)
        if callable(acknowledge):
            await call(acknowledge, _raw_id(message))

    async def nack(self, message: Message, requeue: bool) -> bool:
        """Say that a message has failed.

        Args:
            message: As it was taken.
            requeue: Whether the queue is to deliver it again.

        Returns:
            Whether the queue was told; False where it cannot be.
        """
        refuse = getattr(self.queue, "nack", None)
        if not callable(refuse):
            return False
        if _takes(refuse, "requeue"):
            await call(refuse, _raw_id(message), requeue=requeue)
        elif requeue:
            await call(refuse, _raw_id(message))
        else:
            # It would only deliver the message again.
            await self.ack(message)
        return True

    async def count(self) -> int | None:
        """Return how many messages wait; None where the queue does not say."""
        for name in _COUNTS:
            method = getattr(self.queue, name, None)
            if not callable(method) or not _needs_nothing(method):
                continue
            answer = unwrapped(await call(method))
            if isinstance(answer, int) and not isinstance(answer, bool):
                return answer
        return None

    def _message(self, raw: object) -> Message | None:
        name = field_of(raw, "name")
        kwargs = field_of(raw, "kwargs")
        if not isinstance(name, str) or not isinstance(kwargs, Mapping):
            logger.debug("what the queue gave is no task, but %s", type(raw).__name__)
            return None
        named = dict(cast("Mapping[str, Any]", kwargs))
        return Message(
            id=_id_of(raw) or _id_of_sent(raw, name, named),
            name=name,
            kwargs=named,
            priority=_whole(field_of(raw, "priority"), 0),
            raw=raw,
            args=_arguments(field_of(raw, "args")),
            max_retries=_whole(field_of(raw, "max_retries"), 3),
            timeout=_seconds(field_of(raw, "timeout")),
            correlation_id=_text(field_of(raw, "correlation_id")),
            causation_id=_text(field_of(raw, "causation_id")),
        )


def _id_of_sent(raw: object, name: str, kwargs: Mapping[str, Any]) -> str:
    if not isinstance(raw, _Task):
        return id_of_content(name, kwargs)
    # Its sender may not have been told an id yet: it gets this one if the queue gives none.
    raw.job_id = raw.job_id or new_job_id()
    return raw.job_id


def id_of_content(name: str, kwargs: Mapping[str, Any]) -> str:
    """Return the id of a message to which its queue gives none."""
    return hash_text(json.dumps([name, kwargs], sort_keys=True, default=repr))


def unwrapped(answer: Any, who: str = _WHO) -> Any:
    """Return what a `Result` holds, and anything else as it is.

    Args:
        who: Has answered so.

    Raises:
        WorkerError: It holds an error, chained where that is an exception.
    """
    is_ok, is_err = _asked(answer, "is_ok"), _asked(answer, "is_err")
    if is_ok is True or (is_ok is None and is_err is False):
        return answer.unwrap()
    if is_ok is False or is_err is True:
        error = answer.unwrap_err()
        cause = error if isinstance(error, BaseException) else None
        raise WorkerError(f"{who} refused: {error}") from cause
    return answer


def _asked(answer: object, name: str) -> bool | None:
    method = getattr(answer, name, None)
    if not callable(method) or inspect.iscoroutinefunction(method):
        return None
    said = method()
    if inspect.iscoroutine(said):
        said.close()
    return said if isinstance(said, bool) else None


def _method(queue: object, name: str) -> Any:
    method = getattr(queue, name, None)
    if not callable(method):
        raise WorkerError(
            f"{type(queue).__name__} is no task queue: it has no {name}",
            hint="give a queue with enqueue(task) and dequeue(), or none at all",
        )
    return method


def field_of(raw: object, name: str) -> Any:
    """Return what a mapping has under a name, or an object as an attribute; None where neither."""
    if isinstance(raw, Mapping):
        return cast("Mapping[str, object]", raw).get(name)
    return getattr(raw, name, None)


def _id_of(answer: object) -> str | None:
    """Return the id that something is, or has."""
    for value in (
        answer,
        field_of(answer, "id"),
        field_of(answer, "job_id"),
        field_of(answer, "task_id"),
    ):
        if isinstance(value, str) and value:
            return value
        if isinstance(value, UUID) or (isinstance(value, int) and not isinstance(value, bool)):
            return str(value)
    return None


def _raw_id(message: Message) -> object:
    """Return the id as the queue has it: perhaps no text."""
    for name in ("id", "job_id", "task_id"):
        value = field_of(message.raw, name)
        if isinstance(value, (UUID, int)) and str(value) == message.id:
            return value
    return message.id


def _takes(function: Any, name: str) -> bool:
    parameters = parameters_of(function)
    if parameters is None:
        return True
    kinds = {each.kind for each in parameters.values()}
    return name in parameters or inspect.Parameter.VAR_KEYWORD in kinds


def _needs_nothing(function: Any) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _seconds(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if value > 0 else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _arguments(value: object) -> tuple[Any, ...]:
    return tuple(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else ()
