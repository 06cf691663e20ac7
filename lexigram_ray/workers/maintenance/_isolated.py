"""A handler in a process of its own, which can be ended whatever the handler does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lexigram_ray.core.errors import MaintenanceError
from lexigram_ray.workers.maintenance._task_checks import InvalidTaskError

ANSWER = "answer"
"""The handler's answer, as `answer_of` has read it."""
ERROR = "error"
"""What it raised, in words."""

_COMMAND = (sys.executable, "-P", "-m", "lexigram_ray.workers.maintenance._child")
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOrder:
    """What the child is told.

    Attributes:
        path: Of the handler, `package.module:name`.
        parent: Process id of whoever watches over it.
    """

    path: str
    parent: int = 0


class IsolatedCall:
    """One call of a handler in a process of its own.

    Args:
        handler: A function of a module; see `path_of`.
        task_name: Under it stands in the log what the process prints.
    """

    def __init__(self, handler: Callable[[], Any], task_name: str) -> None:
        self._path = path_of(handler, task_name)
        self._name = task_name
        self._stop = threading.Event()

    def run(self) -> object:
        """Call it, and return what it answers; blocks until its process has ended.

        Raises:
            MaintenanceError: The handler has failed, its process died, or it was stopped.
        """
        from lexigram_ray.maintenance.task_process import TaskProcess, how_ended

        process = TaskProcess(HandlerOrder(path=self._path), self._name, command=_COMMAND)
        said: dict[str, Any] = {}
        ended = False
        try:
            while not ended and not self._stop.is_set():
                # Before its replies: what it said last is not to be missed.
                ended = process.has_ended()
                _take_in(said, process.replies(0.0 if ended else _POLL_SECONDS))
        finally:
            code = process.end(ask_first=not ended)
        _take_in(said, process.last_replies())
        if self._stop.is_set():
            raise MaintenanceError("the handler's process was ended")
        if ERROR in said:
            raise MaintenanceError(str(said[ERROR]))
        if ANSWER not in said:
            raise MaintenanceError(f"the handler's process {how_ended(code)}")
        return said[ANSWER]

    def stop(self) -> None:
        """Have its process ended, with all that it has started."""
        self._stop.set()


def path_of(handler: Callable[[], Any], task_name: str) -> str:
    """Return how another process can import a handler.

    Raises:
        InvalidTaskError: It cannot: only functions of modules can be found by name.
    """
    module_name = getattr(handler, "__module__", None) or ""
    qualname = getattr(handler, "__qualname__", None) or ""
    found: object = sys.modules.get(module_name)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if module_name in ("", "__main__") or found is not handler:
        raise InvalidTaskError(
            f"task {task_name!r}: {handler!r} cannot be called in a process of its own",
            hint="isolated=True wants a function of a module, not a method, a lambda or a function "
            "of a script",
        )
    return f"{module_name}:{qualname}"


def _take_in(said: dict[str, Any], replies: Iterable[dict[str, Any]]) -> None:
    for each in replies:
        said.update(each)
