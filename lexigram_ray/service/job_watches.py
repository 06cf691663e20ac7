"""Waiting for a job to change: one look at the store for all who wait for the same job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import cast

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from lexigram_ray.jobs.following import Seen, look
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.watching import LOOK_EVERY_SECONDS
from lexigram_ray.service.context import ServiceContext
from lexigram_ray.service.problems import RETRY_SECONDS, Refusal

MOST_LOOKS_PER_SECOND = 50.0
"""Of a replica, however many jobs are watched: more of them are looked at less often."""


class Watch:
    """One job that is looked at again and again, for whoever waits for it.

    Args:
        store: Where it is.
        job_id: Of the job.
        pause_seconds: Says how long to wait between two looks.
        is_draining: Whether nobody should wait here any more.
    """

    def __init__(
        self,
        store: Store,
        job_id: str,
        pause_seconds: Callable[[], float],
        is_draining: Callable[[], bool],
    ) -> None:
        self.watchers = 0
        self.changes = 0
        self.is_closing = False
        self._store = store
        self._job_id = job_id
        self._pause_seconds = pause_seconds
        self._is_draining = is_draining
        self._woken = asyncio.Event()
        self._error: Exception | None = None
        self._looking = asyncio.create_task(self._look_on())

    async def changed(self, seen: int, timeout_seconds: float) -> int:
        """Wait until the job is another than at a change that was seen, or the time is over.

        Args:
            seen: What `changes` was when the job was read.
            timeout_seconds: After which nothing has changed.

        Returns:
            What `changes` is now.

        Raises:
            Exception: What looking at the job has failed with: the store does not answer.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.changes == seen and not self.is_closing:
                    if self._error is not None:
                        raise self._error
                    await self._woken.wait()
        except TimeoutError:
            pass
        return self.changes

    async def close(self) -> None:
        """Look no more."""
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_on(self) -> None:
        known: tuple[Job | None, int] | None = None
        newest = -1
        try:
            while True:
                seen, draining = await run_in_threadpool(self._look, newest)
                newest = seen.events[-1].seq if seen.events else newest
                if (seen.job, newest) != known:
                    known = (seen.job, newest)
                    self.changes += 1
                    self._wake()
                if draining:
                    self.is_closing = True
                    self._wake()
                    return
                if seen.is_over:
                    return
                await asyncio.sleep(self._pause_seconds())
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._error = error
            self._wake()

    def _look(self, newest: int) -> tuple[Seen, bool]:
        return look(self._store, self._job_id, newest), self._is_draining()

    def _wake(self) -> None:
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()


class JobWatches:
    """The jobs that somebody waits for; one of a replica, used by its event loop alone.

    Args:
        context: Of the application.
    """

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._watches: dict[str, Watch] = {}
        # The other half is for those who do not wait.
        self._most = max(1, context.config.service.max_ongoing_requests // 2)

    @property
    def watchers(self) -> int:
        """How many wait now."""
        return sum(watch.watchers for watch in self._watches.values())

    @asynccontextmanager
    async def watching(self, job_id: str) -> AsyncGenerator[Watch]:
        """Have a job looked at until the block ends.

        Raises:
            Refusal: As many wait already as may.
        """
        self._check_room()
        watch = self._watches.get(job_id)
        if watch is None:
            watch = self._watches[job_id] = Watch(
                self._context.store, job_id, self._pause_seconds, self._context.is_draining
            )
        watch.watchers += 1
        try:
            yield watch
        finally:
            watch.watchers -= 1
            if not watch.watchers:
                del self._watches[job_id]
                await watch.close()

    def _check_room(self) -> None:
        """Refuse one more who waits, where there are enough."""
        if self.watchers >= self._most:
            raise Refusal(
                503,
                f"{self._most} already wait for jobs here",
                code="too_many_waiting",
                hint="ask without waiting, or for several jobs one after the other",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )

    def _pause_seconds(self) -> float:
        return max(LOOK_EVERY_SECONDS, len(self._watches) / MOST_LOOKS_PER_SECOND)


def watches_of(app: FastAPI, context: ServiceContext) -> JobWatches:
    """Return those of an application."""
    if not hasattr(app.state, "watches"):
        app.state.watches = JobWatches(context)
    return cast("JobWatches", app.state.watches)
