"""What a zone's clock shows, and when it is moved. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from lexigram_ray.core.errors import ConfigError

_LOOK = timedelta(hours=12)
"""A zone's clock is never moved twice within so short a time."""

_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A time over which a zone's clock is not moved.

    Attributes:
        start: In UTC; the first moment that belongs to it.
        end: In UTC; the first that does not.
        offset: Of the zone from UTC.
        moved: By how much the clock was moved at `start`; None where it was not.
    """

    start: datetime
    end: datetime
    offset: timedelta
    moved: timedelta | None

    def face(self, moment: datetime) -> datetime:
        """Return what the clock shows, without a zone."""
        return moment.replace(tzinfo=None) + self.offset

    def moment(self, face: datetime) -> datetime:
        """Return when the clock shows that, in UTC."""
        return (face - self.offset).replace(tzinfo=UTC)


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """Return a zone by its IANA name.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"there is no time zone {name!r}", hint=_nearest(name)) from error


def clock_segments(zone: tzinfo, after: datetime, until: datetime) -> Iterator[Segment]:
    """Yield the segments of the moments after one time and up to another, first to last.

    The first one begins at the last move of the clock within half a day before, if there was one.

    Args:
        zone: Whose clock.
        after: In UTC.
        until: In UTC.
    """
    begin, moved = after - _LOOK, None
    seen = begin
    while seen < until:
        following = min(seen + _LOOK, until + _SECOND)
        if _offset(zone, following) != _offset(zone, seen):
            move = _move_between(zone, seen, following)
            if move > after:
                yield Segment(start=begin, end=move, offset=_offset(zone, seen), moved=moved)
            begin, moved = move, _offset(zone, following) - _offset(zone, seen)
        seen = following
    yield Segment(start=begin, end=until + _SECOND, offset=_offset(zone, begin), moved=moved)


def _move_between(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """Return the first whole second at which the clock has been moved."""
    before = before.replace(microsecond=0)
    # To a whole second too, and not before the move: else the middle may never lie between them.
    after = (after + _SECOND - _MICROSECOND).replace(microsecond=0)
    while after - before > _SECOND:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if _offset(zone, middle) == _offset(zone, before):
            before = middle
        else:
            after = middle
    return after


def _offset(zone: tzinfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _nearest(name: str) -> str:
    known = {zone.rpartition("/")[2].lower(): zone for zone in sorted(available_timezones())}
    known |= {zone.lower(): zone for zone in available_timezones()}
    wanted = name.strip().replace(" ", "_").lower()
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    example = known[close[0]] if close else "Europe/Berlin"
    return f"did you mean {example}?" if close else f"give an IANA name such as {example}"
