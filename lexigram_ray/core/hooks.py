"""Hooks: what is told of a job's start and end, and of a maintenance run, to whoever subscribes.

    unsubscribe = subscribe(WorkerJobCompletedHook, lambda hook: print(hook.job_id, hook.outcome))

A hook fires once a job, and after a crash at least once: `event_id` is the same for a repeat, so
that a subscriber can tell it. A subscriber that fails is logged and harms nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

log = logging.getLogger(__name__)

SUBSCRIBER_SECONDS = 30.0
"""So long a thread that fires a hook waits for a subscriber that runs in an event loop."""


@dataclass(frozen=True, kw_only=True)
class WorkerHook:
    """Base of all hooks: subscribe to it to be told everything.

    Attributes:
        event_id: The same whenever the same event is told again.
    """

    event_id: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkerJobStartedHook(WorkerHook):
    """A worker starts a job.

    Attributes:
        job_type: `batch_embed` or `ingest_document`, as the queue names it.
        job_id: Of the job.
    """

    job_type: str
    job_id: str = ""

    def __post_init__(self) -> None:
        _name_event(self, self.job_id, "started")


@dataclass(frozen=True, kw_only=True)
class WorkerJobCompletedHook(WorkerHook):
    """A worker has finished a job, well or not.

    Attributes:
        job_type: `batch_embed` or `ingest_document`, as the queue names it.
        job_id: Of the job.
        duration_seconds: From its start to its end.
        outcome: The state in which the job ended: `completed`, `failed` or `cancelled`.
    """

    job_type: str
    job_id: str = ""
    duration_seconds: float = 0.0
    outcome: str = ""

    def __post_init__(self) -> None:
        _name_event(self, self.job_id, self.outcome or "ended")


@dataclass(frozen=True, kw_only=True)
class WorkerMaintenanceRunHook(WorkerHook):
    """A maintenance task has run.

    Attributes:
        task_type: What kind of maintenance it is, such as `cache_cleanup`.
        task_name: The name under which it is registered.
        run_id: Of this run.
        duration_seconds: From its start to its end.
        outcome: `completed`, `failed` or `skipped`.
    """

    task_type: str
    task_name: str = ""
    run_id: str = ""
    duration_seconds: float = 0.0
    outcome: str = ""

    def __post_init__(self) -> None:
        _name_event(self, self.run_id, self.outcome or "ran")


HookT = TypeVar("HookT", bound=WorkerHook)


def subscribe(hook_type: type[HookT], callback: Callable[[HookT], Any]) -> Callable[[], None]:
    """Have a function called with every hook of a type.

    Args:
        hook_type: One of the hooks, or `WorkerHook` for all of them.
        callback: A plain function, called in the thread that fires the hook; or an async one, run
            in the event loop in which it was subscribed, or else in one of its own.

    Returns:
        A function that ends the subscription; calling it again does nothing.
    """
    return _subscriptions.add(hook_type, cast("Callable[[WorkerHook], object]", callback))


def fire(payload: WorkerHook) -> None:
    """Call all subscribers of a hook's type; safe from any thread, and raises nothing.

    Fired in a thread without an event loop, it returns when all of them have been told. Fired
    within an event loop, async subscribers run there as tasks of their own.
    """
    for subscription in _subscriptions.of(payload):
        subscription.tell(payload)


class _Subscription:
    """One subscriber, and the event loop in which it came, if any."""

    def __init__(self, hook_type: type[WorkerHook], callback: Callable[[WorkerHook], object]):
        self.hook_type = hook_type
        self._callback = callback
        self._loop = _running_loop()
        self._has_failed = False

    def tell(self, payload: WorkerHook) -> None:
        try:
            answer = self._callback(payload)
            if inspect.isawaitable(answer):
                self._run(answer)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it must not harm the work
            self._report(error)

    def _run(self, answer: Awaitable[object]) -> None:
        home, here = self._loop, _running_loop()
        if home is not None and not home.is_running():
            home = None
        if here is not None and home in (None, here):
            _keep(here.create_task(self._guarded(answer)))
        elif home is not None:
            told = asyncio.run_coroutine_threadsafe(self._guarded(answer), home)
            if here is None:
                told.result(SUBSCRIBER_SECONDS)
        else:
            asyncio.run(self._guarded(answer))

    async def _guarded(self, answer: Awaitable[object]) -> None:
        try:
            await answer
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            self._report(error)

    def _report(self, error: BaseException) -> None:
        # Once with its traceback; a subscriber that fails always must not fill the log.
        name = getattr(self._callback, "__qualname__", repr(self._callback))
        if self._has_failed:
            log.debug("the subscriber %s failed again: %s", name, error)
            return
        self._has_failed = True
        log.warning(
            "the subscriber %s of %s failed: %s",
            name,
            self.hook_type.__name__,
            str(error) or type(error).__name__,
            exc_info=error,
        )


class _Subscriptions:
    """All subscribers of this process, in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: tuple[_Subscription, ...] = ()

    def add(
        self, hook_type: type[WorkerHook], callback: Callable[[WorkerHook], object]
    ) -> Callable[[], None]:
        added = _Subscription(hook_type, callback)
        with self._lock:
            self._all = (*self._all, added)

        def remove() -> None:
            with self._lock:
                self._all = tuple(each for each in self._all if each is not added)

        return remove

    def of(self, payload: WorkerHook) -> list[_Subscription]:
        return [each for each in self._all if isinstance(payload, each.hook_type)]


_subscriptions = _Subscriptions()
# The loop itself keeps only weak references to its tasks.
_told: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    _told.add(task)
    task.add_done_callback(_told.discard)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _name_event(hook: WorkerHook, subject: str, happened: str) -> None:
    if subject and not hook.event_id:
        object.__setattr__(hook, "event_id", f"{subject}:{happened}")
