"""Dead letters in numbers, and those that nobody retries by their ids alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.letter_records import LetterStatus
from lexigram_ray.jobs.schema import dead_letters, unscheduled

_ALIKE = (dead_letters.c.status, dead_letters.c.category, dead_letters.c.retry_count)
FIGURES = select(*_ALIKE, func.count().label("letters")).group_by(*_ALIKE)

GIVEN_UP = select(dead_letters.c.id, dead_letters.c.last_failed_at).where(
    dead_letters.c.category == bindparam("of_category"),
    dead_letters.c.retry_count >= bindparam("retries"),
    unscheduled,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFigure:
    """How many letters are alike in these."""

    status: LetterStatus
    category: FailureCategory
    retry_count: int
    letters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A letter that nobody retries.

    Attributes:
        key: Equal only for the same failure of the same letter.
    """

    id: str
    key: str


def figures_of(connection: Connection) -> list[LetterFigure]:
    """Count all letters there are, closed ones too."""
    return [
        LetterFigure(
            status=LetterStatus(row.status),
            category=FailureCategory(row.category),
            retry_count=row.retry_count,
            letters=row.letters,
        )
        for row in connection.execute(FIGURES)
    ]


def given_up_in(connection: Connection, limits: Mapping[FailureCategory, int]) -> list[GivenUp]:
    """Return the open letters that have used up their retries and were given no time, oldest first.

    Args:
        connection: Of the store.
        limits: Retries that a failure gets, by category.
    """
    rows = [
        row
        for category, retries in limits.items()
        for row in connection.execute(GIVEN_UP, {"of_category": category.value, "retries": retries})
    ]
    rows.sort(key=lambda row: (row.last_failed_at, row.id))
    return [GivenUp(id=row.id, key=f"{row.id}-{row.last_failed_at}") for row in rows]
