"""Telling of failures that nobody will retry, until they are taken.

At least once: whoever is killed between telling and noting it tells again, with the same
`Idempotency-Key`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.letter_records import DeadLetter
from lexigram_ray.jobs.letter_targets import NotTakenError, Target, key_of, targets_of
from lexigram_ray.jobs.retry_policy import RetryPolicy
from lexigram_ray.jobs.store import Store

LETTERS_AT_ONCE = 100
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 900.0

_MOST_DOUBLINGS = 16
_MOST_REMEMBERED = 10_000

logger = logging.getLogger("lexigram_ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a look has done.

    Attributes:
        told: Letters that were taken.
        postponed: Letters that were not, or not by all.
    """

    told: int = 0
    postponed: int = 0


@dataclass(slots=True, kw_only=True)
class _Desk:
    """A target, and for how long it is left alone.

    Attributes:
        failures: In a row, that were its own and not a letter's.
        quiet_until: Seconds since the epoch.
    """

    target: Target
    failures: int = 0
    quiet_until: float = 0.0


class Notifier:
    """Tells all targets of each letter, until they have taken it.

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
        self._letters = store.dead_letters
        self._clock = clock
        self._jitter = jitter
        self._policy = RetryPolicy.of(config)
        self._desks = [_Desk(target=each) for each in targets_of(config, self._policy)]
        # What one of two targets has taken is not told to it again because of the other.
        self._taken = dict[str, set[str]]()

    def look(self, keep_on: Callable[[], bool] = lambda: True) -> Told:
        """Tell what is to be told.

        Args:
            keep_on: Is asked before each letter.
        """
        if self._all_are_quiet():
            return Told()
        told = postponed = 0
        for letter in self._letters.to_notify(self._policy.limits, LETTERS_AT_ONCE):
            # One that does not answer is not asked a hundred times.
            if not keep_on() or self._all_are_quiet():
                break
            is_told = self._tell(letter)
            told += is_told
            postponed += not is_told
        return Told(told=told, postponed=postponed)

    def _all_are_quiet(self) -> bool:
        return all(self._quiet_seconds(desk) for desk in self._desks)

    def _quiet_seconds(self, desk: _Desk) -> float:
        """Return for how long a target is left alone; 0 where it is not."""
        left = desk.quiet_until - self._clock()
        # A clock that was set back must not keep it quiet for longer than it ever is.
        return left if 0 < left <= LONGEST_WAIT_SECONDS else 0.0

    def _tell(self, letter: DeadLetter) -> bool:
        """Tell those who have not taken a letter; return whether all have now."""
        key = key_of(letter)
        again_in: list[float] = []
        for desk in self._desks:
            if desk.target.name in self._taken.get(key, ()):
                continue
            # One that is left alone keeps no letter from the others.
            seconds = self._quiet_seconds(desk) or self._tell_one(desk, letter, key)
            if seconds:
                again_in.append(seconds)
        if again_in:
            self._letters.notify_later(letter, max(again_in))
            return False
        self._letters.notified(letter)
        self._taken.pop(key, None)
        logger.info("told of dead letter %s", letter.id)
        return True

    def _tell_one(self, desk: _Desk, letter: DeadLetter, key: str) -> float:
        """Tell one; return in how many seconds it is to be told again, 0 where it has taken it."""
        try:
            desk.target.tell(letter)
        except NotTakenError as error:
            seconds = self._backoff(letter.notify_tries + 1)
            if error.of_target:
                desk.failures += 1
                desk.quiet_until = self._clock() + self._backoff(desk.failures)
            logger.warning(
                "%s has not taken dead letter %s, and is told again in %.0f s: %s",
                desk.target.name,
                letter.id,
                seconds,
                error,
            )
            return seconds
        desk.failures = 0
        self._remember(key, desk.target.name)
        return 0.0

    def _remember(self, key: str, target: str) -> None:
        if len(self._taken) > _MOST_REMEMBERED:
            self._taken.pop(next(iter(self._taken)))
        self._taken.setdefault(key, set()).add(target)

    def _backoff(self, times: int) -> float:
        doubled = FIRST_WAIT_SECONDS * 2.0 ** min(times - 1, _MOST_DOUBLINGS)
        return min(LONGEST_WAIT_SECONDS, doubled) * (0.5 + 0.5 * self._jitter())
