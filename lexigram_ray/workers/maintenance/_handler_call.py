"""One call of a handler: watched until it ends, and ended when its time is over.

An async handler is cancelled. A plain one runs in a thread, and no thread can be stopped: it is
left, and whoever called it can ask whether it still goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from lexigram_ray.core.errors import MaintenanceError
from lexigram_ray.jobs.awaiting import call, is_asynchronous, resolved

CANCEL_SECONDS = 5.0
"""So long a handler may take to tidy up once it was told to end."""

_POLL_SECONDS = 0.02

logger = logging.getLogger("lexigram_ray")


class HandlerTimeoutError(MaintenanceError):
    """A handler's time was over."""


class HandlerCall:
    """One call.

    Args:
        handler: Takes nothing; plain or async, or plain and returns what can be awaited.
        ask_to_stop: Has a plain handler end soon, from another thread; None where it cannot.
    """

    def __init__(
        self, handler: Callable[[], Any], *, ask_to_stop: Callable[[], None] | None = None
    ) -> None:
        self._handler = handler
        self._ask_to_stop = ask_to_stop
        self._work: asyncio.Task[object] | None = None
        self._in_thread = False
        self._thread_ended = threading.Event()

    def is_going_on(self) -> bool:
        """Whether it has begun and not ended, be anybody waiting for it or not."""
        if self._work is None:
            return False
        if self._in_thread and not self._thread_ended.is_set():
            return True
        return not self._work.done() and not self.is_lost()

    def is_lost(self) -> bool:
        """Whether its event loop was closed before it had ended: nobody will hear of its end."""
        work = self._work
        return work is not None and not work.done() and work.get_loop().is_closed()

    async def answer(self, timeout_seconds: float) -> object:
        """Call the handler, and return what it answers. May be used once.

        Raises:
            HandlerTimeoutError: Its time was over. It has been ended, unless `is_going_on`.
            MaintenanceError: It has ended its thread or cancelled itself.
            Exception: Whatever the handler raised.
        """
        self._work = work = asyncio.ensure_future(self._through())
        try:
            await asyncio.wait({work}, timeout=timeout_seconds)
        except asyncio.CancelledError:
            await self._end(work)
            raise
        if not work.done():
            await self._end(work)
            raise self._too_late(timeout_seconds)
        if work.cancelled():
            raise MaintenanceError("the handler was cancelled from within")
        return work.result()

    async def _through(self) -> object:
        try:
            if is_asynchronous(self._handler):
                return await resolved(self._handler())
            self._in_thread = True
            return await call(self._called_in_thread)
        except SystemExit as error:
            # It would end the event loop, and everybody else's work with it.
            raise MaintenanceError(f"the handler called exit ({error.code})") from error

    def _called_in_thread(self) -> object:
        try:
            return self._handler()
        finally:
            self._thread_ended.set()

    async def _end(self, work: asyncio.Task[object]) -> None:
        work.add_done_callback(_note_late_error)
        work.cancel()
        if self._in_thread and not self._thread_ended.is_set():
            if self._ask_to_stop is None:
                return
            self._ask_to_stop()
        deadline = time.monotonic() + CANCEL_SECONDS
        while self.is_going_on() and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)

    def _too_late(self, timeout_seconds: float) -> HandlerTimeoutError:
        said = f"timed out after {timeout_seconds:g} s"
        if not self.is_going_on():
            return HandlerTimeoutError(f"{said}, and was ended")
        again = "the task does not run again before it has ended"
        if not self._in_thread or self._thread_ended.is_set():
            return HandlerTimeoutError(
                f"{said}, was cancelled, and goes on all the same: {again}",
                hint="let the handler end when asyncio.CancelledError is raised in it",
            )
        return HandlerTimeoutError(
            f"{said}, and goes on: a thread cannot be stopped, and {again}",
            hint="make the handler async, or register it with isolated=True",
        )


def _note_late_error(work: asyncio.Task[object]) -> None:
    # Also because asyncio complains of errors that nobody has looked at.
    if not work.cancelled() and (error := work.exception()) is not None:
        logger.warning("a handler that had to end failed at that: %r", error)
