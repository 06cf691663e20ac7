"""Times as people write them: `10m`, `1h30m`, `2026-05-04T18:00`; of what has passed, `7d` ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from lexigram_ray.core.errors import UsageError

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
LONGEST = timedelta(days=3_650)

_PART = r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])"
_DURATION = re.compile(rf"(?:{_PART}\s*)+", re.IGNORECASE)


def parse_duration(option: str, text: str) -> timedelta:
    """Return a time such as `30s`, `10m`, `2h`, `1h30m` or `3d`.

    Raises:
        UsageError: It is something else, or longer than ten years.
    """
    found = _duration(text)
    if found is None:
        raise UsageError(
            f"{option} {text!r} is no duration",
            hint=f"write a number and a unit (s, m, h, d or w), such as {option} 10m",
        )
    return _bounded(option, text, found)


def parse_time(option: str, text: str, now: datetime) -> datetime:
    """Return a moment: so long from now, or at a date and time.

    Args:
        now: Aware. A time without a zone is of this machine's.

    Raises:
        UsageError: It is neither, or does not lie ahead within ten years.
    """
    ahead = _duration(text)
    moment = _date(text) if ahead is None else now + _bounded(option, text, ahead)
    if moment is None:
        raise UsageError(
            f"{option} {text!r} is no time",
            hint=f"write {option} 2h, or a date and time such as {option} 2026-05-04T18:00",
        )
    if moment <= now:
        raise UsageError(
            f"{option} {text} is over: it is {now.astimezone().isoformat(timespec='seconds')}",
            hint=f"give a time that is still to come, such as {option} 2h",
        )
    _bounded(option, text, moment - now)
    return moment


def parse_past(option: str, text: str, now: datetime) -> datetime:
    """Return the moment so long ago, or the one of a date and time.

    Args:
        now: Aware. A date without a zone is of this machine's.

    Raises:
        UsageError: It is neither, lies ahead, or is longer than ten years ago.
    """
    ago, moment = _duration(text), _date(text)
    if ago is not None and ago <= LONGEST:
        moment = now - ago
    if moment is None:
        raise UsageError(
            f"{option} {text!r} is no age",
            hint=f"write {option} 90s, 30m, 12h, 7d or 2w, or a date such as {option} 2026-05-04",
        )
    if moment > now:
        raise UsageError(
            f"{option} {text} is still to come: it is "
            f"{now.astimezone().isoformat(timespec='seconds')}",
            hint=f"give an age, such as {option} 7d, or a date that has passed",
        )
    return moment


def _duration(text: str) -> timedelta | None:
    written = text.strip()
    if _DURATION.fullmatch(written) is None:
        return None
    parts = re.findall(_PART, written, re.IGNORECASE)
    seconds = sum(float(number) * SECONDS[unit.lower()] for number, unit in parts)
    # Whatever is too long for a `timedelta` is too long to wait.
    return timedelta(seconds=min(seconds, 2 * LONGEST.total_seconds()))


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        return None


def _bounded(option: str, text: str, ahead: timedelta) -> timedelta:
    if ahead > LONGEST:
        raise UsageError(
            f"{option} {text} is more than ten years ahead", hint="give a shorter time"
        )
    return ahead
