"""Looking at dead letters: one, pages of them, counts, groups, and what the actor asks for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs import letter_listing_sql
from lexigram_ray.jobs.database import Database, from_micros, storable, to_micros
from lexigram_ray.jobs.letter_records import DeadLetter, LetterFilter, LetterGroup, LetterStatus
from lexigram_ray.jobs.letter_rows import letter_of
from lexigram_ray.jobs.page_cursors import cursor_at, place_of

MOST_IDS = 10_000
"""In one filter: databases bound what a statement takes."""

MOST_BEGINNING = 101
"""Letters of one prefix: one more than anybody needs counted."""

_LETTERS_AT_ONCE = 500
# Sorts behind every digit of an id, and behind its hyphens.
_BEHIND_DIGITS = "g"


class LetterListing:
    """Reads letters. `DeadLetters` documents the promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, letter_id: str) -> DeadLetter | None:
        """Return one letter."""
        asked = {"letter_id": storable(letter_id)}
        with self._database.read() as connection:
            row = connection.execute(letter_listing_sql.LETTER, asked).one_or_none()
        return None if row is None else letter_of(row)

    def beginning(self, prefix: str) -> list[DeadLetter]:
        """Return the newest letters whose ids begin so."""
        first = storable(prefix)
        given = {
            "first": first,
            "last": f"{first}{_BEHIND_DIGITS}",
            "at_most": MOST_BEGINNING,
        }
        return self._letters(letter_listing_sql.BETWEEN, given)

    def page(
        self, which: LetterFilter, limit: int, cursor: str | None
    ) -> tuple[list[DeadLetter], str | None]:
        """Return a page of letters, newest failure first, and the cursor of the next one."""
        if limit < 1:
            raise UsageError(f"a page of {limit} letters cannot be shown", hint="ask for 1 or more")
        query, conditions = letter_listing_sql.NEWEST, conditions_of(which)
        # One more than asked for shows whether there is a next page.
        given: dict[str, object] = {"at_most": limit + 1}
        if cursor is not None:
            conditions.append(letter_listing_sql.BELOW)
            given["seen_at"], given["seen"] = place_of(cursor, "a list of dead letters")
        with self._database.read() as connection:
            rows = _of_each_status(connection, query, which, conditions, given)
        rows.sort(key=_failed_at, reverse=True)
        letters = [letter_of(row) for row in rows[:limit]]
        following = None
        if len(rows) > limit:
            following = cursor_at(rows[limit - 1].last_failed_at, rows[limit - 1].id)
        return letters, following

    def each(self, which: LetterFilter) -> Iterator[DeadLetter]:
        """Yield letters, oldest failure first; none that has failed since the beginning."""
        given: dict[str, object] = {"at_most": _LETTERS_AT_ONCE, "until": self.until()}
        conditions = [*conditions_of(which), letter_listing_sql.NOT_NEWER]
        while True:
            with self._database.read() as connection:
                rows = _of_each_status(
                    connection, letter_listing_sql.OLDEST, which, conditions, given
                )
            rows.sort(key=_failed_at)
            yield from map(letter_of, rows[:_LETTERS_AT_ONCE])
            if len(rows) < _LETTERS_AT_ONCE:
                return
            last = rows[_LETTERS_AT_ONCE - 1]
            if "seen" not in given:
                conditions.append(letter_listing_sql.ABOVE)
            given |= {"seen_at": last.last_failed_at, "seen": last.id}

    def until(self) -> int:
        """Return a time behind which no letter has failed yet: now, or a fast clock's."""
        until = self._database.now()
        with self._database.read() as connection:
            for status in LetterStatus:
                asked = {"of_status": status.value}
                newest = connection.execute(letter_listing_sql.NEWEST_FAILURE, asked).scalar()
                until = max(until, newest or 0)
        return until

    def count(self, which: LetterFilter) -> int:
        """Count letters."""
        query = letter_listing_sql.counted(conditions_of(which), statuses_of(which))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def counts(self) -> dict[LetterStatus, int]:
        """Count the letters in each state."""
        with self._database.read() as connection:
            rows = connection.execute(letter_listing_sql.COUNTS).all()
        counted = {row.status: row.letters for row in rows}
        return {status: counted.get(status.value, 0) for status in LetterStatus}

    def groups(self, which: LetterFilter) -> list[LetterGroup]:
        """Return letters by what has caused them, most first."""
        conditions, statuses = conditions_of(which), statuses_of(which)
        places: defaultdict[str, list[str]] = defaultdict(list)
        with self._database.read() as connection:
            query = letter_listing_sql.collections_of_groups(conditions, statuses)
            for row in connection.execute(query):
                places[row.fingerprint].append(row.collection)
            rows = connection.execute(letter_listing_sql.grouped(conditions, statuses)).all()
        return [_group(row, tuple(sorted(places[row[0]]))) for row in rows]

    def due(self, limit: int, *, asked: bool) -> list[DeadLetter]:
        """Return the letters whose time has come, oldest due first."""
        given = {"now": self._database.now(), "at_most": limit, "is_asked": int(asked)}
        return self._letters(letter_listing_sql.DUE, given)

    def unscheduled(self, most: Mapping[FailureCategory, int], limit: int) -> list[DeadLetter]:
        """Return letters that may be retried and have no time for it."""
        return self._of_each_category(letter_listing_sql.UNSCHEDULED, most, limit, {})

    def untold(self, most: Mapping[FailureCategory, int], limit: int) -> list[DeadLetter]:
        """Return letters that nobody will retry, and of which nobody has been told."""
        now = {"now": self._database.now()}
        return self._of_each_category(letter_listing_sql.UNTOLD, most, limit, now)

    def _letters(self, query: Select[Any], given: Mapping[str, object]) -> list[DeadLetter]:
        with self._database.read() as connection:
            return [letter_of(row) for row in connection.execute(query, given).all()]

    def _of_each_category(
        self,
        query: Select[Any],
        most: Mapping[FailureCategory, int],
        limit: int,
        given: Mapping[str, object],
    ) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        with self._database.read() as connection:
            for category, retries in most.items():
                asked = {
                    "of_category": category.value,
                    "retries": retries,
                    "at_most": limit - len(found),
                }
                if len(found) < limit:
                    rows = connection.execute(query, {**given, **asked}).all()
                    found += map(letter_of, rows)
        return found


