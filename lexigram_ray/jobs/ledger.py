"""The ledger: for each document of a collection, what its rows in the table are, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.core.types import FailureCategory, FileStamp
from lexigram_ray.jobs import fence, ledger_sql
from lexigram_ray.jobs.database import Database, from_micros, storable
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState, UnitResult
from lexigram_ray.jobs.units import Units

# Well below the variables that SQLite (32,766) and PostgreSQL (65,535) take in one statement.
_IDS_A_QUERY = 1000
_STATES = {state.value: state for state in LedgerState}
_TWO_64 = 1 << 64
_TWO_63 = 1 << 63


class Ledger:
    """Reads and writes the ledger. `Store` documents the promises."""

    def __init__(self, database: Database, units: Units) -> None:
        self._database = database
        self._units = units

    def of_collection(self, collection: str) -> dict[str, LedgerEntry]:
        """Return all entries of a collection by document id."""
        with self._database.read() as connection:
            rows = connection.execute(ledger_sql.LEDGER, {"collection": collection}).all()
        return {entry.document_id: entry for entry in _entries(rows)}

    def entries(self, collection: str, document_ids: Iterable[str]) -> dict[str, LedgerEntry]:
        """Return the entries of some documents by document id; unknown ones are left out."""
        found: dict[str, LedgerEntry] = {}
        with self._database.read() as connection:
            for some in _batches(list(document_ids)):
                asked = {"collection": collection, "document_ids": some}
                rows = connection.execute(ledger_sql.LEDGER_ENTRIES, asked).all()
                found |= {entry.document_id: entry for entry in _entries(rows)}
        return found

    def exists(self, collection: str) -> bool:
        """Return whether anything is known of a collection."""
        with self._database.read() as connection:
            asked = {"collection": collection}
            return bool(connection.execute(ledger_sql.HAS_LEDGER, asked).scalar_one())

    def known_contents(self, collection: str, chunker: str, model: str) -> set[str]:
        """Return the hashes of all contents whose rows are in the table."""
        asked = {"collection": collection, "chunker": chunker, "model": model}
        with self._database.read() as connection:
            return set(connection.execute(ledger_sql.KNOWN_CONTENTS, asked).scalars())

    def record_intent(
        self, claim: Claim, entries: Sequence[LedgerEntry], replaced: Mapping[str, int]
    ) -> frozenset[str]:
        """Say that the table is about to change, and return who had an intent before."""
        now = self._database.now()
        rows = [
            _row(entry, claim, now) | {"state": LedgerState.WRITING.value, "had_intent": 1}
            for entry in entries
        ]
        with self._database.write() as connection:
            self._hold(connection, claim, *(entry.collection for entry in entries))
            if not rows:
                return frozenset()
            intended_before = _ever_intended(connection, entries)
            connection.execute(ledger_sql.record_intent(self._database.insert_into), rows)
            self._units.note_replaced(connection, claim, replaced)
        return intended_before

    def mark_done(
        self, claim: Claim, entries: Sequence[LedgerEntry], results: Sequence[UnitResult]
    ) -> frozenset[str]:
        """Say that the table holds these documents, and that their units are done."""
        now = self._database.now()
        rows = [_done(entry, claim, now) for entry in entries]
        with self._database.write() as connection:
            self._hold(connection, claim, *(entry.collection for entry in entries))
            self._units.write(connection, claim, results)
            if not rows:
                return frozenset()
            written = connection.execute(ledger_sql.MARK_DONE, rows).rowcount
            return _overtaken(connection, claim, entries, written, (LedgerState.DONE,))

    def mark_outcome(
        self, claim: Claim, entries: Sequence[LedgerEntry], results: Sequence[UnitResult]
    ) -> frozenset[str]:
        """Say that documents were skipped or failed, and their units too."""
        now = self._database.now()
        states = (LedgerState.SKIPPED, LedgerState.FAILED)
        wrong = next((entry for entry in entries if entry.state not in states), None)
        if wrong is not None:
            raise ValueError(f"{wrong.source} is {wrong.state}, neither skipped nor failed")
        rows = [_row(entry, claim, now) | {"by_job": claim.job_id} for entry in entries]
        with self._database.write() as connection:
            self._hold(connection, claim, *(entry.collection for entry in entries))
            self._units.write(connection, claim, results)
            if not rows:
                return frozenset()
            query = ledger_sql.mark_outcome(self._database.insert_into)
            written = connection.execute(query, rows).rowcount
            return _overtaken(connection, claim, entries, written, states)

    def mark_removed(self, claim: Claim, collection: str, document_ids: Sequence[str]) -> None:
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
            if rows:
                connection.execute(ledger_sql.MARK_REMOVED, rows)

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
            | {f"new_{name}": value for name, value in _stamp_columns(stamp).items()}
            for document_id, stamp, checked_at_ns in entries
        ]
        with self._database.write() as connection:
            self._hold(connection, claim, collection)
            if rows:
                connection.execute(ledger_sql.TOUCH, rows)

    def forget(self, collection: str) -> int:
        """Delete all entries of a collection, and return how many there were."""
        with self._database.write() as connection:
            self._database.lock(connection, f"ledger:{collection}")
            given = {"in_collection": collection}
            connection.execute(ledger_sql.FORGET_UNITS, given)
            return connection.execute(ledger_sql.FORGET_COLLECTION, given).rowcount

    def _hold(self, connection: Connection, claim: Claim, *collections: str) -> None:
        """Hold the claim, and be the only one who writes to these collections' ledgers.

        Else two jobs could each find no intent of the other, and both add a document's rows; or
        wait for each other's documents.
        """
        fence.hold(connection, claim)
        for collection in sorted(set(collections)):
            self._database.lock(connection, f"ledger:{collection}")


def _ever_intended(connection: Connection, entries: Sequence[LedgerEntry]) -> frozenset[str]:
    """Return the documents for which an intent was recorded before."""
    found: set[str] = set()
    for asked in _by_collection(entries):
        found |= set(connection.execute(ledger_sql.EVER_INTENDED, asked).scalars())
    return frozenset(found)


def _overtaken(
    connection: Connection,
    claim: Claim,
    entries: Sequence[LedgerEntry],
    written: int,
    states: Sequence[LedgerState],
) -> frozenset[str]:
    """Return the documents whose entries another job holds, or that were forgotten meanwhile."""
    if written == len(entries):
        return frozenset()
    standing: set[str] = set()
    for asked in _by_collection(entries):
        asked |= {"by_job": claim.job_id, "states": [state.value for state in states]}
        standing |= set(connection.execute(ledger_sql.STANDING_AS_WRITTEN, asked).scalars())
    return frozenset({entry.document_id for entry in entries} - standing)


def _by_collection(entries: Sequence[LedgerEntry]) -> Iterator[dict[str, object]]:
    """Yield parameters that together name all documents of `entries`."""
    ids: dict[str, list[str]] = {}
    for entry in entries:
        ids.setdefault(entry.collection, []).append(entry.document_id)
    for collection, document_ids in ids.items():
        for some in _batches(document_ids):
            yield {"collection": collection, "document_ids": some}


def _batches(ids: list[str]) -> Iterator[list[str]]:
    return (ids[start : start + _IDS_A_QUERY] for start in range(0, len(ids), _IDS_A_QUERY))


def _row(entry: LedgerEntry, claim: Claim, now: int) -> dict[str, object]:
    return {
        "collection": entry.collection,
        "document_id": entry.document_id,
        "source": storable(entry.source),
        "state": entry.state.value,
        **_stamp_columns(entry.stamp),
        "checked_at_ns": entry.checked_at_ns,
        "content_hash": entry.content_hash,
        "chunker": entry.chunker,
        "model": entry.model,
        "parser": entry.parser,
        "chunks": entry.chunks,
        "chunks_digest": entry.chunks_digest,
        "job_id": claim.job_id,
        "category": None if entry.category is None else entry.category.value,
        "code": entry.code,
        "reason": storable(entry.reason),
        "had_intent": int(entry.had_intent),
        "updated_at": now,
    }


def _done(entry: LedgerEntry, claim: Claim, now: int) -> dict[str, object]:
    row = _row(entry, claim, now) | {"state": LedgerState.DONE.value}
    key = {
        "in_collection": entry.collection,
        "of_document": entry.document_id,
        "by_job": claim.job_id,
    }
    return {f"new_{name}": value for name, value in row.items()} | key


def _stamp_columns(stamp: FileStamp | None) -> dict[str, int | None]:
    if stamp is None:
        return {"size": None, "mtime_ns": None, "ctime_ns": None, "inode": None}
    # Inode numbers are unsigned in some file systems, and no database's integers are.
    inode = stamp.inode - _TWO_64 if stamp.inode >= _TWO_63 else stamp.inode
    return {
        "size": stamp.size,
        "mtime_ns": stamp.mtime_ns,
        "ctime_ns": stamp.ctime_ns,
        "inode": inode,
    }


def _entries(rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterator[LedgerEntry]:
    # Unpacked in the order of the table's columns: by name it takes twice as long.
    for (
        collection,
        document_id,
        source,
        state,
        size,
        mtime_ns,
        ctime_ns,
        inode,
        checked_at_ns,
        content_hash,
        chunker,
        model,
        parser,
        chunks,
        chunks_digest,
        job_id,
        category,
        code,
        reason,
        had_intent,
        updated_at,
    ) in rows:
        stamp = None
        if size is not None:
            stamp = FileStamp(
                size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode % _TWO_64
            )
        yield LedgerEntry(
            collection=collection,
            document_id=document_id,
            source=source,
            state=_STATES[state],
            stamp=stamp,
            checked_at_ns=checked_at_ns,
            content_hash=content_hash,
            chunker=chunker,
            model=model,
            parser=parser,
            chunks=chunks,
            chunks_digest=chunks_digest,
            job_id=job_id,
            category=None if category is None else FailureCategory(category),
            code=code,
            reason=reason,
            had_intent=had_intent == 1,
            updated_at=from_micros(updated_at),
        )
