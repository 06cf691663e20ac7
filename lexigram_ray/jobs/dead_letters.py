"""What the store promises of dead letters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from sqlalchemy import Delete, Select, Update

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs import dead_letters_sql, letter_listing_sql
from lexigram_ray.jobs.database import Database, to_micros
from lexigram_ray.jobs.intake import Intake
from lexigram_ray.jobs.letter_figures import GivenUp, LetterFigure, figures_of, given_up_in
from lexigram_ray.jobs.letter_listing import LetterListing, conditions_of
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
        """Return the newest letters whose ids begin so, `MOST_BEGINNING` of them at most.

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

    def figures(self) -> list[LetterFigure]:
        """Return how many letters there are, closed ones too, by what tells their fate."""
        with self._database.read() as connection:
            return figures_of(connection)

    def given_up(self, limits: Mapping[FailureCategory, int]) -> list[GivenUp]:
        """Return the open letters that nobody retries, oldest failure first, by their ids.

        Args:
            limits: Failed retries after which no other one comes, by category.
        """
        with self._database.read() as connection:
            return given_up_in(connection, limits)

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

    def schedule(
        self, times: Mapping[str, datetime | None], *, asked: bool, counted: bool = False
    ) -> int:
        """Say when open letters are due, by id; return of how many that could be said.

        Args:
            times: None takes a letter's time from it: nobody has decided to retry it any more.
            asked: Whether a person wants it. Whoever is none leaves a person's times as they are.
            counted: Whether this ends a retry that failed before it had a job.
        """
        due = [
            {
                "letter_id": letter_id,
                "due_at": None if at is None else to_micros(at),
                "is_asked": int(asked and at is not None),
                "by_person": int(asked),
                "failed_retries": int(counted),
            }
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

    def due(self, limit: int, *, asked: bool) -> list[DeadLetter]:
        """Return the open letters whose time has come, oldest due first.

        Args:
            limit: So many at most.
            asked: Whether those that a person wants to be retried, or the other ones.
        """
        return self._listing.due(limit, asked=asked)

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

    def notified(self, letter: DeadLetter) -> None:
        """Say that somebody was told; once a retry has failed, it is to be told again.

        Args:
            letter: As it was told: where it has failed since, nothing is said of that.
        """
        self._say(dead_letters_sql.NOTIFIED, letter, now=self._database.now())

    def notify_later(self, letter: DeadLetter, seconds: float) -> None:
        """Say that nobody could be told, and that it is to be tried again in so many seconds.

        Args:
            letter: As it was to be told, as for `notified`.
            seconds: From now on.
        """
        not_before = self._database.after(seconds)
        self._say(dead_letters_sql.NOTIFY_LATER, letter, not_before=not_before)

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
        changing = tuple(status for status in which.statuses if status in statuses)
        if not changing:
            return 0
        query = letter_listing_sql.OLDEST_IDS.where(*conditions_of(which))
        until = self._listing.until()
        return sum(self._of_status(query, status, until, change) for status in changing)

    def _of_status(
        self,
        query: Select[str, int],
        status: LetterStatus,
        until: int,
        change: Update | Delete,
    ) -> int:
        """Change all letters of a state, in the order of their failures: none is met twice."""
        asked = {"of_status": status.value, "until": until, "at_most": _LETTERS_AT_ONCE}
        seen: dict[str, object] = {"seen_at": -1, "seen": ""}
        changed = 0
        while True:
            with self._database.write() as connection:
                rows = connection.execute(query, asked | seen).all()
                if not rows:
                    return changed
                ids = [row.id for row in rows]
                self._writing.lock(connection, collections_of(connection, ids))
                given: dict[str, object] = {"letter_ids": ids}
                if isinstance(change, Update):
                    given["now"] = self._database.now()
                else:
                    given["of_status"] = status.value
                changed += connection.execute(change, given).rowcount
            seen = {"seen_at": rows[-1].last_failed_at, "seen": rows[-1].id}

    def _say(self, change: Update, letter: DeadLetter, **given: int) -> None:
        seen_at = to_micros(letter.last_failed_at)
        with self._database.write() as connection:
            connection.execute(change, {"letter_id": letter.id, "seen_at": seen_at, **given})
