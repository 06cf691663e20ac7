"""The durable store: jobs, their units, the ledger of documents, dead letters, and turns.

This page has the promises, and `job_store` those of jobs and turns; each duty's code is in the file
of its name (`intake`, `queue`, `lifecycle`, `ending`, `listing`, `units`, `ledger`, `turns`), its
SQL in `jobs_sql`, `units_sql` and `ledger_sql`. `dead_letters` has the promises of those; they are
written in `letter_writing`, retried in `letter_retrying` and read in `letter_listing`, with their
SQL in `dead_letters_sql` and `letter_listing_sql`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from lexigram_ray.core.types import FileStamp
from lexigram_ray.jobs.job_store import JobStore
from lexigram_ray.jobs.records import (
    Claim,
    LedgerEntry,
    UnitResult,
    UnitRow,
    UnitTotals,
)

if TYPE_CHECKING:
    from lexigram_ray.jobs.access_tokens import AccessTokens
    from lexigram_ray.jobs.audit_log import AuditLog
    from lexigram_ray.jobs.database import Database
    from lexigram_ray.jobs.dead_letters import DeadLetters
    from lexigram_ray.jobs.intents import Intended
    from lexigram_ray.jobs.job_events import JobEvents
    from lexigram_ray.jobs.metrics_store import Metrics
    from lexigram_ray.jobs.schedules import Schedules


class Store(JobStore):
    """Everything that must survive a crash, in one database.

    Any process and thread may use the same store at once: of this machine with SQLite, of any with
    PostgreSQL. What a method writes is durable when it returns; it is all written, or nothing is.

    Every method that takes a `Claim` raises LeaseLostError, and writes nothing, unless the claim
    is the job's latest and the job is running. Every method raises DiskFullError when no space is
    left, and StoreUnreachableError when the database is locked for too long, damaged or gone.
    """

    def __init__(self, database: Database, store_id: str) -> None:
        # SQLAlchemy takes longer to import than all else that a cold command needs.
        from lexigram_ray.jobs.access_tokens import AccessTokens
        from lexigram_ray.jobs.audit_log import AuditLog
        from lexigram_ray.jobs.dead_letters import DeadLetters
        from lexigram_ray.jobs.ledger import Ledger
        from lexigram_ray.jobs.units import Units

        super().__init__(database)
        self._store_id = store_id
        self._units = Units(database, self._letters)
        self._ledger = Ledger(database, self._units, self._letters)
        self._dead_letters = DeadLetters(database, self._intake, self._letters)
        self._tokens = AccessTokens(database)
        self._audit = AuditLog(database)

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], float] = time.time) -> Store:
        """Open a store; make it, or bring it up to date, where needed.

        Args:
            url: `sqlite:///` and a path, or `postgresql://`.
            clock: Returns seconds since the epoch.

        Raises:
            ConfigError: The URL names no file or database, or the database's driver is missing.
            StoreUnreachableError: The store cannot be opened, lies on a network file system, is
                damaged, another program's, or of a newer version.
            DiskFullError: No space is left.
        """
        from lexigram_ray.jobs.migrations import opened

        return cls(*opened(url, clock))

    @classmethod
    def open_existing(cls, url: str, *, clock: Callable[[], float] = time.time) -> Store | None:
        """Open a store, and bring it up to date; None, with nothing made, where there is none.

        Raises:
            ConfigError, StoreUnreachableError, DiskFullError: As `open`.
        """
        from lexigram_ray.jobs.database import Database
        from lexigram_ray.jobs.migrations import migrate

        database = Database(url, clock)
        try:
            if database.exists():
                return cls(database, migrate(database))
        except BaseException:
            database.close()
            raise
        database.close()
        return None

    @property
    def store_id(self) -> str:
        """The store's own id: 32 random hex digits, made with it."""
        return self._store_id

    @property
    def dead_letters(self) -> DeadLetters:
        """The failures that outlived their jobs; written by the methods that record failures."""
        return self._dead_letters

    @property
    def tokens(self) -> AccessTokens:
        """Who may use the HTTP service."""
        return self._tokens

    @property
    def audit(self) -> AuditLog:
        """Who has changed what through the HTTP service."""
        return self._audit

    @property
    def metrics(self) -> Metrics:
        """What all jobs have done, by minute, hour and day; each that has ended counts once."""
        from lexigram_ray.jobs.metrics_store import Metrics

        return Metrics(self._database)

    @property
    def schedules(self) -> Schedules:
        """When maintenance runs, and what became of it."""
        from lexigram_ray.jobs.schedules import Schedules

        return Schedules(self._database, self._intake, self._letters, self._queue)

    @property
    def events(self) -> JobEvents:
        """What happened to jobs; written by the methods that change them."""
        from lexigram_ray.jobs.job_events import JobEvents

        return JobEvents(self._database)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- Units -------------------------------------------------------------------------------------

    def add_units(self, claim: Claim, units: Iterable[tuple[str, str]]) -> None:
        """Add (unit id, source) pairs; those that are there already stay as they are."""
        self._units.add(claim, units)

    def units(self, job_id: str) -> list[UnitRow]:
        """Return all units of a job, in the order of their ids."""
        return self._units.of_job(job_id)

    def done_units(self, job_id: str) -> set[str]:
        """Return the ids of a job's units that are done."""
        return self._units.done(job_id)

    def failed_units(self, job_id: str, *, limit: int) -> list[UnitRow]:
        """Return the first failed units of a job, in the order of their ids."""
        return self._units.failed(job_id, limit)

    def failed_ids(self, job_id: str, *, prefix: str) -> list[str]:
        """Return the ids of a job's failed units that begin so."""
        return self._units.failed_ids(job_id, prefix)

    def unit_totals(self, job_id: str) -> UnitTotals:
        """Return what the finished units of a job add up to, over all its attempts."""
        return self._units.totals(job_id)

    def unit_crashed(self, claim: Claim, unit_ids: Sequence[str]) -> dict[str, int]:
        """Count a worker's death against each unit that it had, and return all their counts."""
        return self._units.crashed(claim, unit_ids)

    def finish_units(self, claim: Claim, results: Sequence[UnitResult]) -> None:
        """Record how units ended that leave the ledger as it is: unchanged documents, say."""
        self._units.finish(claim, results)

    # -- The ledger --------------------------------------------------------------------------------

    def ledger(self, collection: str) -> dict[str, LedgerEntry]:
        """Return everything known of a collection's documents, by document id."""
        return self._ledger.of_collection(collection)

    def ledger_entries(self, collection: str, ids: Iterable[str]) -> dict[str, LedgerEntry]:
        """Return what is known of some documents, by document id; unknown ones are left out."""
        return self._ledger.entries(collection, ids)

    def has_ledger(self, collection: str) -> bool:
        """Return whether anything is known of a collection."""
        return self._ledger.exists(collection)

    def ledger_collections(self) -> list[str]:
        """Return the names of all collections of which anything is known, sorted."""
        return self._ledger.collections()

    def known_contents(self, collection: str, chunker: str, model: str) -> set[str]:
        """Return the content hashes of all documents that are `done` with these settings."""
        return self._ledger.known_contents(collection, chunker, model)

    def record_intent(
        self,
        claim: Claim,
        entries: Sequence[LedgerEntry],
        replaced: Mapping[str, int] | None = None,
    ) -> frozenset[str]:
        """Say, before it happens, that the table's rows of these documents are about to change.

        Each becomes `writing` with `had_intent`, whatever the ledger said before: `intend` is for
        whoever has decided on that. The last intent of a document is the one that counts: that of
        an earlier job no longer stands.

        Args:
            replaced: Rows that the table holds of a document now; kept with its unit at this job's
                first intent, and ignored later.

        Returns:
            Ids of documents for which an intent had been recorded before.
        """
        return self._ledger.record_intent(claim, entries, replaced or {})

    def intend(
        self,
        claim: Claim,
        entries: Sequence[LedgerEntry],
        replaced: Mapping[str, int] | None = None,
        *,
        seen: Mapping[str, LedgerEntry],
    ) -> Intended:
        """Record intents as `record_intent` does, where the ledger still says what was seen.

        Args:
            claim: Of the job that intends it.
            entries: Of one collection.
            replaced: As for `record_intent`.
            seen: What the decision was made on, by document id; the ledger did not know the others.
        """
        return self._ledger.intend(claim, entries, replaced or {}, seen)

    def mark_done(
        self, claim: Claim, entries: Sequence[LedgerEntry], results: Sequence[UnitResult]
    ) -> frozenset[str]:
        """Say that the table verifiably holds these documents, and that their units are done.

        Returns:
            Ids of documents whose ledger entries stay as they are, because this job's intent no
            longer stands: another job has recorded its own since, or the collection was dropped.
            The table may hold either job's rows. Where that matters, start again from the intent.
        """
        return self._ledger.mark_done(claim, entries, results)

    def mark_outcome(
        self, claim: Claim, entries: Sequence[LedgerEntry], results: Sequence[UnitResult]
    ) -> frozenset[str]:
        """Say that documents were skipped or failed, and their units too.

        `chunks` of an entry says what rows the table still has of the document. An intent once
        recorded stays recorded, whatever `had_intent` says here.

        Returns:
            Ids of documents whose ledger entries stay as they are, because another unfinished job
            intends to write them.

        Raises:
            ValueError: An entry is neither skipped nor failed.
        """
        return self._ledger.mark_outcome(claim, entries, results)

    def mark_removed(
        self, claim: Claim, collection: str, document_ids: Sequence[str]
    ) -> frozenset[str]:
        """Say that the table holds no row any more of documents that this job meant to remove.

        Returns:
            Ids of those of which it is so. The others stay as they are, because this job's intent
            no longer stands: another job has written something about them since.
        """
        return self._ledger.mark_removed(claim, collection, document_ids)

    def touch(
        self, claim: Claim, collection: str, entries: Sequence[tuple[str, FileStamp, int]]
    ) -> None:
        """Give documents of unchanged content their new stamps.

        Args:
            claim: Of the job that looked.
            collection: Where the documents are.
            entries: Document id, stamp, and when the stamp was taken in nanoseconds. A look older
                than the one on record is ignored, and so is one at a document being written.
        """
        self._ledger.touch(claim, collection, entries)

    def forget_collection(self, collection: str, *, keep_letters: bool = False) -> int:
        """Forget all documents of a collection that was dropped, and return how many.

        What its unfinished jobs have done counts no more: they do it again.

        Args:
            collection: Of any name, whether or not it was there.
            keep_letters: Whether it is about to be made anew: what has failed may still be retried.
                Else all its dead letters are closed.
        """
        return self._ledger.forget(collection, keep_letters=keep_letters)
