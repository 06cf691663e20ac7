"""The last step of a run: the table is asked, and must answer what the ledger says."""

from __future__ import annotations

from collections.abc import Iterable

from lexigram_ray.core.errors import IntegrityError
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.jobs.report import DocumentCounts
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import verify_documents

DOCUMENTS_AT_ONCE = 2_000
NAMED_AT_MOST = 5


def check_counts(counts: DocumentCounts) -> None:
    """Check that every document found ended in exactly one way.

    Raises:
        IntegrityError: Some document was lost or counted twice.
    """
    ended = counts.ingested + counts.unchanged + counts.skipped + counts.failed
    if counts.found != ended:
        raise IntegrityError(
            f"{counts.found} documents were found, but {ended} are accounted for",
            hint="this is a fault of lexigram-ray: please report it with the job's id",
        )


def check_rows(collection: Collection, entries: Iterable[LedgerEntry]) -> None:
    """Check the rows of this job's documents against the ledger.

    Where a later job has rewritten a document, its entry holds that job's count, and is compared.

    Raises:
        IntegrityError: Rows are missing, doubled or of another content; says of which documents.
    """
    expected = {entry.document_id: entry for entry in entries if entry.state == LedgerState.DONE}
    collection.refresh()
    wrong: list[str] = []
    ids = list(expected)
    for start in range(0, len(ids), DOCUMENTS_AT_ONCE):
        part = ids[start : start + DOCUMENTS_AT_ONCE]
        found = verify_documents(collection, part, collection.version)
        for document_id in part:
            entry, rows = expected[document_id], found.get(document_id)
            have = (rows.count, rows.distinct_ids, rows.digest) if rows else (0, 0, "")
            if have != (entry.chunks, entry.chunks, entry.chunks_digest):
                wrong.append(f"{entry.source} ({have[0]} rows instead of {entry.chunks})")
    if wrong:
        named = "; ".join(wrong[:NAMED_AT_MOST])
        more = f" and {len(wrong) - NAMED_AT_MOST} more" if len(wrong) > NAMED_AT_MOST else ""
        raise IntegrityError(
            f"collection {collection.name} does not hold what this job wrote: {named}{more}",
            hint="touch those files and run again, or drop the collection and ingest anew",
        )