def conditions_of(which: LetterFilter) -> list[ColumnElement[bool]]:
    """Return what a filter asks for, its states left out.

    Raises:
        UsageError: It names too many ids.
    """
    if which.ids is not None and len(which.ids) > MOST_IDS:
        raise UsageError(
            f"{len(which.ids):,} ids are too many for one request",
            hint=f"name at most {MOST_IDS:,} at once, or the collection or the cause instead",
        )
    older_than = None if which.older_than is None else to_micros(which.older_than)
    return letter_listing_sql.matching(which, older_than=older_than)


def statuses_of(which: LetterFilter) -> list[str]:
    """Return the states that a filter asks for, as the store has them."""
    return [status.value for status in which.statuses]


def _of_each_status(
    connection: Connection,
    query: Select[Any],
    which: LetterFilter,
    conditions: list[ColumnElement[bool]],
    given: Mapping[str, object],
) -> list[Row[Any]]:
    """Return the first letters of each state: the first ones of all are among them."""
    rows: list[Row[Any]] = []
    for status in statuses_of(which):
        rows += connection.execute(query.where(*conditions), {**given, "of_status": status})
    return rows


def _failed_at(row: Row[Any]) -> tuple[int, str]:
    return row.last_failed_at, row.id


def _group(row: Row[Any], collections: tuple[str, ...]) -> LetterGroup:
    return LetterGroup(
        fingerprint=row.fingerprint,
        count=row.letters,
        category=FailureCategory(row.category),
        code=row.code,
        example=row.error,
        letter_id=row.id,
        first_failed_at=from_micros(row.first),
        last_failed_at=from_micros(row.last),
        collections=collections,
    )
