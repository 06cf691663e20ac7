"""Between the ledger's entries as records and as rows of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Row

from lexigram_ray.core.types import FailureCategory, FileStamp
from lexigram_ray.jobs.database import from_micros, storable, to_micros
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState

_STATES = {state.value: state for state in LedgerState}
_TWO_64 = 1 << 64
_TWO_63 = 1 << 63


def row_of(entry: LedgerEntry, claim: Claim, now: int) -> dict[str, object]:
    """Return the row of an entry that a job writes.

    One that carries its time keeps it: it was read, and says nothing new of its document.
    """
    return {
        "collection": entry.collection,
        "document_id": entry.document_id,
        "source": storable(entry.source),
        "state": entry.state.value,
        **stamp_columns(entry.stamp),
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
        "updated_at": now if entry.updated_at is None else to_micros(entry.updated_at),
    }


def done_row(entry: LedgerEntry, claim: Claim, now: int) -> dict[str, object]:
    """Return what `MARK_DONE` is given of an entry."""
    row = row_of(entry, claim, now) | {"state": LedgerState.DONE.value}
    key = {
        "in_collection": entry.collection,
        "of_document": entry.document_id,
        "by_job": claim.job_id,
    }
    return {f"new_{name}": value for name, value in row.items()} | key


def stamp_columns(stamp: FileStamp | None) -> dict[str, int | None]:
    """Return a file's stamp as the ledger's columns."""
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


def entries_of(rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterator[LedgerEntry]:
    """Yield rows of the ledger as entries."""
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
