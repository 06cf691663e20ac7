"""Taking documents' rows out of the table: intent first, as for a write, and never on old news.

A crash after the intent leaves the document `writing`: a later run works on it if its file is
there, and a later prune takes it if not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lexigram_ray.core.ids import source_path
from lexigram_ray.ingestion.sources import Scan
from lexigram_ray.jobs.conflicts import until_accepted
from lexigram_ray.jobs.intents import is_intent_of, not_overtaken
from lexigram_ray.jobs.plan import Plan
from lexigram_ray.jobs.records import (
    REMOVED_CODE,
    Claim,
    LedgerEntry,
    LedgerState,
    UnitResult,
    UnitState,
)
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import DocumentRows, remove_documents, verify_documents

DOCUMENTS_AT_ONCE = 1_000


def gone(ledger: Mapping[str, LedgerEntry], scan: Scan, plan: Plan) -> list[LedgerEntry]:
    """Return the entries under a run's paths whose files are certainly not there any more.

    None are, when anything under the paths could not be read: see `unread`.
    """
    if unread(scan, plan):
        return []
    return [
        entry
        for entry in ledger.values()
        if entry.state is not LedgerState.REMOVED
        and entry.document_id not in plan.seen
        and scan.covers(entry.source)
        and not os.path.lexists(source_path(entry.source))
    ]


def unread(scan: Scan, plan: Plan) -> str | None:
    """Return a path that was missing, unreadable or vanished; None when all was seen."""
    return next(iter((*scan.incomplete, *plan.unseen)), None)


def prune(
    store: Store,
    claim: Claim,
    collection: Collection,
    entries: Sequence[LedgerEntry],
    turn_seconds: float,
) -> list[str]:
    """Remove documents that are to go, and say so in the ledger and the job's units.

    Args:
        entries: As the ledger had them when it was decided: from `gone`, say.

    Returns:
        Ids of the documents that went; another job has written something about the others since.
    """
    removed: list[str] = []
    for start in range(0, len(entries), DOCUMENTS_AT_ONCE):
        part = {each.document_id: each for each in entries[start : start + DOCUMENTS_AT_ONCE]}
        with store.turn(collection.name, claim.owner, turn_seconds):
            cleared = clear_rows(store, claim, collection, part)
            marked = store.mark_removed(claim, collection.name, cleared)
            went = [document_id for document_id in cleared if document_id in marked]
            store.finish_units(claim, [_pruned(part[document_id]) for document_id in went])
        removed += went
    return removed


def remove_unknown(
    store: Store,
    claim: Claim,
    collection: Collection,
    sources: Mapping[str, str],
    turn_seconds: float,
) -> list[str]:
    """Remove the rows of documents that the ledger does not know, and note that they went.

    Args:
        sources: Where they came from, by document id.

    Returns:
        Ids of the documents that went; the ledger has come to know the others.
    """
    removed: list[str] = []
    ids = list(sources)
    for start in range(0, len(ids), DOCUMENTS_AT_ONCE):
        part = {each: sources[each] for each in ids[start : start + DOCUMENTS_AT_ONCE]}
        with store.turn(collection.name, claim.owner, turn_seconds):
            cleared = _clear_unknown(store, claim, collection, part)
            marked = store.mark_removed(claim, collection.name, cleared)
        removed += [document_id for document_id in cleared if document_id in marked]
    return removed


def _clear_unknown(
    store: Store, claim: Claim, collection: Collection, sources: Mapping[str, str]
) -> list[str]:
    intended: set[str] = set()

    def attempt() -> list[str]:
        collection.refresh()
        known = store.ledger_entries(collection.name, sources)
        intents = [
            LedgerEntry(
                collection=collection.name,
                document_id=each,
                source=sources[each],
                state=LedgerState.WRITING,
            )
            for each in sources
            if (now := known.get(each)) is None or (each in intended and is_intent_of(claim, now))
        ]
        recorded = store.intend(claim, intents, seen=known).recorded
        intended.update(recorded)
        ids = [each for each in sources if each in recorded]
        remove_documents(collection, ids)
        return ids

    return until_accepted(collection, attempt)


def clear_rows(
    store: Store, claim: Claim, collection: Collection, planned: Mapping[str, LedgerEntry]
) -> list[str]:
    """Remove the rows of documents, within a turn; the caller then says why in the ledger.

    Args:
        planned: The entries that the decision to remove was made on, by document id. A document
            about which another job has written something since is left alone, and so is one whose
            rows another store's job has written.

    Returns:
        Ids of the documents that have no rows now.
    """
    if not planned:
        return []
    intended: set[str] = set()

    def attempt() -> list[str]:
        collection.refresh()
        now = store.ledger_entries(collection.name, planned)
        ids = not_overtaken(claim, now, planned, intended)
        rows = verify_documents(collection, ids, collection.version)
        ids = [each for each in ids if not _is_anothers(planned[each], rows[each])]
        recorded = store.intend(
            claim,
            [replace(now[each], state=LedgerState.WRITING) for each in ids],
            {each: rows[each].count for each in ids},
            seen=now,
        ).recorded
        intended.update(recorded)
        ids = [each for each in ids if each in recorded]
        remove_documents(collection, [each for each in ids if rows[each].count])
        return ids

    cleared = until_accepted(collection, attempt)
    kept = [planned[each] for each in sorted(intended.difference(cleared))]
    if kept:
        # Another store wrote between two tries: the ledger says again what it said before.
        store.mark_done(claim, [each for each in kept if each.state is LedgerState.DONE], [])
    return cleared


def _is_anothers(planned: LedgerEntry, rows: DocumentRows) -> bool:
    """Return whether a table's rows of a document are others than those that were to go."""
    known = planned.state is LedgerState.DONE
    return known and rows.count > 0 and rows.digest != planned.chunks_digest


def _pruned(entry: LedgerEntry) -> UnitResult:
    return UnitResult(
        unit_id=entry.document_id, source=entry.source, state=UnitState.DONE, code=REMOVED_CODE
    )
