"""What becomes of one message of a queue: its handler, its tries, its end, and who is told.

A handler's error ends its own message and nothing else. Once a handler has ended, well or not, its
message's end is told to its end, even while the pool is being stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.hooks import WorkerHook, WorkerJobCompletedHook, WorkerJobStartedHook, fire
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.classifier import ErrorClassifier
from lexigram_ray.jobs.failure_sink import failure_sink, success_sink
from lexigram_ray.jobs.foreign_queue import ForeignQueue, Message
from lexigram_ray.jobs.message_memory import Memory, hook_fields, what_it_says
from lexigram_ray.jobs.retry_policy import MAY_PASS

__all__ = ["Handler", "MessageWork"]

logger = logging.getLogger("lexigram_ray")

Handler = Callable[[Message], Awaitable[None]]

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
HOOK_SECONDS = 5.0
"""So long a message waits for subscribers to its hooks."""
MOST_PASSED_ON = 20
"""Times that a message for nobody here is given back, before it is a failure: others may use the
same queue."""
MOST_TELLINGS = 4
"""Times that a failure is told to one who cannot be told of it now."""


class MessageWork:
    """Does what messages ask for; see `WorkerPool` for the arguments.

    Args:
        wake: Is called when a message has been given back to the queue.

    Attributes:
        again: Messages given back to a queue that cannot be told so.
    """

    def __init__(
        self,
        name: str,
        queue: ForeignQueue,
        handlers: Mapping[str, Handler],
        *,
        on_failure: object,
        timeout: float | None,
        on_retry: Callable[[Message, BaseException], None] | None,
        on_final: Callable[[Message, BaseException], Awaitable[None]] | None,
        wake: Callable[[], None],
    ) -> None:
        self._name = name
        self._queue = queue
        self._handlers = dict(handlers)
        self._sink = failure_sink(on_failure, queue.queue)
        self._succeeded = success_sink(on_failure)
        self._timeout = timeout
        self._on_retry = on_retry
        self._on_final = on_final
        self._wake = wake
        self.again: deque[Message] = deque()
        # What goes on by itself, and the task that waits for it, if one does.
        self._ends: dict[asyncio.Task[None], asyncio.Task[Any] | None] = {}
        self._hurry = asyncio.Event()
        self._tries: Memory[int] = Memory()
        self._done: Memory[str] = Memory()

    def begin(self) -> None:
        """Belong to this event loop from now on."""
        self._hurry = asyncio.Event()
        here = asyncio.get_running_loop()
        self._ends = {end: by for end, by in self._ends.items() if end.get_loop() is here}

    def hurry(self) -> None:
        """Give back at once what was to be given back later."""
        self._hurry.set()

    def under_way(self) -> set[asyncio.Task[None]]:
        """Return what goes on by itself: ends being told, and messages to be given back."""
        return set(self._ends)

    def calls(self, task: asyncio.Task[Any] | None) -> asyncio.Task[Any] | None:
        """Return the task that waits for one of these to tell an end."""
        return None if task is None else self._ends.get(task)

    async def handle(self, message: Message) -> bool:
        """Do what a message asks for, and return whether there was something to do."""
        before = self._done.of(message, "")
        if before and before == await call(what_it_says, message):
            # Delivered once more, because it was not known to be done with: it is.
            await self._tell_queue(self._queue.ack(message))
            return False
        tries = self._tries.of(message, 0) + 1
        self._tries.note(message, tries)
        if message.name not in self._handlers and tries <= MOST_PASSED_ON:
            self._later(message, _wait_after(tries))
            return True
        started = time.monotonic()
        try:
            if tries == 1:
                await self._fire(WorkerJobStartedHook(**hook_fields(message, "started")))
            await self._run(message)
        except asyncio.CancelledError:
            # The pool ends: whoever gets the message next begins it anew. That was no failed try.
            self._tries.note(message, max(1, tries - 1))
            await self.give_back(message)
            raise
        except Exception as error:  # noqa: BLE001 - it is the message's end, and is told
            await self._to_its_end(self._failed(message, error, tries, started))
        else:
            await self._to_its_end(self._completed(message, started))
        return True

    async def give_back(self, message: Message) -> None:
        """Have the queue deliver a message again."""
        if await self._tell_queue(self._queue.nack(message, requeue=True)) is False:
            # It cannot be told: nobody else will deliver the message.
            self.again.append(message)

    async def _run(self, message: Message) -> None:
        handler = self._handlers.get(message.name)
        if handler is None:
            raise WorkerError(
                f"no handler for the task {message.name!r}",
                hint=f"{self._name} knows {', '.join(sorted(self._handlers))}",
            )
        seconds = message.timeout or self._timeout
        try:
            await asyncio.wait_for(handler(message), seconds)
        except TimeoutError as error:
            if str(error) or seconds is None:
                raise
            raise TimeoutError(f"the job was not done within {seconds:g} s") from error
        except SystemExit as error:
            # It would end the event loop, and everybody else's work with it.
            raise WorkerError(f"the job called exit ({error.code})") from error

    async def _completed(self, message: Message, started: float) -> None:
        self._done.note(message, await call(what_it_says, message))
        self._tries.forget(message)
        await self._tell_queue(self._queue.ack(message))
        if self._succeeded is not None:
            await self._succeeded(message)
        await self._ended(message, "completed", started)

    async def _failed(self, message: Message, error: Exception, tries: int, started: float) -> None:
        verdict = ErrorClassifier.verdict(error)
        if verdict.category in MAY_PASS and tries <= message.max_retries:
            logger.warning("%s: job %s fails for now: %r", self._name, message.id, error)
            self._later(message, max(_wait_after(tries), verdict.retry_after or 0.0))
            if self._on_retry is not None:
                self._on_retry(message, error)
            return
        logger.error("%s: job %s has failed", self._name, message.id, exc_info=error)
        self._tries.forget(message)
        if not await self._tell_end(message, error):
            # Nobody knows of it but the queue.
            await self.give_back(message)
            return
        await self._tell_queue(self._queue.nack(message, requeue=False))
        await self._ended(message, "failed", started)

    async def _tell_end(self, message: Message, error: Exception) -> bool:
        """Tell that a message has failed for good; return False where that may be told later."""
        if self._on_final is not None:
            try:
                await self._on_final(message, error)
            except Exception:
                logger.exception("%s: nobody could be told of job %s", self._name, message.id)
        for telling in range(1, MOST_TELLINGS + 1):
            try:
                if self._sink is not None:
                    await self._sink(message, error)
            except Exception as problem:
                logger.exception("%s: nobody could be told of job %s", self._name, message.id)
                if ErrorClassifier.classify_exception(problem) not in MAY_PASS:
                    # It would fail each time: that the job has failed is in the log.
                    return True
                if telling < MOST_TELLINGS:
                    await self._wait(_wait_after(telling))
            else:
                return True
        return False

    # -- By itself ---------------------------------------------------------------------------------

    async def _to_its_end(self, end: Coroutine[Any, Any, None]) -> None:
        """Await something that goes on where whoever waits for it is cancelled."""
        await asyncio.shield(self._by_itself(end, asyncio.current_task()))

    def _later(self, message: Message, seconds: float) -> None:
        self._by_itself(self._give_back_later(message, seconds), None)

    def _by_itself(
        self, end: Coroutine[Any, Any, None], waiter: asyncio.Task[Any] | None
    ) -> asyncio.Task[None]:
        going_on = asyncio.create_task(end, name=f"{self._name} telling")
        self._ends[going_on] = waiter
        going_on.add_done_callback(lambda done: self._ends.pop(done, None))
        return going_on

    async def _give_back_later(self, message: Message, seconds: float) -> None:
        try:
            await self._wait(seconds)
        finally:
            # Also where its event loop ends.
            await self.give_back(message)
            self._wake()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)

    # -- Telling -----------------------------------------------------------------------------------

    async def _tell_queue(self, telling: Awaitable[Any]) -> Any:
        try:
            return await telling
        except Exception as error:  # noqa: BLE001 - a queue of other code
            # It delivers the message again, then: that writes nothing twice.
            logger.warning("%s: the queue was not told: %r", self._name, error)
            return None

    async def _ended(self, message: Message, outcome: str, started: float) -> None:
        seconds = time.monotonic() - started
        await self._fire(
            WorkerJobCompletedHook(
                **hook_fields(message, outcome), duration_seconds=seconds, outcome=outcome
            )
        )

    async def _fire(self, payload: WorkerHook) -> None:
        # In a thread: subscribers may be slow.
        try:
            await asyncio.wait_for(call(fire, payload), HOOK_SECONDS)
        except TimeoutError:
            logger.warning("%s: a subscriber of %s takes long", self._name, payload.event_id)


def _wait_after(tries: int) -> float:
    return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(tries - 1, 16))
