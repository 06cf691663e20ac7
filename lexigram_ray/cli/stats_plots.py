"""Numbers over time as columns of characters, as wide as the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lexigram_ray.jobs.metrics_records import Resolution
from lexigram_ray.jobs.work_summary import Interval, WorkSummary

ROWS = 5
BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " #"
NARROWEST = 20
WIDEST = 4
_LABEL_WIDTH = 8


_COUNTED: tuple[tuple[str, str, Callable[[Interval], int]], ...] = (
    ("documents", "green", lambda interval: interval.documents),
    ("documents that failed", "red", lambda interval: interval.failed),
    ("chunks", "cyan", lambda interval: interval.chunks),
)


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot.

    Attributes:
        style: A colour of `output.ANSI`.
        lines: The highest first.
    """

    title: str
    style: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The time below a plot.

    Attributes:
        since, until: The time that is shown.
        step: What one column stands for.
        columns: How many there are.
        wide: How many characters each is wide.
        days: Whether a column is at least a day, which are those of UTC.
    """

    since: datetime
    until: datetime
    step: timedelta
    columns: int
    wide: int
    days: bool

    @classmethod
    def of(cls, summary: WorkSummary, width: int) -> Axis:
        """Return the axis whose plots fill a width, and whose columns are of whole intervals."""
        interval = timedelta(microseconds=summary.resolution.micros)
        span = summary.until - summary.since
        intervals = max(1, math.ceil(span / interval))
        room = max(NARROWEST, width - _LABEL_WIDTH - 2)
        step = interval * math.ceil(intervals / room)
        columns = math.ceil(intervals * interval / step)
        return cls(
            since=summary.since,
            until=summary.until,
            step=step,
            columns=columns,
            wide=min(WIDEST, max(1, room // columns)),
            days=summary.resolution is Resolution.DAY,
        )

    def gathered(self, intervals: Sequence[Interval]) -> list[list[Interval]]:
        """Return the intervals of each column."""
        columns: list[list[Interval]] = [[] for _ in range(self.columns)]
        for interval in intervals:
            columns[min(self.columns - 1, (interval.at - self.since) // self.step)].append(interval)
        return columns

    def spread(self, values: Sequence[float | None]) -> list[float | None]:
        """Return the values of columns as often as these are wide."""
        return [value for value in values for _ in range(self.wide)]

    def words(self) -> str:
        """Return the line below plots: when they begin and end, and how long a column is."""
        first, last = (self._time(moment) for moment in (self.since, self.until))
        middle = f"a column is {_span(self.step)}"
        room, margin = self.columns * self.wide - len(first) - len(last), " " * (_LABEL_WIDTH + 2)
        if room < len(middle) + 2:
            return f"{margin}{first} - {last}, {middle}"
        return f"{margin}{first}{middle:^{room}}{last}"

    def _time(self, moment: datetime) -> str:
        if self.days:
            return moment.strftime("%Y-%m-%d")
        return moment.astimezone().strftime("%m-%d %H:%M")


def draw(values: Sequence[float | None], *, most: float | None = None, blocks: bool) -> list[str]:
    """Return the lines of one plot, the highest first; each character's column is a value.

    Args:
        values: None where nothing is known: the column is empty, as it is at 0.
        most: What the full height stands for; else the largest value.
        blocks: Whether the output takes the characters of `BLOCKS`, which show eighths of a row.
    """
    top = most or max((value for value in values if value is not None), default=0.0)
    shades = BLOCKS if blocks else ASCII_BLOCKS
    levels = [_level(value, top, ROWS * (len(shades) - 1)) for value in values]
    per_row = len(shades) - 1
    border = "│" if blocks else "|"
    lines: list[str] = []
    for row in reversed(range(ROWS)):
        cells = (shades[min(per_row, max(0, level - row * per_row))] for level in levels)
        label = _short(top) if row == ROWS - 1 else ""
        lines.append(f"{label:>{_LABEL_WIDTH}} {border}{''.join(cells)}".rstrip())
    corner, line = ("└", "─") if blocks else ("+", "-")
    lines.append(f"{'0':>{_LABEL_WIDTH}} {corner}{line * len(values)}")
    return lines


def plots(summary: WorkSummary, axis: Axis, *, blocks: bool) -> list[Plot]:
    """Return the plots of a summary, one below the other; those of nothing but 0 are left out."""
    columns = axis.gathered(summary.intervals)
    drawn: list[Plot] = []
    for title, style, number in _COUNTED:
        values = [sum(number(each) for each in column) for column in columns]
        if any(values):
            drawn.append(Plot(title, style, tuple(draw(axis.spread(values), blocks=blocks))))
    rates = [_hit_rate(column) for column in columns]
    if any(rate is not None for rate in rates):
        lines = draw(axis.spread(rates), most=100.0, blocks=blocks)
        drawn.append(Plot("found in the cache, %", "yellow", tuple(lines)))
    return drawn


def _hit_rate(column: Sequence[Interval]) -> float | None:
    cached, computed = (sum(getattr(each, name) for each in column) for name in _ORIGINS)
    return 100.0 * cached / (cached + computed) if cached + computed else None


_ORIGINS = ("cached", "computed")


def _level(value: float | None, top: float, most: int) -> int:
    if not value or not top:
        return 0
    # Whatever is there is seen.
    return max(1, round(most * value / top))


def _short(number: float) -> str:
    """Return `800`, `12.3k` or `4.5M`."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= factor:
            return f"{number / min(factor, 1e3 if unit == 'k' else factor):,.1f}{unit}"
    return f"{number:,.0f}"


def _span(step: timedelta) -> str:
    minutes = round(step.total_seconds() / 60)
    for length, word in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes % length == 0:
            number = minutes // length
            return f"{number} {word}" if number == 1 else f"{number} {word}s"
    return f"{minutes} minutes"
