"""When a schedule is due: cron expressions by the clock of a zone, and plain intervals. Pure.

Where a zone's clock is moved, the rules are those of Debian's cron. A schedule whose minute or hour
begins with `*` follows the clock's face: it is due whenever the face shows a matching time, so not
at all in the hour that is left out, and in both of an hour that is repeated. One with fixed hours
and minutes is due once a day at each of them: times that are left out are made up for together at
the moment the clock has been moved, and of a time that is repeated only the first counts. If day
of month or day of week begins with `*`, both must match, else one of them.

Intervals count from the epoch in elapsed time: neither a restart nor a clock's move shifts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lexigram_ray.maintenance.cron_expressions import Cron, cron_of
from lexigram_ray.maintenance.zones import clock_segments, zone_of

if TYPE_CHECKING:
    from lexigram_ray.jobs.schedule_records import Schedule
    from lexigram_ray.maintenance.zones import Segment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_LOOK = timedelta(hours=1)
_FURTHEST = timedelta(days=366 * 8 + 1)
"""No expression that is ever due is due later: there are eight years between two leap days."""


def due_times(schedule: Schedule, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """Return the last times at which a schedule is due, in UTC, first to last.

    Args:
        schedule: Says when.
        after: Only later ones.
        until: None later than this.
        limit: So many at most: the latest.

    Raises:
        ConfigError: The cron expression or the zone is wrong.
    """
    after, until = after.astimezone(UTC), until.astimezone(UTC)
    if schedule.interval_seconds is not None:
        return _multiples(schedule.interval_seconds, after, until, limit)
    clock = _clock_of(schedule)
    found: list[datetime] = []
    # Backwards, in steps that grow: who asks for the last of many years need not wait for all.
    end, step = until, _FIRST_LOOK
    while end > after and len(found) < limit:
        start = max(after, end - step)
        found = [*clock.between(start, end), *found]
        end, step = start, step * 2
    return found[max(0, len(found) - limit) :]


def next_due(schedule: Schedule, after: datetime) -> datetime | None:
    """Return the first time after another at which a schedule is due, in UTC.

    Returns:
        None where the calendar has no such time.

    Raises:
        ConfigError: The cron expression or the zone is wrong.
    """
    after = after.astimezone(UTC)
    if schedule.interval_seconds is not None:
        step = timedelta(seconds=schedule.interval_seconds)
        return _EPOCH + ((after - _EPOCH) // step + 1) * step
    clock = _clock_of(schedule)
    start, step = after, _FIRST_LOOK
    while start < after + _FURTHEST:
        for due in clock.between(start, start + step):
            return due
        start, step = start + step, step * 2
    return None


@dataclass(frozen=True, slots=True)
class _Clock:
    """A cron expression on the face of a zone's clock."""

    cron: Cron
    zone: str

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the due times after one time and up to another."""
        for segment in clock_segments(zone_of(self.zone), after, until):
            yield from self._within(segment, after, until)

    def _within(self, segment: Segment, after: datetime, until: datetime) -> Iterator[datetime]:
        first_face = segment.face(segment.start)
        if self.cron.is_fixed and segment.moved is not None:
            old_face = first_face - segment.moved
            if segment.moved > timedelta():
                # Left out: from what the face would have shown to what it shows.
                left_out = self.cron.first_after(old_face - _MICROSECOND, first_face)
                shown = self.cron.first_after(first_face - _MICROSECOND, first_face + _MICROSECOND)
                if left_out and not shown and after < segment.start <= until:
                    yield segment.start
            else:
                # Repeated: what the face showed before the clock was moved counts no more.
                first_face = old_face
        begin = max(first_face - _MICROSECOND, segment.face(after))
        end = min(segment.face(segment.end) - _MICROSECOND, segment.face(until))
        for face in self.cron.after(begin, end):
            yield segment.moment(face)


def _clock_of(schedule: Schedule) -> _Clock:
    return _Clock(cron_of(schedule.cron or ""), schedule.timezone)


def _multiples(seconds: float, after: datetime, until: datetime, limit: int) -> list[datetime]:
    step = timedelta(seconds=seconds)
    last = (until - _EPOCH) // step
    first = max((after - _EPOCH) // step, last - limit) + 1
    return [_EPOCH + count * step for count in range(first, last + 1)]
