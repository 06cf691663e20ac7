"""Whether and when a dead letter is retried by itself: a function of its category and count. Pure.

The store knows nothing of it: what nobody schedules waits for whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from lexigram_ray.core.config import DeadLetterSettings, WorkersConfig
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import FailureCategory

NEVER = frozenset({FailureCategory.INVALID_INPUT, FailureCategory.PERMANENT})
"""What trying again cannot help."""

MAY_PASS = frozenset({FailureCategory.TRANSIENT, FailureCategory.THROTTLED})
"""What trying again is for."""

MOST_RETRIES_OF_UNKNOWN = 3
"""An error that nobody knows may be a permanent one."""

LONGEST_RETRY_AFTER_SECONDS = 365 * 86_400.0
"""A server that asks for more is not taken at its word."""

_MOST_DOUBLINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with a cap, and a server's own word as its floor.

    Attributes:
        most_retries: Automatic retries of a failure that may pass.
        base_seconds: The longest wait before the first of them; it doubles with each.
        cap_seconds: The longest wait of all.
    """

    most_retries: int
    base_seconds: float
    cap_seconds: float

    @classmethod
    def of(cls, config: WorkersConfig) -> RetryPolicy:
        """Return the policy of a configuration."""
        return cls.of_settings(config.dead_letters)

    @classmethod
    def of_settings(cls, settings: DeadLetterSettings) -> RetryPolicy:
        """Return the policy of the settings."""
        return cls(
            most_retries=settings.max_retries,
            base_seconds=settings.base_backoff_seconds,
            cap_seconds=settings.max_backoff_seconds,
        )

    def max_retries(self, category: FailureCategory) -> int:
        """Return how many automatic retries a failure of a category gets."""
        if category in NEVER:
            return 0
        if category is FailureCategory.UNKNOWN:
            return min(MOST_RETRIES_OF_UNKNOWN, self.most_retries)
        return self.most_retries

    @property
    def limits(self) -> Mapping[FailureCategory, int]:
        """Automatic retries by category, of every category."""
        return MappingProxyType({each: self.max_retries(each) for each in FailureCategory})

    def wait(
        self,
        category: FailureCategory,
        retry_count: int,
        retry_after: float | None,
        jitter: float,
    ) -> float | None:
        """Return the seconds from a failure to its retry; None where it gets none.

        Args:
            category: Of the failure.
            retry_count: Retries that have failed; one that a server put off is none of them.
            retry_after: Seconds that the failure's own server asked for: never less is waited.
            jitter: Between 0 and 1; half of the wait depends on it, so that jobs that failed
                together do not return together.
        """
        if retry_count >= self.max_retries(category):
            return None
        doubled = self.base_seconds * 2.0 ** min(retry_count, _MOST_DOUBLINGS)
        wait = min(self.cap_seconds, doubled) * (0.5 + 0.5 * jitter)
        return max(wait, min(retry_after or 0.0, LONGEST_RETRY_AFTER_SECONDS))


def due_at(failed_at: datetime, wait_seconds: float, now: datetime) -> datetime:
    """Return when a letter is due that failed at one time and is looked at now.

    A failure that seems to lie in the future, because the clock was set back since, counts from
    now on: it is retried late rather than early. One that seems older than it is, because the clock
    was set forward, is retried early; never before now.
    """
    return max(now, min(failed_at, now) + timedelta(seconds=wait_seconds))


def jitter_of(job_id: str, retry_count: int) -> float:
    """Return a number from 0 to 1, the same one for all that failed in a job as often.

    They are retried together, as one job; what failed in other jobs is not.
    """
    digits = hash_text(f"{job_id}:{retry_count}")[:8]
    return int(digits, 16) / 0xFFFF_FFFF
