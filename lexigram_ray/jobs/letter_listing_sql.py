"""Every query that looks at dead letters, by name."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, cast, func, or_, select

from lexigram_ray.jobs.database import storable
from lexigram_ray.jobs.jobs_sql import BY_BYTES
from lexigram_ray.jobs.letter_records import LetterFilter
from lexigram_ray.jobs.schema import dead_letters, is_due, unscheduled, untold

LETTER = select(dead_letters).where(dead_letters.c.id == bindparam("letter_id"))

# The newest ones, those that were made last: of these an index knows the order.
BETWEEN = (
    select(dead_letters)
    .where(
        dead_letters.c.id >= cast(bindparam("first"), BY_BYTES),
        dead_letters.c.id <= cast(bindparam("last"), BY_BYTES),
    )
    .order_by(dead_letters.c.id.desc())
    .limit(bindparam("at_most"))
)

DUE = (
    select(dead_letters)
    .where(
        is_due,
        dead_letters.c.asked == bindparam("is_asked"),
        dead_letters.c.next_retry_at <= bindparam("now"),
    )
    .order_by(dead_letters.c.next_retry_at, dead_letters.c.id)
    .limit(bindparam("at_most"))
)

UNSCHEDULED = (
    select(dead_letters)
    .where(
        dead_letters.c.category == bindparam("of_category"),
        dead_letters.c.retry_count < bindparam("retries"),
        unscheduled,
    )
    .limit(bindparam("at_most"))
)

# Those that nobody could be told of come behind those that nobody has tried yet.
UNTOLD = (
    select(dead_letters)
    .where(
        dead_letters.c.category == bindparam("of_category"),
        dead_letters.c.retry_count >= bindparam("retries"),
        untold,
        dead_letters.c.notify_after <= bindparam("now"),
    )
    .order_by(dead_letters.c.notify_after, dead_letters.c.id)
    .limit(bindparam("at_most"))
)

COUNTS = select(dead_letters.c.status, func.count().label("letters")).group_by(
    dead_letters.c.status
)

# A page goes on behind the last letter of the page before; each state has its own part of the
# index, in which nothing has to be sorted. The first condition of each pair is where databases
# begin to read; the second alone would have them read all pages before.
_WITH_STATUS = dead_letters.c.status == bindparam("of_status")
_NEWEST_FIRST = (dead_letters.c.last_failed_at.desc(), dead_letters.c.id.desc())
_OLDEST_FIRST = (dead_letters.c.last_failed_at, dead_letters.c.id)
NEWEST = (
    select(dead_letters).where(_WITH_STATUS).order_by(*_NEWEST_FIRST).limit(bindparam("at_most"))
)
OLDEST = (
    select(dead_letters).where(_WITH_STATUS).order_by(*_OLDEST_FIRST).limit(bindparam("at_most"))
)
BELOW = and_(
    dead_letters.c.last_failed_at <= bindparam("seen_at"),
    or_(
        dead_letters.c.last_failed_at < bindparam("seen_at"),
        dead_letters.c.id < bindparam("seen"),
    ),
)
ABOVE = and_(
    dead_letters.c.last_failed_at >= bindparam("seen_at"),
    or_(
        dead_letters.c.last_failed_at > bindparam("seen_at"),
        dead_letters.c.id > bindparam("seen"),
    ),
)
NOT_NEWER = dead_letters.c.last_failed_at <= bindparam("until")
NEWEST_FAILURE = select(func.max(dead_letters.c.last_failed_at)).where(_WITH_STATUS)

# A batch of those that are to change, behind the last one of the batch before.
OLDEST_IDS = (
    select(dead_letters.c.id, dead_letters.c.last_failed_at)
    .where(_WITH_STATUS, ABOVE, NOT_NEWER)
    .order_by(*_OLDEST_FIRST)
    .limit(bindparam("at_most"))
)


def matching(which: LetterFilter, *, older_than: int | None) -> list[ColumnElement[bool]]:
    """Return what a filter asks for, its states left out.

    Args:
        older_than: As `which` has it, in microseconds since the epoch.
    """
    conditions: list[ColumnElement[bool]] = []
    for column, value in (
        (dead_letters.c.category, None if which.category is None else which.category.value),
        (dead_letters.c.collection, which.collection),
        (dead_letters.c.kind, which.kind),
        (dead_letters.c.code, which.code),
        (dead_letters.c.fingerprint, which.fingerprint),
        (dead_letters.c.job_id, which.job_id),
    ):
        if value is not None:
            conditions.append(column == storable(value))
    if which.ids is not None:
        conditions.append(dead_letters.c.id.in_([storable(each) for each in which.ids]))
    if older_than is not None:
        conditions.append(dead_letters.c.last_failed_at < older_than)
    return conditions


def counted(conditions: list[ColumnElement[bool]], statuses: list[str]) -> Select[int]:
    """Count letters."""
    return (
        select(func.count())
        .select_from(dead_letters)
        .where(dead_letters.c.status.in_(statuses), *conditions)
    )


def grouped(conditions: list[ColumnElement[bool]], statuses: list[str]) -> Select[Any]:
    """Return one row a fingerprint: how many there are, and the newest of them."""
    group = dead_letters.c.fingerprint
    found = (
        select(
            group,
            dead_letters.c.id,
            dead_letters.c.category,
            dead_letters.c.code,
            dead_letters.c.error,
            func.count().over(partition_by=group).label("letters"),
            func.min(dead_letters.c.first_failed_at).over(partition_by=group).label("first"),
            func.max(dead_letters.c.last_failed_at).over(partition_by=group).label("last"),
            func.row_number().over(partition_by=group, order_by=_NEWEST_FIRST).label("place"),
        )
        .where(dead_letters.c.status.in_(statuses), *conditions)
        .subquery()
    )
    return (
        select(found)
        .where(found.c.place == 1)
        .order_by(found.c.letters.desc(), found.c.last.desc(), found.c.fingerprint)
    )


def collections_of_groups(
    conditions: list[ColumnElement[bool]], statuses: list[str]
) -> Select[str, str]:
    """Return where the letters of each fingerprint are."""
    return (
        select(dead_letters.c.fingerprint, dead_letters.c.collection)
        .distinct()
        .where(dead_letters.c.status.in_(statuses), *conditions)
        .order_by(dead_letters.c.collection)
    )
