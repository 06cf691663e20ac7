"""What is wrong with a task is found when it is registered, and said once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any

from lexigram_ray.core.errors import ConfigError, MaintenanceError
from lexigram_ray.core.types import MaintenanceTaskType
from lexigram_ray.jobs.schedule_records import Schedule
from lexigram_ray.maintenance.cron_expressions import cron_of
from lexigram_ray.maintenance.zones import zone_of

ORIGIN = "worker"
"""Of schedules that live in a worker's process only."""


class InvalidTaskError(MaintenanceError, ValueError):
    """A task cannot be registered so; nothing was changed."""


class UnknownTaskError(MaintenanceError, ValueError):
    """No task of that name is registered."""


def unknown_task(name: object, known: Iterable[str]) -> UnknownTaskError:
    """Return the error that names the task and what it may have been meant for."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        hint = f"did you mean {close[0]!r}?"
    else:
        hint = f"registered: {', '.join(names)}" if names else "register_task comes first"
    return UnknownTaskError(f"Task not found: {name}", hint=hint)


def checked_name(name: object, taken: Iterable[str]) -> str:
    """Return the name of a new task.

    Raises:
        InvalidTaskError: It is no text, empty, or another task's.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidTaskError(f"a task's name must be a text, got {name!r}")
    if name in set(taken):
        raise InvalidTaskError(
            f"a task named {name!r} is registered already",
            hint="unregister_task removes it; or give this one another name",
        )
    return name


def checked_type(task_type: object, name: str) -> MaintenanceTaskType:
    """Return the type of a task, also where its value was given.

    Raises:
        InvalidTaskError: There is no such type.
    """
    try:
        return MaintenanceTaskType(task_type)
    except ValueError as error:
        known = [each.value for each in MaintenanceTaskType]
        close = difflib.get_close_matches(str(task_type), known, n=1, cutoff=0.5)
        raise InvalidTaskError(
            f"task {name!r}: there is no task type {task_type!r}",
            hint=f"did you mean {close[0]}?" if close else f"types: {', '.join(known)}",
        ) from error


def checked_handler(handler: object, name: str) -> Callable[[], Any]:
    """Return the handler of a task.

    Raises:
        InvalidTaskError: It cannot be called.
    """
    if not callable(handler):
        raise InvalidTaskError(
            f"task {name!r}: its handler {handler!r} cannot be called",
            hint="give a function, sync or async, that takes no arguments",
        )
    return handler


def checked_schedule(
    name: str, cron: str | None, interval_seconds: float | None, timezone: str, timeout: float
) -> Schedule:
    """Return when a task runs.

    Args:
        timezone: IANA name of the zone that `cron` is read in.
        timeout: Seconds after which a run is ended.

    Raises:
        InvalidTaskError: Neither or both of cron and interval are given, or a value is wrong.
    """
    if cron is None and interval_seconds is None:
        raise InvalidTaskError(
            f"Must provide either schedule_cron or interval_seconds: task {name!r} has neither"
        )
    if cron is not None and interval_seconds is not None:
        raise InvalidTaskError(
            f"task {name!r} has both schedule_cron and interval_seconds",
            hint="leave one of them out: the other says when it runs",
        )
    interval = None
    if interval_seconds is not None:
        interval = checked_seconds(f"task {name!r}: interval_seconds", interval_seconds)
    try:
        zone_of(timezone)
        text = None if cron is None else cron_of(cron).text
    except ConfigError as error:
        raise InvalidTaskError(f"task {name!r}: {error.message}", hint=error.hint) from error
    return Schedule(
        name=name,
        task=name,
        cron=text,
        interval_seconds=interval,
        timezone=timezone,
        timeout_seconds=checked_seconds(f"task {name!r}: timeout", timeout),
        origin=ORIGIN,
    )


def checked_seconds(what: str, value: object, *, or_zero: bool = False) -> float:
    """Return a number of seconds.

    Args:
        what: Names it in the error.
        or_zero: Whether it may be 0.

    Raises:
        InvalidTaskError: It is no finite number, or too small.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
        if math.isfinite(seconds) and (seconds > 0 or (or_zero and seconds == 0)):
            return seconds
    raise InvalidTaskError(f"{what} must be seconds, more than 0, got {value!r}")
