"""Whether another job has done meanwhile what this one was about to do. Pure."""

from __future__ import annotations

from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs.executor import Executed
from lexigram_ray.jobs.intents import says_the_same
from lexigram_ray.jobs.plan import PlanRules
from lexigram_ray.jobs.records import LedgerEntry, LedgerState


def is_done_elsewhere(
    unit: Executed,
    entry: LedgerEntry | None,
    *,
    planned: LedgerEntry | None,
    rules: PlanRules,
    checked_at_ns: int,
) -> bool:
    """Return whether another job has written a document, from the same content or a newer one.

    Args:
        unit: The document as this job has it.
        entry: What the ledger says of it now.
        planned: What it said when this run's plan was made.
        rules: Of this run.
        checked_at_ns: When this run began to look at files.
    """
    if entry is None or entry.state is not LedgerState.DONE or entry.job_id == rules.job_id:
        return False
    if (entry.chunker, entry.model) != (rules.chunker, rules.model):
        return False
    # Only of what came since the plan: what was there, the plan has held against the file itself.
    if entry.checked_at_ns > checked_at_ns and not says_the_same(entry, planned):
        return True
    ours = (unit.document.source, unit.document.content_hash)
    return ours == (entry.source, entry.content_hash) and (
        unit.outcome is not Outcome.INGESTED or unit.digest == entry.chunks_digest
    )
