"""From how a document ended to what the ledger and the job's units say of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs.executor import Executed
from lexigram_ray.jobs.letter_records import NewFailure, Subject
from lexigram_ray.jobs.plan import PlanRules
from lexigram_ray.jobs.records import LedgerEntry, LedgerState, UnitResult, UnitState

UNIT_STATES = {
    Outcome.INGESTED: UnitState.DONE,
    Outcome.UNCHANGED: UnitState.DONE,
    Outcome.SKIPPED: UnitState.SKIPPED,
    Outcome.FAILED: UnitState.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookkeeper:
    """Writes one run's entries.

    Attributes:
        checked_at_ns: When the run began to look at files.
    """

    collection: str
    rules: PlanRules
    checked_at_ns: int

    def entry(self, unit: Executed, state: LedgerState) -> LedgerEntry:
        """Return the ledger's entry for a document."""
        failure = unit.failure
        return LedgerEntry(
            collection=self.collection,
            document_id=unit.document.document_id,
            source=unit.document.source,
            state=state,
            stamp=unit.document.stamp,
            checked_at_ns=self.checked_at_ns,
            content_hash=unit.document.content_hash,
            chunker=self.rules.chunker,
            model=self.rules.model,
            parser=self.rules.parser,
            chunks=unit.chunks,
            chunks_digest=unit.digest,
            job_id=self.rules.job_id,
            category=failure.category if failure else None,
            code=failure.code if failure else "",
            reason=failure.reason if failure else "",
        )


def unit_result(unit: Executed) -> UnitResult:
    """Return the job's own record of a document."""
    failure = unit.failure
    return UnitResult(
        unit_id=unit.document.document_id,
        source=unit.document.source,
        state=UNIT_STATES[unit.outcome],
        content_hash=unit.document.content_hash,
        chunks=unit.chunks,
        computed=unit.computed,
        cached=unit.cached,
        category=failure.category if failure else None,
        code=failure.code if failure else "",
        reason=failure.reason if failure else "",
        seconds=unit.seconds,
        letter=_letter(unit),
    )


def written_elsewhere(unit: Executed) -> UnitResult:
    """Return the record of a document that another job wrote while this one worked on it."""
    return replace(
        unit_result(unit), state=UnitState.DONE, chunks=0, computed=0, cached=0,
        category=None, code="", reason="", letter=None,
    )  # fmt: skip


def _letter(unit: Executed) -> NewFailure | None:
    if unit.outcome is not Outcome.FAILED or unit.failure is None:
        return None
    return NewFailure.of(
        unit.failure,
        subject=Subject.DOCUMENT,
        subject_id=unit.document.document_id,
        source=unit.document.source,
        origin=unit.document.source,
    )
