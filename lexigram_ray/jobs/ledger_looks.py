"""What a transaction asks of the ledger before it writes, or after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection

from lexigram_ray.jobs import ledger_sql
from lexigram_ray.jobs.ledger_rows import entries_of
from lexigram_ray.jobs.letter_writing import batches
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState

# Well below the variables that SQLite (32,766) and PostgreSQL (65,535) take in one statement.
_IDS_A_QUERY = 1000


def ever_intended(connection: Connection, entries: Sequence[LedgerEntry]) -> frozenset[str]:
    """Return the documents for which an intent was recorded before."""
    found: set[str] = set()
    for asked in _in_batches(ids_by_collection(entries)):
        found |= set(connection.execute(ledger_sql.EVER_INTENDED, asked).scalars())
    return frozenset(found)


def entries_now(connection: Connection, ids: Mapping[str, Sequence[str]]) -> dict[str, LedgerEntry]:
    """Return what the ledger says of documents of one collection, by document id."""
    found: dict[str, LedgerEntry] = {}
    for asked in _in_batches(ids):
        rows = connection.execute(ledger_sql.LEDGER_ENTRIES, asked).all()
        found |= {entry.document_id: entry for entry in entries_of(rows)}
    return found


def overtaken(
    connection: Connection,
    claim: Claim,
    entries: Sequence[LedgerEntry],
    written: int,
    states: Sequence[LedgerState],
) -> frozenset[str]:
    """Return the documents whose entries another job holds, or that were forgotten meanwhile."""
    if written == len(entries):
        return frozenset()
    left = standing(connection, claim, ids_by_collection(entries), states)
    return frozenset({entry.document_id for entry in entries} - left)


def standing(
    connection: Connection,
    claim: Claim,
    ids: Mapping[str, Sequence[str]],
    states: Sequence[LedgerState],
) -> frozenset[str]:
    """Return the documents, of those given by collection, that stand as this job left them."""
    found: set[str] = set()
    for asked in _in_batches(ids):
        asked |= {"by_job": claim.job_id, "states": [state.value for state in states]}
        found |= set(connection.execute(ledger_sql.STANDING_AS_WRITTEN, asked).scalars())
    return frozenset(found)


def ids_by_collection(entries: Sequence[LedgerEntry]) -> dict[str, list[str]]:
    """Return the ids of entries' documents by collection."""
    ids: dict[str, list[str]] = {}
    for entry in entries:
        ids.setdefault(entry.collection, []).append(entry.document_id)
    return ids


def _in_batches(ids: Mapping[str, Sequence[str]]) -> Iterator[dict[str, object]]:
    """Yield parameters that together name all these documents."""
    for collection, document_ids in ids.items():
        for some in batches(document_ids, _IDS_A_QUERY):
            yield {"collection": collection, "document_ids": some}
