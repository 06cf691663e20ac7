"""What is wrong with a document's rows. Pure: a ledger's entry and a table's rows in, words out."""

from __future__ import annotations

from lexigram_ray.jobs.commit import CODES_OF_NO_CONTENT
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.vectors.writing import DocumentRows


def what_is_wrong(
    entry: LedgerEntry | None, rows: DocumentRows | None, *, is_own: bool
) -> str | None:
    """Return what was expected and what was found; None where both agree.

    A document that is being written should be what it is meant to become: look again later where
    its job has not ended.

    Args:
        entry: What the ledger says; None where it does not know the document.
        rows: What the table holds; None where it holds nothing.
        is_own: Whether only this ledger's jobs write to the table. Else another store's ledger
            may know of rows that this one does not.
    """
    have = _count(rows)
    if rows is not None and rows.distinct_ids != rows.count:
        return f"{have} that have only {_ids(rows.distinct_ids)} between them"
    if entry is None:
        return f"{have}, and the ledger does not know the document" if rows and is_own else None
    expected = _expected(entry, is_own=is_own)
    if expected is None:
        return None
    if expected != (0 if rows is None else rows.count):
        return f"{_rows(expected)} expected, {have} found{_of_what(entry)}"
    if rows is not None and rows.digest != entry.chunks_digest:
        return f"its {have} are of another content than was recorded{_of_what(entry)}"
    return None


def _expected(entry: LedgerEntry, *, is_own: bool) -> int | None:
    """Return how many rows there must be; None where there may be any."""
    if entry.state in (LedgerState.DONE, LedgerState.WRITING):
        return entry.chunks
    if not is_own:
        return None
    if entry.state is LedgerState.SKIPPED and entry.code not in CODES_OF_NO_CONTENT:
        # Skipped for what is on the way to it: nothing was said of older rows.
        return None
    return entry.chunks


def _of_what(entry: LedgerEntry) -> str:
    if entry.state is LedgerState.WRITING:
        return " (its writing was begun and never ended)"
    return "" if entry.state is LedgerState.DONE else f" (the document is {entry.state.value})"


def _count(rows: DocumentRows | None) -> str:
    return "no row" if rows is None or not rows.count else _rows(rows.count)


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _ids(number: int) -> str:
    return f"{number:,} id{'' if number == 1 else 's'}"
