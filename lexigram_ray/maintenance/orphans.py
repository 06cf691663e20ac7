"""What belongs to nothing: rows without a record, records without a table, folders left aside.

It is reported as a fault, and removed only by a run that is asked to, folders apart: after a table
was moved to another disk, or a store restored from an old backup, the rows are right and the
records are missing, and a standing wish to remove would then be carried out by night.
"""

from __future__ import annotations

import shutil
from enum import Enum, auto
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import MaintenanceError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.removal import remove_unknown
from lexigram_ray.maintenance.duty import DutyContext, DutyReport, Fault

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection


class Orphans(Enum):
    """What becomes of what belongs to nothing."""

    STAY = auto()
    """It is only reported."""
    FOLDERS_GO = auto()
    """Folders that killed processes have left are removed; rows and records are reported."""
    GO = auto()
    """Rows and records too, where somebody has just asked for it."""


REMOVAL = "lexigram-ray maintenance run document_cleanup --option remove_orphans=true"


def claim_of(context: DutyContext) -> Claim:
    """Return the claim that a removal is fenced by.

    Raises:
        MaintenanceError: The duty was called without one.
    """
    if context.claim is None:
        raise MaintenanceError(
            "documents are only removed by a run that holds a claim",
            hint="lexigram-ray maintenance run document_cleanup",
        )
    return context.claim


def unknown_documents(context: DutyContext, collection: Collection, orphans: Orphans) -> DutyReport:
    """Find the documents in a table that the ledger does not know.

    A table that another store describes is left alone: its records are there. One of which the
    ledger knows nothing at all is not emptied, whoever asks: it is the ledger that is missing.
    """
    if collection.store_id != context.store.store_id:
        return DutyReport(
            figures={"orphaned_documents": 0, "orphaned_rows": 0},
            lines=[f"{collection.name}: made with another store, which alone knows its documents"],
        )
    sources, rows, known = _unknown(context, collection)
    figures: dict[str, object] = {"orphaned_documents": len(sources), "orphaned_rows": rows}
    if not sources:
        return DutyReport(figures=figures)
    what = f"{len(sources):,} documents ({rows:,} rows) that the ledger does not know"
    if orphans is not Orphans.GO or context.dry_run or not known:
        first = next(iter(sources.values()))
        drop = f"lexigram-ray collections drop {collection.name}"
        fault = Fault(
            name=f"collection {collection.name}",
            detail=f"{what}, first {first}",
            fix=f"ingest them again, or {REMOVAL if known else drop}",
        )
        return DutyReport(figures=figures, faults=[fault])
    lease = context.config.jobs.lease_seconds
    removed = remove_unknown(context.store, claim_of(context), collection, sources, lease)
    line = f"{collection.name}: removed {len(removed):,} documents that the ledger did not know"
    return DutyReport(figures=figures | {"orphaned_documents_removed": len(removed)}, lines=[line])


def _unknown(context: DutyContext, collection: Collection) -> tuple[dict[str, str], int, bool]:
    """Return the sources of unknown documents by document id, and how many rows they have.

    And whether any document of the table is known at all.
    """
    from lexigram_ray.vectors.rows import scan_rows

    collection.refresh()
    # After the version: whatever stands in it had its intent in the ledger before.
    known = context.store.ledger(collection.name)
    sources: dict[str, str] = {}
    rows = 0
    is_any_known = False
    for batch in scan_rows(collection, ["document_id", "source"]):
        ids = batch.column("document_id").to_pylist()
        for place, document_id in enumerate(ids):
            if document_id is None:
                continue
            if document_id in known:
                is_any_known = True
                continue
            sources.setdefault(document_id, batch.column("source")[place].as_py() or "")
            rows += 1
    return sources, rows, is_any_known


def orphaned_records(context: DutyContext, orphans: Orphans) -> DutyReport:
    """Find the records of collections that are gone, and folders that nobody uses any more."""
    records = _dropped(context, remove=orphans is Orphans.GO)
    folders = _abandoned(context, remove=orphans is not Orphans.STAY)
    return DutyReport(
        figures={**records.figures, **folders.figures},
        lines=[*records.lines, *folders.lines],
        faults=[*records.faults, *folders.faults],
    )


def _dropped(context: DutyContext, *, remove: bool) -> DutyReport:
    from lexigram_ray.vectors.collections import Collections

    collections = Collections(context.config.paths.lancedb)
    gone = [
        name
        for name in context.store.ledger_collections()
        if not collections.exists(name) and not _is_worked_on(context, name)
    ]
    figures: dict[str, object] = {"orphaned_ledgers": gone}
    if not gone:
        return DutyReport(figures=figures)
    # A folder without any collection is what a disk that is not mounted looks like.
    if not remove or context.dry_run or not collections.names():
        faults = [
            Fault(
                name=f"collection {name}",
                detail="the store has records of its documents, and its table is gone",
                fix=f"bring {collections.root / name}.lance back, ingest again, or {REMOVAL}",
            )
            for name in gone
        ]
        return DutyReport(figures=figures, faults=faults)
    for name in gone:
        lease = context.config.jobs.lease_seconds
        with context.store.turn(name, claim_of(context).owner, lease):
            if not collections.exists(name):
                context.store.forget_collection(name)
    return DutyReport(
        figures=figures, lines=[f"forgot {name}, whose table is gone" for name in gone]
    )


def _is_worked_on(context: DutyContext, name: str) -> bool:
    unfinished = (JobStatus.PENDING, JobStatus.RUNNING)
    return any(context.store.list_jobs(status=s, collection=name, limit=1)[0] for s in unfinished)


def _abandoned(context: DutyContext, *, remove: bool) -> DutyReport:
    from lexigram_ray.vectors.collections import Collections, bytes_under

    folders = Collections(context.config.paths.lancedb).abandoned()
    size = sum(bytes_under(folder) for folder in folders)
    figures: dict[str, object] = {"folders_abandoned": len(folders), "bytes_abandoned": size}
    if not folders:
        return DutyReport(figures=figures)
    if not remove or context.dry_run:
        fault = Fault(
            name="abandoned folders",
            detail=f"{len(folders):,} left by killed processes ({size:,} bytes), "
            f"first {folders[0]}",
            fix=REMOVAL,
        )
        return DutyReport(figures=figures, faults=[fault])
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return DutyReport(figures=figures, lines=[f"removed {len(folders):,} abandoned folders"])
