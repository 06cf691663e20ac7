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
from lexigram_ray.jobs.clock_trust import is_clock_trusted
from lexigram_ray.jobs.letter_records import DeadLetter
from lexigram_ray.jobs.obstacles import PASSING
from lexigram_ray.jobs.redriving import LETTERS_AT_ONCE, left_open, plan, retrying_turn
from lexigram_ray.jobs.retry_policy import RetryPolicy, due_at, jitter_of
from lexigram_ray.jobs.store import Store

UNFINISHED_SECONDS = 15.0
"""Between two looks at letters whose job has not ended."""

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
        jitter: Returns numbers between 0 and 1; for letters that cannot be retried when they are
            due.
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
        expired = self._expire()
        return Swept(scheduled=scheduled, retried=due.retried, put_off=due.put_off, expired=expired)

    def _expire(self) -> int:
        now = self._now()
        if not is_clock_trusted(self._store, now):
            return 0
        return self._letters.expire(now - self._retention)

    def look_for_due(self) -> Swept:
        """Retry what is due: two indexed queries where nothing is."""
        if not any(self._letters.due(1, asked=asked) for asked in (True, False)):
            self._pace.let_go([], self._now())
            return Swept()
        with retrying_turn(self._store):
            return self._retry_due()

    def _retry_due(self) -> Swept:
        now = self._now()
        # Apart: however many wait for their turn in a plan, the others need not.
        planned = self._letters.due(LETTERS_AT_ONCE, asked=True)
        letters = self._pace.let_go(planned, now)
        letters += self._letters.due(LETTERS_AT_ONCE, asked=False)
        redrive = plan(self._store, letters, staged=self._staged)
        jobs = self._letters.retry(redrive.retries)
        for job, is_new in jobs:
            verb = "made" if is_new else "found"
            logger.info("job %s is %s for dead letters of job %s", job.id, verb, job.retry_of)
        left = left_open(self._store, redrive)
        refused = [*redrive.refused, *left]
        self._put_off(refused, now)
        retried = len(redrive.letter_ids) - len(left) if jobs else 0
        return Swept(retried=retried, put_off=len(refused))

    def _schedule_new(self) -> int:
        limits = self._policy.limits
        retried = [category for category, limit in limits.items() if limit]
        scheduled = 0
        while retried:
            new = self._letters.unscheduled(retried, limits, LETTERS_AT_ONCE)
            times = self._times_of(new)
            given = self._letters.schedule(times, asked=False) if times else 0
            scheduled += given
            # Where another sweeper has been faster, the rest comes at the next look.
            if given < LETTERS_AT_ONCE:
                break
        if scheduled:
            logger.info("%d dead letters are to be retried", scheduled)
        return scheduled

    def _times_of(self, letters: Sequence[DeadLetter]) -> dict[str, datetime]:
        """Return when letters are due: those of a job that failed as often, all at once."""
        groups: dict[tuple[str, int, float | None], list[DeadLetter]] = {}
        for letter in letters:
            key = letter.job_id, letter.retry_count, letter.retry_after
            groups.setdefault(key, []).append(letter)
        now = self._now()
        times: dict[str, datetime] = {}
        for (job_id, count, after), group in groups.items():
            jitter = jitter_of(job_id, count)
            # From the last of them on: each would be a job of its own else, and fail as one.
            failed_at = max(letter.last_failed_at for letter in group)
            for letter in group:
                wait = self._policy.wait(letter.category, count, after, jitter)
                if wait is not None:
                    times[letter.id] = due_at(failed_at, wait, now)
        return times

    def _put_off(self, refused: Sequence[tuple[DeadLetter, str]], now: datetime) -> None:
        """Give letters that cannot be retried now another time: a file may come back.

        Nothing but a job that has yet to end is sure to pass. All else counts as a retry that has
        failed, so that one day it is the last, and the letter is told of.
        """
        seconds = self._policy.cap_seconds * (0.5 + 0.5 * self._jitter())
        groups: dict[tuple[bool, bool], dict[str, datetime | None]] = {}
        for letter, obstacle in refused:
            passes = obstacle in PASSING
            is_last = letter.retry_count + 1 >= self._policy.max_retries(letter.category)
            later = None if is_last else now + timedelta(seconds=seconds)
            times = groups.setdefault((letter.asked, not passes), {})
            times[letter.id] = _next_look(now) if passes else later
        for (asked, counted), times in groups.items():
            self._letters.schedule(times, asked=asked, counted=counted)
        for obstacle in sorted({obstacle for _, obstacle in refused}):
            count = sum(each == obstacle for _, each in refused)
            logger.warning("%d dead letters are not retried now: %s", count, obstacle)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _next_look(now: datetime) -> datetime:
    """Return when letters of unfinished jobs are looked at again: all at the same moments.

    What failed in a job at different times is retried together once it has ended.
    """
    passed = now.timestamp() % UNFINISHED_SECONDS
    return now + timedelta(seconds=UNFINISHED_SECONDS - passed)


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
