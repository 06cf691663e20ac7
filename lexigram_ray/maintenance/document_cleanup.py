"""The duty `document_cleanup`: documents leave by the rules, and what belongs to nothing is found.

Without rules in the configuration nothing leaves, and leftovers are only reported. A removal is a
fenced write with an intent, as a prune is: a document that an ingestion writes meanwhile stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.core.maintenance_settings import DocumentRules
from lexigram_ray.jobs.records import LedgerEntry
from lexigram_ray.jobs.removal import prune
from lexigram_ray.maintenance.asked_runs import (
    CLOCK_NOT_TRUSTED,
    is_asked_for,
    may_remove_by_age,
)
from lexigram_ray.maintenance.begun_removals import TASK, settle_begun
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.maintenance.each_collection import visit_collections
from lexigram_ray.maintenance.missing_sources import MissingNotes, SourceLook, look_at_sources
from lexigram_ray.maintenance.options import settings_of
from lexigram_ray.maintenance.orphans import (
    Orphans,
    claim_of,
    orphaned_records,
    unknown_documents,
)
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

NAME = TASK
NO_RULES = DocumentRules()  # pyright: ignore[reportCallIssue]


def run(context: DutyContext) -> DutyReport:
    """Remove what the rules say, and report or remove what belongs to nothing.

    Raises:
        UsageError: An option is wrong, or there is no such collection.
        LeaseLostError: The run's job has another owner now; nothing more was removed.
    """
    settings = settings_of(context, context.config.maintenance.document_cleanup)
    orphans = Orphans.STAY
    if settings.remove_orphans:
        # A standing wish would be carried out on the night on which a table is moved, or an old
        # store restored, too: for rows and records somebody has to ask again.
        by_option = "remove_orphans" in context.options and is_asked_for(context)
        orphans = Orphans.GO if by_option else Orphans.FOLDERS_GO

    def visit(collection: Collection) -> DutyReport:
        if collection.settings.chunker == ROWS_CHUNKER:
            return DutyReport(figures={}, lines=[f"{collection.name}: rows of tables, which stay"])
        rules = settings.collections.get(collection.name, settings)
        cleaned = _clean(context, rules, collection)
        unknown = unknown_documents(context, collection, orphans)
        return _both(cleaned, unknown)

    visited = visit_collections(context, settings.collection, visit, telling="cleaning")
    if settings.collection is not None:
        return visited
    return _both(visited, orphaned_records(context, orphans))


def _both(one: DutyReport, other: DutyReport) -> DutyReport:
    return DutyReport(
        figures={**one.figures, **other.figures},
        lines=[*one.lines, *other.lines],
        faults=[*one.faults, *other.faults],
    )


def _clean(context: DutyContext, rules: DocumentRules, collection: Collection) -> DutyReport:
    """Remove the documents of one collection that its rules let go."""
    begun = settle_begun(context, collection)
    look, missing_since = _look(context, rules, collection.name, begun.ledger.values())
    is_in_time = not _has_any(rules) or may_remove_by_age(context)
    going = leaving(
        begun.ledger.values(),
        rules if is_in_time else NO_RULES,
        now=context.now(),
        # One folder that cannot be read may mean that a disk is failing: nobody is missed then.
        missing_since={} if look.barred else missing_since,
        begun=begun.to_end,
        judged=begun.to_judge,
    )
    gone = _removed(context, collection, going)
    lines = _lines(collection.name, gone, look, context.dry_run)
    if not is_in_time:
        lines.append(f"{collection.name}: {CLOCK_NOT_TRUSTED}")
    return DutyReport(figures=_figures(gone, look), lines=lines)


def _has_any(rules: DocumentRules) -> bool:
    return rules.older_than_days is not None or rules.missing_for_days is not None


def _look(
    context: DutyContext, rules: DocumentRules, name: str, entries: Iterable[LedgerEntry]
) -> tuple[SourceLook, Mapping[str, datetime]]:
    """Return what is seen of the documents' files, and since when those are missing that are."""
    notes = MissingNotes(context.config.paths.payloads / "missing")
    look, missing_since = SourceLook(presence={}), dict[str, datetime]()
    if rules.missing_for_days is not None:
        look = look_at_sources(entries)
        missing_since = first_missed(notes.read(name), look.presence, context.now())
    if not context.dry_run:
        # None where there is no such rule: files come and go meanwhile, and nobody looks.
        notes.write(name, missing_since)
    return look, missing_since


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
