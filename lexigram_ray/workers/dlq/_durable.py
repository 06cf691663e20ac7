"""The dead letters of the store, and the threads that see to them beside whatever `up` runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.workers.dlq._sending import send_dead
from lexigram_ray.workers.dlq._tasks import task_of
from lexigram_ray.workers.dlq._telling import Teller
from lexigram_ray.workers.dlq._told import ToldLetters
from lexigram_ray.workers.types import DLQItem, DLQStats

if TYPE_CHECKING:
    from lexigram_ray.jobs.kept_duties import KeptDuties
    from lexigram_ray.workers.dlq._letters import LettersOfStore

__all__ = ["DurableLetters"]

T = TypeVar("T")

SHORTEST_PAUSE_SECONDS = 0.1

logger = logging.getLogger("lexigram_ray")


class DurableLetters:
    """Sees to the dead letters of a store. Any number of processes may do so at once.

    Args:
        config: Where the store is, and how failures are retried.
        worker_id: Whose function is told of what nobody retries: of each letter once by processes
            that come one after another; those that run at once may each tell of it.
        name: For the log.
        dlq_queue: Is sent each letter that nobody retries; None for nobody.
    """

    def __init__(
        self, config: WorkersConfig, *, worker_id: str, name: str, dlq_queue: object | None
    ) -> None:
        self.main_queue: object | None = None
        self.teller = Teller()
        self._config = config
        self._name = name
        hooks = config.paths.root / "hooks"
        self._desks = [_Desk(self.teller, ToldLetters(hooks, worker_id))]
        if dlq_queue is not None:
            to_queue = Teller()
            to_queue.handler = partial(send_dead, dlq_queue)
            self._desks.append(_Desk(to_queue, ToldLetters(hooks, f"{worker_id}.queue")))
        self._duties: KeptDuties | None = None
        self._telling: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._deleted = 0

    @property
    def running(self) -> bool:
        """Whether it looks for what is due."""
        return self._duties is not None and not self._duties.ending.is_set()

    # -- Running -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to look; does nothing where it does so already.

        Raises:
            StoreUnreachableError: The store cannot be opened.
        """
        if self.running:
            return
        await self.probe()
        from lexigram_ray.jobs.kept_duties import KeptDuties
        from lexigram_ray.jobs.letter_duties import keep_retrying, keep_telling

        duties = self._duties = KeptDuties(self._config, self._name)
        for duty, what in ((keep_retrying, "retry"), (keep_telling, "tell")):
            duties.keep_doing(partial(duty, self._config, ending=duties.ending), what)
        self._stopping = asyncio.Event()
        self._telling = asyncio.create_task(self._tell_on(self._stopping), name=self._name)

    async def stop(self, drain_seconds: float) -> None:
        """Begin nothing any more, and let what is under way come to its end."""
        self._stopping.set()
        duties, self._duties = self._duties, None
        if duties is not None and not await call(duties.stop, drain_seconds):
            logger.warning("%s: a look still goes on after %.0f s", self._name, drain_seconds)
        telling, self._telling = self._telling, None
        if telling is not None:
            await asyncio.wait({telling}, timeout=max(0.0, drain_seconds))
            telling.cancel()
            await asyncio.wait({telling}, timeout=1.0)

    async def probe(self) -> None:
        """Ask the store for something.

        Raises:
            WorkerError: It does not answer.
        """
        await self._with_letters(lambda letters: letters.listed(None, 1))

    # -- Items -------------------------------------------------------------------------------------

    async def add(self, job: object, error: str | BaseException) -> None:
        """Record that a job of the store has failed."""
        task = task_of(job)
        item = await self._with_letters(lambda letters: letters.add(task, error))
        logger.info("job %s has failed (%s)", item.job_id, item.failure_category.value)

    async def succeeded(self, job_id: str, job: object = None) -> bool:
        """Return False: the store itself closes the letters of what has succeeded."""
        return False

    async def retry(self, given: str) -> bool:
        """Have letters tried again now, by a job each; return whether any is."""
        return await self._with_letters(lambda letters: letters.retry(given))

    async def remove(self, given: str) -> bool:
        """Delete letters for good; return whether there were any."""
        removed = await self._with_letters(lambda letters: letters.remove(given))
        self._deleted += removed
        return removed > 0

    async def archive(self, given: str) -> bool:
        """Close letters without a retry; return whether there were any."""
        return await self._with_letters(lambda letters: letters.archive(given)) > 0

    async def listed(self, category: FailureCategory | None, limit: int) -> list[DLQItem]:
        """Return items, newest failure first."""
        return await self._with_letters(lambda letters: letters.listed(category, limit))

    async def stats(self) -> DLQStats:
        """Count the letters; of those that were deleted the store knows nothing any more."""
        stats = await self._with_letters(lambda letters: letters.stats())
        stats.deleted_count = self._deleted
        return stats

    # -- Telling -----------------------------------------------------------------------------------

    async def _tell_on(self, stopping: asyncio.Event) -> None:
        from lexigram_ray.jobs.letter_duties import seconds_between_looks

        every = seconds_between_looks(self._config)
        while not stopping.is_set():
            has_more = False
            for desk in self._desks:
                try:
                    has_more |= await self._tell(desk, stopping)
                except Exception:
                    # Whatever it is, it may pass; nobody else tells.
                    logger.exception("%s looks again in %.0f s", self._name, every)
            again = [desk.teller.seconds_to_next() for desk in self._desks]
            soonest = min((each for each in again if each is not None), default=every)
            seconds = 0.0 if has_more else min(every, soonest)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), max(SHORTEST_PAUSE_SECONDS, seconds))

    async def _tell(self, desk: _Desk, stopping: asyncio.Event) -> bool:
        """Tell of some letters; return whether any was taken: others may wait behind them."""
        if desk.teller.handler is None:
            return False
        keys, untold = await self._with_letters(lambda letters: letters.untold(desk.is_known))
        await call(desk.told.forget, keys)
        desk.teller.forget(but=set(keys))
        is_any_told = False
        for key, item in untold:
            if stopping.is_set():
                return False
            if await desk.teller.tell(key, item):
                await call(desk.told.note, key)
                is_any_told = True
        return is_any_told

    async def _with_letters(self, ask: Callable[[LettersOfStore], T]) -> T:
        return await call(self._ask, ask)

    def _ask(self, ask: Callable[[LettersOfStore], T]) -> T:
        from lexigram_ray.jobs.store import Store
        from lexigram_ray.workers.dlq._letters import LettersOfStore

        with Store.open(self._config.paths.store_url) as store:
            return ask(LettersOfStore(self._config, store))


@dataclass(frozen=True, slots=True)
class _Desk:
    """Somebody who is told, and what they were told."""

    teller: Teller
    told: ToldLetters

    def is_known(self, key: str) -> bool:
        """Whether it was told, or is not to be told now."""
        return key in self.told or self.teller.is_early(key)
