"""Moments that have passed, as people write them: `7d` ago, or a date."""

from __future__ import annotations

from datetime import datetime, timedelta

from lexigram_ray.cli.times import parse_duration
from lexigram_ray.core.errors import UsageError


def parse_past(option: str, text: str, now: datetime) -> datetime:
    """Return the moment so long ago, or the one of a date and time.

    Args:
        now: Aware. A date without a zone is of this machine's.

    Raises:
        UsageError: It is neither, lies ahead, or is longer than ten years ago.
    """
    moment = _date(text)
    if moment is None:
        moment = now - _age(option, text)
    if moment > now:
        raise UsageError(
            f"{option} {text} is still to come: it is "
            f"{now.astimezone().isoformat(timespec='seconds')}",
            hint=f"give an age, such as {option} 7d, or a date that has passed",
        )
    return moment


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        return None


def _age(option: str, text: str) -> timedelta:
    try:
        return parse_duration(option, text)
    except UsageError as error:
        raise UsageError(
            f"{option} {text!r} is no age",
            hint=f"write {option} 90s, 30m, 12h, 7d or 2w, or a date such as {option} 2026-05-04",
        ) from error
