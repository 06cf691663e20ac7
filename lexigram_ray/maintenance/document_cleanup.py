"""The duty `document_cleanup`: documents leave by the rules, and what belongs to nothing is found.

Without rules in the configuration nothing leaves, and leftovers are only reported. A removal is a
fenced write with an intent, as a prune is: a document that an ingestion writes meanwhile stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lexigram_ray.core.maintenance_settings import DocumentRules
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.jobs.removal import prune
from lexigram_ray.jobs.requests import MAINTENANCE
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.maintenance.each_collection import visit_collections
from lexigram_ray.maintenance.missing_sources import MissingNotes, SourceLook, look_at_sources
from lexigram_ray.maintenance.options import settings_of
from lexigram_ray.maintenance.orphans import claim_of, orphaned_records, unknown_documents
from lexigram_ray.maintenance.retention import (
    Leaving,
    Presence,
    Reason,
    first_missed,
    leaving,
)
from lexigram_ray.vectors.collection import ROWS_CHUNKER

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection

NAME = "document_cleanup"


def run(context: DutyContext) -> DutyReport:
    """Remove what the rules say, and report or remove what belongs to nothing.

    Raises:
        UsageError: An option is wrong, or there is no such collection.
        LeaseLostError: The run's job has another owner now; nothing more was removed.
    """
    settings = settings_of(context, context.config.maintenance.document_cleanup)

    def visit(collection: Collection) -> DutyReport:
        if collection.settings.chunker == ROWS_CHUNKER:
            return DutyReport(figures={}, lines=[f"{collection.name}: rows of tables, which stay"])
        rules = settings.collections.get(collection.name, settings)
        cleaned = _clean(context, rules, collection)
        unknown = unknown_documents(context, collection, remove=settings.remove_orphans)
        return _both(cleaned, unknown)

    visited = visit_collections(context, settings.collection, visit, telling="cleaning")
    if settings.collection is not None:
        return visited
    return _both(visited, orphaned_records(context, remove=settings.remove_orphans))


def _both(one: DutyReport, other: DutyReport) -> DutyReport:
    return DutyReport(
        figures={**one.figures, **other.figures},
        lines=[*one.lines, *other.lines],
        faults=[*one.faults, *other.faults],
    )


def _clean(context: DutyContext, rules: DocumentRules, collection: Collection) -> DutyReport:
    """Remove the documents of one collection that its rules let go."""
    ledger = context.store.ledger(collection.name)
    now = context.now()
    look, missing_since = SourceLook(presence={}), {}
    if rules.missing_for_days is not None:
        look = look_at_sources(ledger.values())
        notes = MissingNotes(context.config.paths.payloads / "missing")
        missing_since = first_missed(notes.read(collection.name), look.presence, now)
        notes.write(collection.name, missing_since)
    going = leaving(
        ledger.values(),
        rules,
        now=now,
        # One folder that cannot be read may mean that a disk is failing: nobody is missed then.
        missing_since={} if look.barred else missing_since,
        begun=_begun(context, ledger),
    )
    gone = _removed(context, collection, going)
    return DutyReport(
        figures=_figures(gone, look), lines=_lines(collection.name, gone, look, context.dry_run)
    )


def _removed(
    context: DutyContext, collection: Collection, going: Sequence[Leaving]
) -> list[Leaving]:
    """Remove documents, and return those that went: an ingestion may have been faster."""
    if context.dry_run or not going:
        return list(going)
    removed = prune(
        context.store,
        claim_of(context),
        collection,
        [each.entry for each in going],
        context.config.jobs.lease_seconds,
    )
    went = frozenset(removed)
    return [each for each in going if each.entry.document_id in went]


def _begun(context: DutyContext, ledger: Mapping[str, LedgerEntry]) -> frozenset[str]:
    """Return the documents whose removal a run of this duty has begun, and will not end itself."""
    writing = [entry for entry in ledger.values() if entry.state is LedgerState.WRITING]
    ours = {job_id: _is_ended_cleanup(context, job_id) for job_id in {e.job_id for e in writing}}
    return frozenset(entry.document_id for entry in writing if ours[entry.job_id])


def _is_ended_cleanup(context: DutyContext, job_id: str) -> bool:
    if context.claim is not None and job_id == context.claim.job_id:
        return True
    job = context.store.get(job_id)
    if job is None or job.kind != MAINTENANCE:
        return False
    return job.spec.get("task") == NAME and job.status.is_final


def _figures(gone: Sequence[Leaving], look: SourceLook) -> dict[str, object]:
    reasons = Counter(each.reason for each in gone)
    seen = Counter(look.presence.values())
    return {
        "documents_removed": {reason.value: reasons[reason] for reason in Reason},
        "rows_removed": sum(each.entry.chunks for each in gone),
        "documents_missing": seen[Presence.MISSING],
        "documents_unreachable": seen[Presence.UNREACHABLE],
    }


def _lines(name: str, gone: Sequence[Leaving], look: SourceLook, dry_run: bool) -> list[str]:
    words = {
        Reason.AGE: "too old",
        Reason.MISSING: "whose files are gone",
        Reason.UNFINISHED: "whose removal had been begun",
    }
    would = "would go" if dry_run else "removed"
    reasons = Counter(each.reason for each in gone)
    lines = [
        f"{name}: {_documents(reasons[reason])} {words[reason]} {would}"
        for reason in Reason
        if reasons[reason]
    ]
    unreachable = Counter(look.presence.values())[Presence.UNREACHABLE]
    if look.barred:
        lines.append(f"{name}: no missing file counts, because {look.barred} could not be read")
    elif unreachable:
        lines.append(
            f"{name}: {_documents(unreachable)} left alone: their folders are gone or empty, as "
            "where a disk is not mounted (`lexigram-ray ingest FOLDER --prune` removes them)"
        )
    return lines


def _documents(number: int) -> str:
    return f"{number:,} document{'' if number == 1 else 's'}"
