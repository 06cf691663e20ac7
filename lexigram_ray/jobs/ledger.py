"""The ledger: for each document of a collection, what its rows in the table are, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from lexigram_ray.core.types import FailureCategory, FileStamp
from lexigram_ray.jobs import fence, ledger_looks, ledger_sql, letter_writing
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.intents import Intended, says_the_same
from lexigram_ray.jobs.ledger_rows import done_row, entries_of, row_of, stamp_columns
from lexigram_ray.jobs.letter_records import NewFailure, Subject
from lexigram_ray.jobs.letter_writing import LetterWriting
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState, UnitResult
from lexigram_ray.jobs.units import Units


class Ledger:
    """Reads and writes the ledger. `Store` documents the promises."""

    def __init__(self, database: Database, units: Units, letters: LetterWriting) -> None:
        self._database = database
        self._units = units
        self._letters = letters

    def of_collection(self, collection: str) -> dict[str, LedgerEntry]:
        """Return all entries of a collection by document id."""
        with self._database.read() as connection:
            rows = connection.execute(ledger_sql.LEDGER, {"collection": collection}).all()
        return {entry.document_id: entry for entry in entries_of(rows)}

    def entries(self, collection: str, document_ids: Iterable[str]) -> dict[str, LedgerEntry]:
        """Return the entries of some documents by document id; unknown ones are left out."""
        with self._database.read() as connection:
            return ledger_looks.entries_now(connection, {collection: list(document_ids)})

    def exists(self, collection: str) -> bool:
        """Return whether anything is known of a collection."""
        with self._database.read() as connection:
            asked = {"collection": collection}
            return bool(connection.execute(ledger_sql.HAS_LEDGER, asked).scalar_one())

    def collections(self) -> list[str]:
        """Return the names of all collections of which anything is known, sorted."""
        with self._database.read() as connection:
            return sorted(connection.execute(ledger_sql.LEDGER_COLLECTIONS).scalars())

    def known_contents(self, collection: str, chunker: str, model: str) -> set[str]:
        """Return the hashes of all contents whose rows are in the table."""
        asked = {"collection": collection, "chunker": chunker, "model": model}
        with self._database.read() as connection:
            return set(connection.execute(ledger_sql.KNOWN_CONTENTS, asked).scalars())

    def record_intent(
        self, claim: Claim, entries: Sequence[LedgerEntry], replaced: Mapping[str, int]
    ) -> frozenset[str]:
        """Say that the table is about to change, and return who had an intent before."""
        with self._database.write() as connection:
            self._hold(connection, claim, *(entry.collection for entry in entries))
            if not entries:
                return frozenset()
            intended_before = ledger_looks.ever_intended(connection, entries)
            self._write_intents(connection, claim, entries, replaced)
        return intended_before

    def intend(
        self,
        claim: Claim,
        entries: Sequence[LedgerEntry],
        replaced: Mapping[str, int],
        seen: Mapping[str, LedgerEntry],
    ) -> Intended:
        """Say that the table is about to change, of documents that are as they were seen."""
        with self._database.write() as connection:
            # Nobody else writes to the ledger from here on: what is compared is what is replaced.
            self._hold(connection, claim, *(entry.collection for entry in entries))
            now = ledger_looks.entries_now(connection, ledger_looks.ids_by_collection(entries))
            standing = [
                entry
                for entry in entries
                if says_the_same(now.get(entry.document_id), seen.get(entry.document_id))
            ]
            if not standing:
                return Intended()
            recorded = frozenset(entry.document_id for entry in standing)
            counts = {each: rows for each, rows in replaced.items() if each in recorded}
            self._write_intents(connection, claim, standing, counts)
        before = frozenset(each for each in recorded if each in now and now[each].had_intent)
        return Intended(recorded=recorded, before=before)

    def _write_intents(
        self,
        connection: Connection,
        claim: Claim,
        entries: Sequence[LedgerEntry],
        replaced: Mapping[str, int],
    ) -> None:
        now = self._database.now()
        rows = [
            row_of(entry, claim, now) | {"state": LedgerState.WRITING.value, "had_intent": 1}
            for entry in entries
        ]
        connection.execute(ledger_sql.record_intent(self._database.insert_into), rows)
        self._units.note_replaced(connection, claim, replaced)

    def mark_done(
        self, claim: Claim, entries: Sequence[LedgerEntry], results: Sequence[UnitResult]
    ) -> frozenset[str]:
        """Say that the table holds these documents, and that their units are done."""
        now = self._database.now()
        rows = [done_row(entry, claim, now) for entry in entries]
        with self._database.write() as connection:
            self._hold(connection, claim, *(entry.collection for entry in entries))
            self._units.write(connection, claim, results)
            if not rows:
                return frozenset()
            written = connection.execute(ledger_sql.MARK_DONE, rows).rowcount
            overtaken = ledger_looks.overtaken(
                connection, claim, entries, written, (LedgerState.DONE,)
            )
            self._address(connection, entries, overtaken, letter_writing.SUCCEEDED)
        return overtaken

    def mark_outcome(
        self, claim: Claim, entries: Sequence[LedgerEntry], results: Sequence[UnitResult]
    ) -> frozenset[str]:
        """Say that documents were skipped or failed, and their units too."""
        now = self._database.now()
        states = (LedgerState.SKIPPED, LedgerState.FAILED)
        wrong = next((entry for entry in entries if entry.state not in states), None)
        if wrong is not None:
            raise ValueError(f"{wrong.source} is {wrong.state}, neither skipped nor failed")
        rows = [row_of(entry, claim, now) | {"by_job": claim.job_id} for entry in entries]
        with self._database.write() as connection:
            self._hold(connection, claim, *(entry.collection for entry in entries))
            self._units.write(connection, claim, results)
            if not rows:
                return frozenset()
            query = ledger_sql.mark_outcome(self._database.insert_into)
            written = connection.execute(query, rows).rowcount
            overtaken = ledger_looks.overtaken(connection, claim, entries, written, states)
            skipped = [entry for entry in entries if entry.state is LedgerState.SKIPPED]
            self._address(connection, skipped, overtaken, letter_writing.SKIPPED)
            self._letters.failed(connection, claim.job_id, _failures(entries, results))
        return overtaken

    def mark_removed(
        self, claim: Claim, collection: str, document_ids: Sequence[str]
    ) -> frozenset[str]:
        """Say that the table holds no row of these documents any more."""
        now = self._database.now()
        rows = [
            {
                "in_collection": collection,
                "of_document": document_id,
                "by_job": claim.job_id,
                "now": now,
            }
            for document_id in document_ids
        ]
        with self._database.write() as connection:
            self._hold(connection, claim, collection)
            if not rows:
                return frozenset()
            written = connection.execute(ledger_sql.MARK_REMOVED, rows).rowcount
            removed = frozenset(document_ids)
            if written != len(rows):
                states = (LedgerState.REMOVED,)
                removed = ledger_looks.standing(
                    connection, claim, {collection: list(document_ids)}, states
                )
            self._letters.address_documents(
                connection, collection, sorted(removed), letter_writing.REMOVED
            )
        return removed

    def touch(
        self, claim: Claim, collection: str, entries: Sequence[tuple[str, FileStamp, int]]
    ) -> None:
        """Give documents whose content is unchanged their files' new stamps."""
        now = self._database.now()
        rows = [
            {
                "in_collection": collection,
                "of_document": document_id,
                "new_checked_at_ns": checked_at_ns,
                "now": now,
            }
            | {f"new_{name}": value for name, value in stamp_columns(stamp).items()}
            for document_id, stamp, checked_at_ns in entries
        ]
        with self._database.write() as connection:
            self._hold(connection, claim, collection)
            if rows:
                connection.execute(ledger_sql.TOUCH, rows)

    def forget(self, collection: str, *, keep_letters: bool) -> int:
        """Delete all entries of a collection, and return how many there were."""
        with self._database.write() as connection:
            self._letters.lock(connection, [collection])
            given = {"in_collection": collection}
            connection.execute(ledger_sql.FORGET_UNITS, given)
            forgotten = connection.execute(ledger_sql.FORGET_COLLECTION, given).rowcount
            if not keep_letters:
                self._letters.collection_dropped(connection, collection)
        return forgotten

    def _hold(self, connection: Connection, claim: Claim, *collections: str) -> None:
        """Hold the claim, and be the only one who writes to these collections' ledgers.

        Else two jobs could each find no intent of the other, and both add a document's rows; or
        wait for each other's documents.
        """
        fence.hold(connection, claim)
        self._letters.lock(connection, collections)

    def _address(
        self,
        connection: Connection,
        entries: Sequence[LedgerEntry],
        overtaken: frozenset[str],
        how: str,
    ) -> None:
        """Close the letters of documents, but of those that another job is to write."""
        ids: dict[str, list[str]] = {}
        for entry in entries:
            if entry.document_id not in overtaken:
                ids.setdefault(entry.collection, []).append(entry.document_id)
        for collection, document_ids in ids.items():
            self._letters.address_documents(connection, collection, document_ids, how)


def _failures(entries: Sequence[LedgerEntry], results: Sequence[UnitResult]) -> list[NewFailure]:
    """Return the failures of documents, with all that their units know of them."""
    told = {each.letter.subject_id: each.letter for each in results if each.letter is not None}
    failed = [entry for entry in entries if entry.state is LedgerState.FAILED]
    return [told.get(entry.document_id) or _failure(entry) for entry in failed]


def _failure(entry: LedgerEntry) -> NewFailure:
    return NewFailure(
        subject=Subject.DOCUMENT,
        subject_id=entry.document_id,
        source=entry.source,
        origin=entry.source,
        category=entry.category or FailureCategory.UNKNOWN,
        code=entry.code,
        error=entry.reason,
    )
