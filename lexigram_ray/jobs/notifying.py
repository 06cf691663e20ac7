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
from lexigram_ray.jobs.letter_targets import NotTakenError, key_of, targets_of
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
        postponed: Letters that were not.
    """

    told: int = 0
    postponed: int = 0


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
        self._targets = targets_of(config, self._policy)
        # What one of two targets has taken is not told to it again because of the other.
        self._taken = dict[str, set[str]]()
        self._failures = 0
        self._quiet_until = 0.0

    def look(self, keep_on: Callable[[], bool] = lambda: True) -> Told:
        """Tell what is to be told.

        Args:
            keep_on: Is asked before each letter.
        """
        if not self._targets or self._is_quiet():
            return Told()
        told = postponed = 0
        for letter in self._letters.to_notify(self._policy.limits, LETTERS_AT_ONCE):
            if not keep_on():
                break
            problem = self._tell(letter)
            if problem is None:
                told += 1
                self._failures = 0
                continue
            postponed += 1
            if problem.of_target:
                # One that does not answer is not asked a hundred times.
                self._failures += 1
                self._quiet_until = self._clock() + self._backoff(self._failures)
                break
        return Told(told=told, postponed=postponed)

    def _is_quiet(self) -> bool:
        # A clock that was set back must not keep it quiet for longer than it ever is.
        left = self._quiet_until - self._clock()
        return 0 < left <= LONGEST_WAIT_SECONDS

    def _tell(self, letter: DeadLetter) -> NotTakenError | None:
        key = key_of(letter)
        for target in self._targets:
            if target.name in self._taken.get(key, ()):
                continue
            try:
                target.tell(letter)
            except NotTakenError as error:
                self._postpone(letter, target.name, error)
                return error
            self._remember(key, target.name)
        self._letters.notified(letter.id)
        self._taken.pop(key, None)
        logger.info("told of dead letter %s", letter.id)
        return None

    def _postpone(self, letter: DeadLetter, target: str, error: NotTakenError) -> None:
        seconds = self._backoff(letter.notify_tries + 1)
        self._letters.notify_later(letter.id, seconds)
        logger.warning(
            "%s has not taken dead letter %s, and is told again in %.0f s: %s",
            target,
            letter.id,
            seconds,
            error,
        )

    def _remember(self, key: str, target: str) -> None:
        if len(self._taken) > _MOST_REMEMBERED:
            self._taken.clear()
        self._taken.setdefault(key, set()).add(target)

    def _backoff(self, times: int) -> float:
        doubled = FIRST_WAIT_SECONDS * 2.0 ** min(times - 1, _MOST_DOUBLINGS)
        return min(LONGEST_WAIT_SECONDS, doubled) * (0.5 + 0.5 * self._jitter())
