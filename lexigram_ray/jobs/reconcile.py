"""The last step of a run: the table is asked, and must answer what the ledger says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lexigram_ray.core.errors import IntegrityError
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.jobs.report import DocumentCounts
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import verify_documents

DOCUMENTS_AT_ONCE = 10_000
ROWS_AT_ONCE = 250_000
NAMED = 5


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


def differing_rows(collection: Collection, entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    """Return the documents whose rows are missing, doubled or of another content.

    Where a later job has rewritten a document, its entry holds that job's count, and is compared.

    Args:
        collection: At a version of which `entries` were true.
    """
    expected = {entry.document_id: entry for entry in entries if entry.state is LedgerState.DONE}
    wrong: list[LedgerEntry] = []
    for part in _parts(expected):
        for document_id, rows in verify_documents(collection, part, collection.version).items():
            entry = expected[document_id]
            have = (rows.count, rows.distinct_ids, rows.digest)
            if have != (entry.chunks, entry.chunks, entry.chunks_digest):
                wrong.append(entry)
    return wrong


def _parts(entries: Mapping[str, LedgerEntry]) -> Iterator[list[str]]:
    """Divide documents so that neither their number nor their rows grow out of hand."""
    part: list[str] = []
    rows = 0
    for document_id, entry in entries.items():
        if part and (len(part) == DOCUMENTS_AT_ONCE or rows + entry.chunks > ROWS_AT_ONCE):
            yield part
            part, rows = [], 0
        part.append(document_id)
        rows += entry.chunks
    if part:
        yield part


def describe(collection: Collection, wrong: Sequence[LedgerEntry]) -> str:
    """Say which documents' rows differ."""
    named = "; ".join(f"{entry.source} (should have {entry.chunks})" for entry in wrong[:NAMED])
    more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return f"collection {collection.name} does not hold the rows of this job: {named}{more}"
