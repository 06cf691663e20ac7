"""Cron expressions: five fields, read by croniter on a clock that is never moved. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import ConfigError

if TYPE_CHECKING:
    from croniter import croniter

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
SHORT_FORMS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_EXAMPLE = "minute hour day month weekday, such as `30 4 * * 1-5`"
# croniter's own words for "whenever": they would be another time at each start.
_RANDOM = re.compile(r"(^|[,/-])[hr](\W|$)")
_ANY_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - a clock's face, without a zone


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked cron expression."""

    text: str

    @property
    def is_fixed(self) -> bool:
        """Whether it names the minutes and the hours of its times."""
        minute, hour, *_ = self.text.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def after(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the matching faces of a clock after one and up to another, both without a zone."""
        if end <= begin:
            return
        from croniter import CroniterBadDateError

        faces = _reader(self.text, begin)
        try:
            while (face := faces.get_next()) <= end:
                yield face
        except CroniterBadDateError:
            return  # The calendar has no further one.

    def first_after(self, begin: datetime, end: datetime) -> datetime | None:
        """Return the first matching face after one and before another."""
        return next(self.after(begin, end - timedelta(microseconds=1)), None)


@lru_cache(maxsize=256)
def cron_of(text: str) -> Cron:
    """Check a cron expression.

    Args:
        text: Five fields, or a short form such as `@daily`.

    Raises:
        ConfigError: A field is wrong, or there is no such day.
    """
    fields = SHORT_FORMS.get(text.strip().lower(), text).split()
    if len(fields) != len(FIELDS):
        raise ConfigError(
            f"the cron expression {text!r} has {len(fields)} fields, not {len(FIELDS)}",
            hint=f"give {_EXAMPLE}",
        )
    for position, field in enumerate(fields):
        if not _is_readable(field, position):
            raise ConfigError(
                f"the cron expression {text!r}: {FIELDS[position]} cannot be {field!r}",
                hint=f"give {_EXAMPLE}",
            )
    cron = Cron(" ".join(fields))
    _refuse_never(cron, text)
    return cron


def _is_readable(field: str, position: int) -> bool:
    from croniter import CroniterError

    if _RANDOM.search(field.lower()):
        return False
    alone = ["*"] * len(FIELDS)
    alone[position] = field
    try:
        _reader(" ".join(alone), _ANY_DAY)
    except (CroniterError, ValueError):
        return False
    return True


def _refuse_never(cron: Cron, text: str) -> None:
    from croniter import CroniterBadDateError, CroniterError

    try:
        _reader(cron.text, _ANY_DAY).get_next()
    except CroniterBadDateError as error:
        raise ConfigError(
            f"the cron expression {text!r} never comes: no month of it has that day",
            hint="check day of month and month",
        ) from error
    except CroniterError as error:
        raise ConfigError(
            f"the cron expression {text!r} cannot be used: {error}", hint=f"give {_EXAMPLE}"
        ) from error


def _reader(text: str, begin: datetime) -> croniter[datetime]:
    from croniter import croniter

    # What croniter calls cron's bug is how every cron reads a day of month or week that begins
    # with `*`: both must match.
    return croniter(text, begin, ret_type=datetime, implement_cron_bug=True)
