"""Documents whose removal was begun and is not to be ended: the ledger says again what is there.

Whoever began it may only have been stopped, and may yet delete the rows. So they are written anew
first: Lance then refuses the late removal, as it refuses every write that begins before another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lexigram_ray.jobs.conflicts import until_accepted
from lexigram_ray.jobs.intents import not_overtaken
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.sql import is_any_of
from lexigram_ray.vectors.translate import lance_errors
from lexigram_ray.vectors.writing import DocumentRows, replace_documents, verify_documents

DOCUMENTS_AT_ONCE = 1_000
ROWS_AT_ONCE = 20_000
"""Rows that replace others are joined in memory."""


def put_back(
    store: Store,
    claim: Claim,
    collection: Collection,
    entries: Sequence[LedgerEntry],
    turn_seconds: float,
) -> list[str]:
    """Call documents done again whose rows the table still holds as their entries say.

    Args:
        entries: Intents to remove, as the ledger had them.

    Returns:
        Ids of the documents that are done now; of the others the rows are gone, or another job has
        written something about them.
    """
    back: list[str] = []
    for part in _parts(entries):
        with store.turn(collection.name, claim.owner, turn_seconds):
            back += _written_anew(store, claim, collection, part)
    return back


def holds(rows: DocumentRows, entry: LedgerEntry) -> bool:
    """Return whether rows are just those of which an entry speaks."""
    here = (rows.count, rows.distinct_ids, rows.digest)
    return here == (entry.chunks, entry.chunks, entry.chunks_digest)


def _written_anew(
    store: Store, claim: Claim, collection: Collection, part: Mapping[str, LedgerEntry]
) -> list[str]:
    intended: set[str] = set()

    def attempt() -> list[str]:
        collection.refresh()
        now = store.ledger_entries(collection.name, part)
        ids = not_overtaken(claim, now, part, intended)
        rows = verify_documents(collection, ids, collection.version)
        whole = [now[each] for each in ids if rows[each].count and holds(rows[each], part[each])]
        recorded = sorted(store.intend(claim, whole, seen=now).recorded)
        intended.update(recorded)
        if not recorded:
            return []
        with lance_errors(collection.name, collection.path):
            table = collection.dataset.to_table(filter=is_any_of("document_id", recorded))
        version = replace_documents(collection, table, delete_for=recorded)
        written = verify_documents(collection, recorded, version)
        done = [part[each] for each in recorded if holds(written[each], part[each])]
        done = [replace(entry, state=LedgerState.DONE) for entry in done]
        overtaken = store.mark_done(claim, done, [])
        return [each.document_id for each in done if each.document_id not in overtaken]

    return until_accepted(collection, attempt)


def _parts(entries: Sequence[LedgerEntry]) -> Iterator[dict[str, LedgerEntry]]:
    part: dict[str, LedgerEntry] = {}
    rows = 0
    for entry in entries:
        if part and (len(part) == DOCUMENTS_AT_ONCE or rows + entry.chunks > ROWS_AT_ONCE):
            yield part
            part, rows = {}, 0
        part[entry.document_id] = entry
        rows += entry.chunks
    if part:
        yield part
