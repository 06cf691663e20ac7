"""Which documents leave a collection. Pure: the ledger, rules and looks in, documents out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from lexigram_ray.core.maintenance_settings import DocumentRules
from lexigram_ray.jobs.records import LedgerEntry, LedgerState


class Reason(StrEnum):
    """Why a document leaves."""

    AGE = "age"
    MISSING = "missing"
    UNFINISHED = "unfinished"


class Presence(StrEnum):
    """What a look at a document's file says.

    `unreachable`: its folder is gone or empty, as it is where a file system is not mounted; that
    says nothing of the file.
    """

    PRESENT = "present"
    MISSING = "missing"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A document that is to leave."""

    entry: LedgerEntry
    reason: Reason


def leaving(
    entries: Iterable[LedgerEntry],
    rules: DocumentRules,
    *,
    now: datetime,
    missing_since: Mapping[str, datetime],
    begun: Set[str],
    judged: Set[str] = frozenset(),
) -> list[Leaving]:
    """Return the documents that leave, each for one reason.

    One that a job is about to write stays, whatever the rules say.

    Args:
        entries: The ledger of one collection.
        rules: Of this collection; what is not set removes nothing.
        missing_since: When the files were first not there that are not there now, by document id.
        begun: Ids of documents whose removal was begun and is to be finished.
        judged: Ids of documents that the rules are for, although the ledger calls them unfinished.
    """
    reasons = (
        (entry, _unfinished(entry, begun))
        if entry.state is LedgerState.WRITING and entry.document_id not in judged
        else (entry, _reason(entry, rules, now, missing_since))
        for entry in entries
    )
    return [Leaving(entry=entry, reason=reason) for entry, reason in reasons if reason is not None]


def _unfinished(entry: LedgerEntry, begun: Set[str]) -> Reason | None:
    return Reason.UNFINISHED if entry.document_id in begun else None


def _reason(
    entry: LedgerEntry,
    rules: DocumentRules,
    now: datetime,
    missing_since: Mapping[str, datetime],
) -> Reason | None:
    if entry.state is LedgerState.REMOVED:
        return None
    since = missing_since.get(entry.document_id)
    if since is not None and entry.updated_at is not None:
        # Whatever has been written about the document since has begun its wait anew: its file was
        # there, or the note is about another collection that had this name.
        since = max(since, entry.updated_at)
    if _has_passed(rules.missing_for_days, since, now):
        return Reason.MISSING
    # Only what may have rows grows old: a failure is a dead letter, which has a time of its own.
    if entry.had_intent and _has_passed(rules.older_than_days, entry.updated_at, now):
        return Reason.AGE
    return None


def _has_passed(days: float | None, since: datetime | None, now: datetime) -> bool:
    return days is not None and since is not None and now - since >= timedelta(days=days)


def first_missed(
    before: Mapping[str, datetime], looks: Mapping[str, Presence], now: datetime
) -> dict[str, datetime]:
    """Return since when files are known to be missing, by document id.

    Args:
        before: The same, as the last look had it.
        looks: What this look says. Where it says nothing, what was known stays.
    """
    kept = {
        document_id: before[document_id]
        for document_id, presence in looks.items()
        if presence is Presence.UNREACHABLE and document_id in before
    }
    missing = {
        document_id: min(before.get(document_id, now), now)
        for document_id, presence in looks.items()
        if presence is Presence.MISSING
    }
    return kept | missing
