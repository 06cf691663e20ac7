"""Removals that a clean-up has begun and not ended: it was killed, it failed, or it was cancelled.

What becomes of their documents is asked of the table, and then of the rules as they are now: a
removal that somebody has cancelled is none that the next run may carry out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from lexigram_ray.jobs.putting_back import DOCUMENTS_AT_ONCE, holds, put_back
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.jobs.requests import MAINTENANCE
from lexigram_ray.maintenance.duty import DutyContext
from lexigram_ray.maintenance.orphans import claim_of
from lexigram_ray.vectors.writing import DocumentRows, verify_documents

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection

TASK = "document_cleanup"


class Verdict(Enum):
    """What is to become of a document whose removal was begun."""

    END = auto()
    """Its rows are gone, or this very run has begun it in an earlier attempt."""
    PUT_BACK = auto()
    """Its rows are there, and the ledger can say of them what it said before."""
    JUDGE = auto()
    """Its rows are there, and what the ledger said before is not known: the rules decide."""
    LEAVE = auto()
    """Other rows are there: whoever wrote them, this removal did not mean them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The ledger, and what is known of removals in it.

    Attributes:
        ledger: Of the collection; documents that were put back, or would be, are done in it.
        to_end: Ids of documents whose removal is to be ended.
        to_judge: Ids of documents that the rules are for, although their removal was begun.
    """

    ledger: Mapping[str, LedgerEntry]
    to_end: frozenset[str] = field(default_factory=frozenset[str])
    to_judge: frozenset[str] = field(default_factory=frozenset[str])


def settle_begun(context: DutyContext, collection: Collection) -> Begun:
    """Put documents back whose removal was begun and not done, and name the others.

    A dry run only says what it would do.
    """
    ledger = context.store.ledger(collection.name)
    begun = _begun(context, ledger)
    if not begun:
        return Begun(ledger=ledger)
    verdicts = _verdicts(context, collection, begun)
    back = {each: begun[each] for each, verdict in verdicts.items() if verdict is Verdict.PUT_BACK}
    if back and not context.dry_run:
        lease = context.config.jobs.lease_seconds
        put_back(context.store, claim_of(context), collection, list(back.values()), lease)
        ledger |= context.store.ledger_entries(collection.name, back)
    elif back:
        done = {each: replace(entry, state=LedgerState.DONE) for each, entry in back.items()}
        ledger |= done
    return Begun(
        ledger=ledger,
        to_end=frozenset(each for each, verdict in verdicts.items() if verdict is Verdict.END),
        to_judge=frozenset(each for each, verdict in verdicts.items() if verdict is Verdict.JUDGE),
    )


def verdict_on(entry: LedgerEntry, rows: DocumentRows, *, is_own: bool) -> Verdict:
    """Return what is to become of a document whose removal was begun. Pure.

    Args:
        entry: The intent; it has kept what the ledger said of the rows before.
        rows: What the table holds of the document.
        is_own: Whether an earlier attempt of this run has begun it.
    """
    if not rows.count:
        return Verdict.END
    is_known = bool(entry.chunks_digest)
    if is_known and not holds(rows, entry):
        return Verdict.LEAVE
    if is_own:
        return Verdict.END
    # Of failed and skipped documents the ledger keeps why; those were never done.
    return Verdict.PUT_BACK if is_known and not entry.code else Verdict.JUDGE


def _verdicts(
    context: DutyContext, collection: Collection, begun: Mapping[str, LedgerEntry]
) -> dict[str, Verdict]:
    own = None if context.claim is None else context.claim.job_id
    collection.refresh()
    verdicts: dict[str, Verdict] = {}
    ids = list(begun)
    for start in range(0, len(ids), DOCUMENTS_AT_ONCE):
        part = ids[start : start + DOCUMENTS_AT_ONCE]
        for each, rows in verify_documents(collection, part, collection.version).items():
            entry = begun[each]
            verdicts[each] = verdict_on(entry, rows, is_own=entry.job_id == own)
    return verdicts


def _begun(context: DutyContext, ledger: Mapping[str, LedgerEntry]) -> dict[str, LedgerEntry]:
    """Return the intents of runs of this duty that will not end them themselves."""
    writing = {each: entry for each, entry in ledger.items() if entry.state is LedgerState.WRITING}
    jobs = {entry.job_id for entry in writing.values()}
    ended = {job_id for job_id in jobs if _is_ended_cleanup(context, job_id)}
    return {each: entry for each, entry in writing.items() if entry.job_id in ended}


def _is_ended_cleanup(context: DutyContext, job_id: str) -> bool:
    if context.claim is not None and job_id == context.claim.job_id:
        return True
    job = context.store.get(job_id)
    if job is None or job.kind != MAINTENANCE:
        return False
    return job.spec.get("task") == TASK and job.status.is_final
