"""Removing documents whose files are gone: only on request, and never on doubt."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from lexigram_ray.ingestion.sources import Scan
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import remove_documents

DOCUMENTS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Removed:
    """What pruning took away; `documents` counts those that had rows."""

    documents: int = 0
    rows: int = 0


def gone(ledger: Mapping[str, LedgerEntry], scan: Scan, seen: Set[str]) -> list[LedgerEntry]:
    """Return the entries under this run's paths whose files were not found.

    Nothing is gone for certain, and the list is empty, when any folder could not be read whole.
    """
    if scan.incomplete:
        return []
    return [
        entry
        for entry in ledger.values()
        if entry.state != LedgerState.REMOVED
        and entry.document_id not in seen
        and scan.covers(entry.source)
    ]


def refusal(scan: Scan) -> str | None:
    """Say why nothing may be pruned after this scan; None when it may."""
    if not scan.incomplete:
        return None
    return f"nothing was pruned: {scan.incomplete[0]} could not be read whole"


def remove(
    store: Store, claim: Claim, collection: Collection, entries: list[LedgerEntry], lease: float
) -> Removed:
    """Remove the rows of documents, then their place in the ledger."""
    rows = 0
    for start in range(0, len(entries), DOCUMENTS_AT_ONCE):
        part = entries[start : start + DOCUMENTS_AT_ONCE]
        ids = [entry.document_id for entry in part]
        with store.turn(collection.name, claim.owner, lease):
            collection.refresh()
            rows += remove_documents(collection, ids)[1]
            store.mark_removed(claim, collection.name, ids)
    return Removed(sum(entry.chunks > 0 for entry in entries), rows)
