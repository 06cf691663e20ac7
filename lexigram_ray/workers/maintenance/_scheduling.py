"""The loop of a worker: it looks what is due, and has it run beside whatever runs already."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import datetime

from lexigram_ray.jobs.schedule_records import Trigger
from lexigram_ray.workers.maintenance._book import Book
from lexigram_ray.workers.maintenance._handler_call import CANCEL_SECONDS
from lexigram_ray.workers.maintenance._records import Entry
from lexigram_ray.workers.maintenance._runner import Runner, runs_around
from lexigram_ray.workers.maintenance._timing import Due
from lexigram_ray.workers.types import MaintenanceResult

SHORTEST_SECONDS = 0.005
"""Between two looks: a timer may wake a little before the clock shows the time."""

logger = logging.getLogger("lexigram_ray")

RunTask = asyncio.Task[MaintenanceResult]


class SchedulerLoop:
    """Runs in the event loop that has started it.

    Args:
        clock: Returns the time, UTC.
        check_interval: Most seconds between two looks; what is due earlier wakes it earlier.
    """

    def __init__(
        self, book: Book, runner: Runner, clock: Callable[[], datetime], check_interval: float
    ) -> None:
        self._book = book
        self._runner = runner
        self._clock = clock
        self._check_interval = check_interval
        self._home: asyncio.AbstractEventLoop | None = None
        self._looking: asyncio.Task[None] | None = None
        self._wake: asyncio.Event | None = None
        self._runs: set[RunTask] = set()
        self._looked_at = time.monotonic()

    @property
    def is_running(self) -> bool:
        """Whether it looks; false too where its event loop has ended without `stop`."""
        looking, home = self._looking, self._home
        return looking is not None and not looking.done() and not (home and home.is_closed())

    @property
    def seconds_since_look(self) -> float:
        """How long ago it looked last."""
        return time.monotonic() - self._looked_at

    async def start(self) -> None:
        """Begin to look; what is due already is run at once."""
        self._home = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._looked_at = time.monotonic()
        self._looking = self._home.create_task(self._look_again_and_again(self._wake))

    def wake(self) -> None:
        """Have it look now: something was registered or changed. Safe from any thread."""
        home, wake = self._home, self._wake
        if home is not None and wake is not None:
            with contextlib.suppress(RuntimeError):  # Its loop has been closed.
                home.call_soon_threadsafe(wake.set)

    async def stop(self, drain_seconds: float) -> None:
        """Begin no more runs, and wait for those under way; then end them.

        A run in whose handler this is called is not waited for.
        """
        here, home = asyncio.get_running_loop(), self._home
        if home is not None and home is not here and home.is_running():
            # Another thread's: that is where its runs can be waited for.
            stopping = asyncio.run_coroutine_threadsafe(self.stop(drain_seconds), home)
            await asyncio.wrap_future(stopping)
            return
        looking, self._looking = self._looking, None
        if looking is not None and home is here:
            looking.cancel()
            await asyncio.wait({looking})
        mine = runs_around.get()
        left = {run for run in list(self._runs) if run not in mine and run.get_loop() is here}
        if left:
            _, left = await asyncio.wait(left, timeout=drain_seconds)
        for run in left:
            logger.warning("maintenance task %s is ended: the worker stops", run.get_name())
            run.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_SECONDS + 1.0)

    def run(self, entry: Entry, trigger: Trigger, due: Due | None = None) -> RunTask:
        """Begin a run in this event loop; `stop` waits for it."""
        run = asyncio.get_running_loop().create_task(
            self._runner.run(entry, trigger, due), name=entry.task.name
        )
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        return run

    async def _look_again_and_again(self, wake: asyncio.Event) -> None:
        while True:
            wake.clear()
            self._looked_at = time.monotonic()
            try:
                wait = self._look()
            except Exception:
                # One bad look must not be the last one.
                logger.exception("the maintenance worker could not look what is due")
                wait = self._check_interval
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), wait)

    def _look(self) -> float:
        """Begin what is due, and return in how many seconds to look again."""
        for entry, due in self._book.due(self._clock()):
            self.run(entry, due.trigger, due)
        now = self._clock()
        following = self._book.next_look(now)
        if following is None:
            return self._check_interval
        seconds = max(SHORTEST_SECONDS, (following - now).total_seconds())
        return min(self._check_interval, seconds)
