"""What becomes of a queued job whose attempt did not end well: never again, or when. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from lexigram_ray.core.errors import EmbeddingServerError, LeaseLostError, WorkerError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.claiming import Stopped
from lexigram_ray.jobs.records import LOST, Attempt
from lexigram_ray.jobs.redaction import redacted

FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 300.0

FREE_LOSSES = 2
"""Deaths of a job's process after which it is started anew at once."""

LONGEST_WAIT_AFTER_LOSS_SECONDS = 60.0
LOSSES_PER_ATTEMPT = 3
"""Deaths are most often the machine's fault, so more of them are borne than of errors."""

LONG_ATTEMPT_SECONDS = 120.0
"""One that lasted longer got somewhere: the deaths before it do not count. Longer than any wait,
because an attempt's death is noted only when the next one begins."""

_NEVER_AGAIN = frozenset({FailureCategory.PERMANENT, FailureCategory.INVALID_INPUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveIt:
    """Nothing is to be done: the job waits, or is somebody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TryAgain:
    """The job is due again in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The job fails."""

    error: str
    code: str


Verdict = LeaveIt | TryAgain | GiveUp


def after_error(
    error: BaseException, *, errors_in_a_row: int, max_attempts: int, jitter: float
) -> Verdict:
    """Decide on a job whose attempt ended in an error.

    Args:
        error: What ended it.
        errors_in_a_row: This one included.
        max_attempts: So many of them, and the job fails.
        jitter: Random, between 0 and 1, so that jobs that failed together do not return together.
    """
    if isinstance(error, (Stopped, LeaseLostError)):
        return LeaveIt()
    if isinstance(error, WorkerError) and error.category in _NEVER_AGAIN:
        return GiveUp(error=_said(error), code=error.code)
    if isinstance(error, EmbeddingServerError) and error.retry_after is not None:
        # Somebody else's limit, and no fault of the job's: however often.
        return TryAgain(seconds=error.retry_after)
    if errors_in_a_row >= max_attempts:
        code = error.code if isinstance(error, WorkerError) else "unexpected"
        return GiveUp(error=f"{_said(error)} (attempts in a row: {errors_in_a_row})", code=code)
    return TryAgain(seconds=backoff(errors_in_a_row - 1, jitter))


def losses_in_a_row(attempts: Sequence[Attempt], now: datetime) -> int:
    """Return how many attempts at the end were soon cut short by the death of their process.

    Args:
        attempts: Of a job that nobody works on, first to last: one without an end is such a death.
        now: The time.
    """
    return sum(1 for _ in takewhile(lambda each: _is_early_loss(each, now), reversed(attempts)))


def wait_after_losses(losses: int) -> float:
    """Return the least seconds between the start that ended in a job's last death and the next."""
    if losses < FREE_LOSSES:
        return 0.0
    doubled = FIRST_WAIT_SECONDS * 2 ** min(losses - FREE_LOSSES, 16)
    return min(LONGEST_WAIT_AFTER_LOSS_SECONDS, doubled)


def is_lost_for_good(losses: int, max_attempts: int) -> bool:
    """Whether a job kills whatever process runs it."""
    return losses >= LOSSES_PER_ATTEMPT * max_attempts


def backoff(times: int, jitter: float) -> float:
    """Return the seconds to wait after having waited so many times.

    Args:
        jitter: Between 0 and 1; half of the wait depends on it.
    """
    longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(max(times, 0), 16))
    return longest * (0.5 + 0.5 * jitter)


def _is_early_loss(attempt: Attempt, now: datetime) -> bool:
    seconds = ((attempt.ended_at or now) - attempt.started_at).total_seconds()
    return attempt.outcome in (LOST, None) and seconds < LONG_ATTEMPT_SECONDS


def _said(error: BaseException) -> str:
    said = error.message if isinstance(error, WorkerError) else f"{type(error).__name__}: {error}"
    return redacted(said)
