"""What the store promises of dead letters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

from sqlalchemy import Delete, Update

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs import dead_letters_sql, letter_listing_sql
from lexigram_ray.jobs.database import Database, storable, to_micros
from lexigram_ray.jobs.intake import Intake
from lexigram_ray.jobs.letter_listing import LetterListing, conditions_of, statuses_of
from lexigram_ray.jobs.letter_records import (
    DeadLetter,
    LetterFilter,
    LetterGroup,
    LetterRetry,
    LetterStatus,
    NewFailure,
)
from lexigram_ray.jobs.letter_retrying import LetterRetrying, collections_of
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.records import Claim, Job

# Other writers get in between.
_LETTERS_AT_ONCE = 500


class DeadLetters:
    """Failures that outlived their jobs: seen, tried again, put away.

    The store itself writes them, in the very transactions of failures and successes, and decides
    nothing: when a letter is retried, and how often, is said by whoever calls this.

    No method here touches a letter that is closed, other than to show or delete it.
    """

    def __init__(self, database: Database, intake: Intake, writing: LetterWriting) -> None:
        self._database = database
        self._writing = writing
        self._listing = LetterListing(database)
        self._retrying = LetterRetrying(database, intake, writing)

    # -- Looking at them ---------------------------------------------------------------------------

    def get(self, letter_id: str) -> DeadLetter | None:
        """Return a letter."""
        return self._listing.get(letter_id)

    def beginning(self, prefix: str) -> list[DeadLetter]:
        """Return the letters whose ids begin so, newest failure first.

        Args:
            prefix: Written as ids are: in lower case, with their hyphens.
        """
        return self._listing.beginning(prefix)

    def page(
        self, which: LetterFilter, *, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[DeadLetter], str | None]:
        """Return letters, newest failure first, and the cursor of the next page if there is one.

        Raises:
            UsageError: The cursor is not one of ours, the limit is below 1, or there are too many
                ids.
        """
        return self._listing.page(which, limit, cursor)

    def each(self, which: LetterFilter) -> Iterator[DeadLetter]:
        """Yield letters, oldest failure first, with no transaction open in between.

        Letters that fail again meanwhile are not yielded for that.

        Raises:
            UsageError: There are too many ids.
        """
        return self._listing.each(which)

    def count(self, which: LetterFilter) -> int:
        """Return how many letters there are.

        Raises:
            UsageError: There are too many ids.
        """
        return self._listing.count(which)

    def counts(self) -> dict[LetterStatus, int]:
        """Return how many letters are in each state, in every one of them."""
        return self._listing.counts()

    def groups(self, which: LetterFilter) -> list[LetterGroup]:
        """Return letters by what has caused them, the most frequent cause first.

        Raises:
            UsageError: There are too many ids.
        """
        return self._listing.groups(which)

    # -- Retrying them -----------------------------------------------------------------------------

    def retry(self, retries: Sequence[LetterRetry]) -> list[tuple[Job, bool]]:
        """Submit jobs, and mark the letters that they try again as `retrying`: all, or nothing.

        Letters that are no longer open stay as they are. Of two that retry the same letters at
        once, one gets a job.

        Returns:
            What `Store.submit_many` would, in the order of `retries`; those left out of whose
            letters none was open any more.

        Raises:
            UsageError: As `Store.submit_many`.
        """
        return self._retrying.retry(retries) if retries else []

    def schedule(self, times: Mapping[str, datetime], *, asked: bool) -> int:
        """Say when open letters are due, by id; return of how many that could be said.

        Args:
            asked: Whether a person wants it.
        """
        due = [
            {"letter_id": letter_id, "due_at": to_micros(at), "is_asked": int(asked)}
            for letter_id, at in times.items()
        ]
        scheduled = 0
        rest = iter(due)
        while some := list(islice(rest, _LETTERS_AT_ONCE)):
            with self._database.write() as connection:
                ids = [str(each["letter_id"]) for each in some]
                self._writing.lock(connection, collections_of(connection, ids))
                scheduled += connection.execute(dead_letters_sql.SCHEDULE, some).rowcount
        return scheduled

    def due(self, limit: int) -> list[DeadLetter]:
        """Return the open letters whose time has come, oldest due first."""
        return self._listing.due(limit)

    def unscheduled(
        self,
        categories: Collection[FailureCategory],
        below: Mapping[FailureCategory, int],
        limit: int,
    ) -> list[DeadLetter]:
        """Return open letters that nobody has given a time.

        Args:
            categories: Only of these.
            below: Only those of fewer failed retries than this, by category.
            limit: So many at most.
        """
        asked = {category: most for category, most in below.items() if category in categories}
        return self._listing.unscheduled(asked, limit)

    # -- Putting them away -------------------------------------------------------------------------

    def archive(self, which: LetterFilter) -> int:
        """Close open letters without a retry, and return how many."""
        return self._in_batches(which, (LetterStatus.OPEN,), dead_letters_sql.ARCHIVE)

    def delete(self, which: LetterFilter) -> int:
        """Delete letters for good, but none that is being retried; return how many."""
        deletable = tuple(each for each in LetterStatus if each is not LetterStatus.RETRYING)
        return self._in_batches(which, deletable, dead_letters_sql.DELETE)

    def expire(self, before: datetime) -> int:
        """Delete the letters that were closed before this time, and return how many."""
        given = {"before": to_micros(before), "at_most": _LETTERS_AT_ONCE}
        expired = 0
        while True:
            with self._database.write() as connection:
                now = connection.execute(dead_letters_sql.EXPIRE, given).rowcount
            expired += now
            if now < _LETTERS_AT_ONCE:
                return expired

    # -- Telling of them ---------------------------------------------------------------------------

    def to_notify(self, never_again: Mapping[FailureCategory, int], limit: int) -> list[DeadLetter]:
        """Return open letters that nobody will retry and of which nobody has been told.

        Args:
            never_again: Failed retries after which no other one comes, by category.
            limit: So many at most.
        """
        return self._listing.untold(never_again, limit)

    def notified(self, letter_id: str) -> None:
        """Say that somebody was told; once a retry has failed, it is to be told again."""
        self._say(dead_letters_sql.NOTIFIED, letter_id, now=self._database.now())

    def notify_later(self, letter_id: str, seconds: float) -> None:
        """Say that nobody could be told, and that it is to be tried again in so many seconds."""
        not_before = self._database.after(seconds)
        self._say(dead_letters_sql.NOTIFY_LATER, letter_id, not_before=not_before)

    # -- Written from outside ----------------------------------------------------------------------

    def address_rows(
        self, claim: Claim, collection: str, *, origin: str, ids: Iterable[str]
    ) -> None:
        """Close the letters of rows that have not failed in this job, but did in an earlier one.

        Those of its own table, and of any table those of which the collection has a vector now.

        Args:
            claim: Of the embedding job, which has done all its work.
            collection: Where its rows are.
            origin: Its table.
            ids: Of its rows that have vectors; asked only where letters of rows stand open.
        """
        self._writing.address_rows(claim, collection, origin=origin, ids=ids)

    def add(self, kind: str, collection: str, job_id: str, failures: Sequence[NewFailure]) -> None:
        """Record failures of something that the store does not itself know.

        A letter that stands for one of them gets one attempt more.
        """
        with self._database.write() as connection:
            self._writing.record(connection, kind, collection, job_id, failures)

    def _in_batches(
        self, which: LetterFilter, statuses: tuple[LetterStatus, ...], change: Update | Delete
    ) -> int:
        asked = which.statuses or tuple(LetterStatus)
        changing = tuple(status for status in asked if status in statuses)
        if not changing:
            return 0
        which = replace(which, statuses=changing)
        query = letter_listing_sql.some_ids(
            conditions_of(which), statuses_of(which), _LETTERS_AT_ONCE
        )
        changed = 0
        while True:
            with self._database.write() as connection:
                ids = list(connection.execute(query).scalars())
                if not ids:
                    return changed
                self._writing.lock(connection, collections_of(connection, ids))
                given: dict[str, object] = {"letter_ids": ids}
                if isinstance(change, Update):
                    given["now"] = self._database.now()
                changed += connection.execute(change, given).rowcount

    def _say(self, change: Update, letter_id: str, **given: int) -> None:
        with self._database.write() as connection:
            connection.execute(change, {"letter_id": storable(letter_id), **given})
