"""Tasks of an event loop that take messages from a queue and give them to handlers.

For queues, stores and providers that live only in this process. What becomes of a message is
`message_work`'s: no handler's error ends the pool, and none is swallowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lexigram_ray.jobs.foreign_queue import ForeignQueue, Message
from lexigram_ray.jobs.message_work import Handler, MessageWork

__all__ = ["Handler", "WorkerPool"]

logger = logging.getLogger("lexigram_ray")

FIRST_WAIT_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 0.5
LONGEST_WAIT_AFTER_ERROR_SECONDS = 10.0
LAST_MESSAGE_SECONDS = 1.0
"""How long a pool that ends waits for a message that the queue may be handing out."""
LAST_SECONDS = 5.0
"""For telling the queue what was not done."""


class WorkerPool:
    """Works on a queue's messages, some at once.

    It may be started again, also in another event loop once its own one has ended; `stop` and
    `wake` may be called from any.

    Args:
        name: For logs.
        queue: Where messages come from.
        handlers: By the name of the task. Each raises where the job has failed.
        concurrency: Most messages at once.
        on_failure: Is told of each message that has failed for good; see `failure_sink`.
        timeout: Seconds for a message that says nothing of its own; None for no limit.
        on_retry: Is told of each message that is given back to be delivered again.
        on_final: Is told of each message that has failed for good, before `on_failure` is.
    """

    def __init__(
        self,
        name: str,
        queue: ForeignQueue,
        handlers: Mapping[str, Handler],
        *,
        concurrency: int,
        on_failure: object = None,
        timeout: float | None = None,
        on_retry: Callable[[Message, BaseException], None] | None = None,
        on_final: Callable[[Message, BaseException], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._queue = queue
        self._concurrency = max(1, concurrency)
        self._messages = MessageWork(
            name,
            queue,
            handlers,
            on_failure=on_failure,
            timeout=timeout,
            on_retry=on_retry,
            on_final=on_final,
            wake=self.wake,
        )
        self._home: asyncio.AbstractEventLoop | None = None
        self._workers: dict[asyncio.Task[None], bool] = {}
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether it takes messages; not where its event loop has ended without `stop`."""
        if self._home is None or self._home.is_closed() or self._stopping.is_set():
            return False
        return any(not worker.done() for worker in self._workers)

    @property
    def active(self) -> int:
        """How many messages are being worked on."""
        if self._home is None or self._home.is_closed():
            return 0
        return sum(busy for worker, busy in list(self._workers.items()) if not worker.done())

    async def start(self) -> None:
        """Begin to take messages; does nothing where it does so already."""
        if self.running:
            return
        if not self._queue.can_deliver:
            logger.warning(
                "%s: %s has no dequeue, so nothing will come from it",
                self._name,
                type(self._queue.queue).__name__,
            )
        here = self._home = asyncio.get_running_loop()
        self._stopping, self._woken = asyncio.Event(), asyncio.Event()
        self._messages.begin()
        # Those of a `stop` that still waits for them end by themselves.
        self._workers = {
            worker: busy
            for worker, busy in self._workers.items()
            if worker.get_loop() is here and not worker.done()
        }
        for number in range(self._concurrency):
            working = self._work(self._stopping)
            self._workers[asyncio.create_task(working, name=f"{self._name}-{number}")] = False

    def wake(self) -> None:
        """Look for messages now: one has been put into the queue. Safe from any thread."""
        if self._home is not None:
            with contextlib.suppress(RuntimeError):  # Its loop has ended.
                self._home.call_soon_threadsafe(self._woken.set)

    async def stop(self, drain_seconds: float) -> None:
        """Take no more messages, and let those under way come to their end.

        Those that do not within `drain_seconds` are given back to the queue. Whoever calls this
        while the pool tells them of a failure is not waited for.
        """
        here, home = asyncio.get_running_loop(), self._home
        if home is not None and home is not here:
            await self._stop_at_home(home, drain_seconds)
            return
        self._stopping.set()
        self._woken.set()
        self._messages.hurry()
        me = asyncio.current_task()
        workers = set(self._workers) - {me, self._messages.calls(me)}
        if workers:
            await asyncio.wait(workers, timeout=max(0.0, drain_seconds))
        for worker in workers:
            worker.cancel()
        if left := (workers | self._messages.under_way()) - {me}:
            await asyncio.wait(left, timeout=LAST_SECONDS)
        for worker in workers:
            self._workers.pop(worker, None)

    async def _stop_at_home(self, home: asyncio.AbstractEventLoop, drain_seconds: float) -> None:
        if home.is_running():
            # In another thread: that is where its tasks can be waited for.
            stopping = asyncio.run_coroutine_threadsafe(self.stop(drain_seconds), home)
            await asyncio.wrap_future(stopping)
            return
        # Nothing goes on there any more, unless somebody runs that loop once more.
        with contextlib.suppress(RuntimeError):
            self._stopping.set()
            for worker in self._workers:
                worker.cancel()
        self._workers = {}

    # -- Taking ------------------------------------------------------------------------------------

    async def _work(self, stopping: asyncio.Event) -> None:
        me = asyncio.current_task()
        wait, failures = FIRST_WAIT_SECONDS, 0
        before: object = None
        while not stopping.is_set():
            self._woken.clear()
            try:
                message = await self._next(stopping)
                failures = 0
            except Exception as error:  # noqa: BLE001 - a queue of other code, which is asked again
                failures += 1
                if failures == 1:
                    logger.warning("%s: the queue does not answer: %s", self._name, error)
                longest = LONGEST_WAIT_AFTER_ERROR_SECONDS
                await self._pause(min(longest, LONGEST_WAIT_SECONDS * 2 ** min(failures, 10)))
                continue
            is_new = message is not None and await self._handled(message, me)
            if message is not None and is_new and message.raw is not before:
                before, wait = message.raw, FIRST_WAIT_SECONDS
                continue
            # Nothing, or the same thing over and over, as a double hands it out.
            await self._pause(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    async def _handled(self, message: Message, me: asyncio.Task[Any] | None) -> bool:
        if me is not None and me in self._workers:
            self._workers[me] = True
        try:
            return await self._messages.handle(message)
        except Exception:
            # One bad message must not be this worker's last one.
            logger.exception("%s: what became of job %s was not told", self._name, message.id)
            return True
        finally:
            if me is not None and me in self._workers:
                self._workers[me] = False

    async def _next(self, stopping: asyncio.Event) -> Message | None:
        """Take a message; one that comes while the pool is ending is given back at once."""
        if self._messages.again:
            return self._messages.again.popleft()
        taking = asyncio.create_task(self._queue.dequeue())
        ending = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({taking, ending}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._put_back(taking)
            raise
        finally:
            ending.cancel()
        if stopping.is_set():
            await self._put_back(taking)
            return None
        return taking.result()

    async def _put_back(self, taking: asyncio.Task[Message | None]) -> None:
        """Give back what the queue may be handing out just now."""
        await asyncio.wait({taking}, timeout=LAST_MESSAGE_SECONDS)
        if not taking.done():
            taking.cancel()
        elif not taking.cancelled() and taking.exception() is None:
            message = taking.result()
            if message is not None:
                await self._messages.give_back(message)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
