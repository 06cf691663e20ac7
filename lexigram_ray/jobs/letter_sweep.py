"""The automatic retries of dead letters: what is looked at, and in which order.

A sweeper holds nothing that the store does not: any number of them, killed at any moment, retry
each letter once. What one has read, another one may have done: the store marks only letters that
are still open, and makes no job for others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.letter_records import DeadLetter
from lexigram_ray.jobs.redriving import LETTERS_AT_ONCE, Obstacle, plan, retrying_turn
from lexigram_ray.jobs.retry_policy import RetryPolicy, due_at
from lexigram_ray.jobs.store import Store

UNFINISHED_SECONDS = 15.0
"""Until a letter is looked at again whose job has not ended."""

LONGEST_STEP = timedelta(seconds=10)
"""Of a plan, between two looks."""

logger = logging.getLogger("lexigram_ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a look has done.

    Attributes:
        scheduled: Letters that were given a time.
        retried: Letters whose jobs were made, or found.
        put_off: Letters that were due and could not be retried now.
        expired: Closed letters that were deleted for their age.
    """

    scheduled: int = 0
    retried: int = 0
    put_off: int = 0
    expired: int = 0


class Sweeper:
    """Retries letters in their time.

    Args:
        clock: Returns seconds since the epoch.
        jitter: Returns numbers between 0 and 1.
    """

    def __init__(
        self,
        config: WorkersConfig,
        store: Store,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._policy = RetryPolicy.of(config)
        self._staged = config.paths.staged
        self._retention = timedelta(days=config.dead_letters.retention_days)
        self._store = store
        self._letters = store.dead_letters
        self._clock = clock
        self._jitter = jitter
        self._pace = Pace()

    def look(self) -> Swept:
        """Give new letters their times, retry what is due, and delete what is old."""
        scheduled = self._schedule_new()
        due = self.look_for_due()
        expired = self._letters.expire(self._now() - self._retention)
        return Swept(scheduled=scheduled, retried=due.retried, put_off=due.put_off, expired=expired)

    def look_for_due(self) -> Swept:
        """Retry what is due: one query where nothing is."""
        if not self._letters.due(1):
            self._pace.let_go([], self._now())
            return Swept()
        with retrying_turn(self._store):
            return self._retry_due()

    def _retry_due(self) -> Swept:
        now = self._now()
        letters = self._pace.let_go(self._letters.due(LETTERS_AT_ONCE), now)
        redrive = plan(self._store, letters, staged=self._staged)
        jobs = self._letters.retry(redrive.retries)
        for job, is_new in jobs:
            verb = "made" if is_new else "found"
            logger.info("job %s is %s for dead letters of job %s", job.id, verb, job.retry_of)
        self._put_off(redrive.refused, now)
        return Swept(retried=len(redrive.letter_ids), put_off=len(redrive.refused))

    def _schedule_new(self) -> int:
        limits = self._policy.limits
        retried = [category for category, limit in limits.items() if limit]
        scheduled = 0
        while retried:
            new = self._letters.unscheduled(retried, limits, LETTERS_AT_ONCE)
            times = {letter.id: at for letter in new if (at := self._due_at(letter)) is not None}
            given = self._letters.schedule(times, asked=False) if times else 0
            scheduled += given
            # Where another sweeper has been faster, the rest comes at the next look.
            if given < LETTERS_AT_ONCE:
                break
        if scheduled:
            logger.info("%d dead letters are to be retried", scheduled)
        return scheduled

    def _due_at(self, letter: DeadLetter) -> datetime | None:
        wait = self._policy.wait(
            letter.category, letter.retry_count, letter.retry_after, self._jitter()
        )
        return None if wait is None else due_at(letter.last_failed_at, wait, self._now())

    def _put_off(self, refused: Sequence[tuple[DeadLetter, str]], now: datetime) -> None:
        """Give letters that cannot be retried now another time: a file may come back."""
        for asked in (False, True):
            times = {
                letter.id: now + timedelta(seconds=self._seconds_off(obstacle))
                for letter, obstacle in refused
                if letter.asked is asked
            }
            if times:
                self._letters.schedule(times, asked=asked)
        for obstacle in sorted({obstacle for _, obstacle in refused}):
            count = sum(each == obstacle for _, each in refused)
            logger.warning("%d dead letters are not retried now: %s", count, obstacle)

    def _seconds_off(self, obstacle: str) -> float:
        if obstacle == Obstacle.UNFINISHED:
            return UNFINISHED_SECONDS
        return self._policy.cap_seconds * (0.5 + 0.5 * self._jitter())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


class Pace:
    """Keeps the rate at which a person had letters retried, whatever held the sweeper up.

    Their times say the rate. Who comes late, after a pause or a restart, goes through the plan no
    faster than time passes: nothing is made up for at once.
    """

    def __init__(self) -> None:
        self._reached: datetime | None = None
        self._looked: datetime | None = None

    def let_go(self, due: Sequence[DeadLetter], now: datetime) -> list[DeadLetter]:
        """Return those of the due letters whose turn it is.

        Args:
            due: In the order of their times.
            now: The time.
        """
        # A longer step is a pause, or a clock that was set: no time to be made up for.
        passed = min(max(now - (self._looked or now), timedelta(0)), LONGEST_STEP)
        self._looked = now
        planned = [letter.next_retry_at for letter in due if letter.asked and letter.next_retry_at]
        if not planned:
            self._reached = None
            return list(due)
        # A plan begins with its first letter, and a gap in it is passed over.
        first = min(planned)
        reached = first if self._reached is None else max(first, self._reached + passed)
        self._reached = min(now, reached)
        return [each for each in due if not each.asked or (each.next_retry_at or now) <= reached]
