"""Times that callers give: aware, and in the order in which they can come."""

from __future__ import annotations

from datetime import datetime

from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs.database import to_micros

NO_TIME_LEFT = "no_time_left"
"""Code of the error that refuses a deadline before which nothing could be done."""


def start_and_deadline(
    run_after: datetime | None, deadline: datetime | None, now: int
) -> tuple[int | None, int | None]:
    """Return when a job may start and when it must have ended, in microseconds since the epoch.

    A start that has come already is no start to wait for: None.

    Args:
        now: In microseconds since the epoch.

    Raises:
        UsageError: A time has no zone, or the deadline leaves no time to work.
    """
    start = None if run_after is None else _micros_of(run_after, "the start")
    end = None if deadline is None else _micros_of(deadline, "the deadline")
    if start is not None and start <= now:
        start = None
    if deadline is not None and end is not None and end <= max(now, start or now):
        before = "now" if start is None else "the start"
        raise UsageError(
            f"the deadline {deadline.isoformat()} is not after {before}: nothing could be done",
            hint="give a later deadline",
            code=NO_TIME_LEFT,
        )
    return start, end


def _micros_of(time: datetime, what: str) -> int:
    if time.tzinfo is None:
        raise UsageError(
            f"{what} {time.isoformat()} has no time zone", hint="give it one, such as +00:00"
        )
    return to_micros(time)
