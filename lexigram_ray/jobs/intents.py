"""Intents that hold only of what was seen. Pure.

Whoever decides on an entry of the ledger, and writes on that ground, may have been overtaken since:
its process was stopped, its turn has passed, its clock was set. So an intent names the entry that
it was decided on, and is not recorded where the ledger says something else by now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What became of intents.

    Attributes:
        recorded: Ids of the documents whose intents stand; another job has written something about
            the others since.
        before: Of these, the ids of documents for which an intent had been recorded before.
    """

    recorded: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()


def says_the_same(now: LedgerEntry | None, seen: LedgerEntry | None) -> bool:
    """Return whether the ledger still says of a document's rows what was seen.

    A file's new stamp changes nothing of them.
    """
    if now is None or seen is None:
        return now is seen
    return _on_rows(now) == _on_rows(seen)


def is_intent_of(claim: Claim, entry: LedgerEntry | None) -> bool:
    """Return whether an entry is an intent of this job."""
    return entry is not None and entry.state is LedgerState.WRITING and entry.job_id == claim.job_id


def not_overtaken(
    claim: Claim,
    now: Mapping[str, LedgerEntry],
    seen: Mapping[str, LedgerEntry],
    intended: Collection[str],
) -> list[str]:
    """Return the ids of the documents of which the ledger still says what was seen.

    Args:
        claim: On the job that decides.
        now: What the ledger says.
        seen: What the decision was made on, by document id.
        intended: Ids of the documents whose intents this decision has recorded already. An intent
            of the job for another is not this decision's: the ledger has no other word for what an
            ingestion of the same job was about to write.
    """
    return [
        each
        for each, entry in seen.items()
        if each in now
        and (
            says_the_same(now[each], entry) or (each in intended and is_intent_of(claim, now[each]))
        )
    ]


def _on_rows(entry: LedgerEntry) -> tuple[LedgerState, str, str, str]:
    return entry.state, entry.job_id, entry.content_hash, entry.chunks_digest
