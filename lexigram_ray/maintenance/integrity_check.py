"""The duty `integrity_check`: every row of every collection against the ledger.

A table changes while it is read. So what differs is looked at again, in the writers' turn and at
a new version; only what differs then too, of jobs that have ended, is a fault.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lexigram_ray.core.maintenance_settings import IntegrityCheckSettings
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.maintenance.each_collection import visit_collections
from lexigram_ray.maintenance.integrity_faults import faults_of
from lexigram_ray.maintenance.options import settings_of
from lexigram_ray.maintenance.row_verdicts import what_is_wrong
from lexigram_ray.vectors.collection import ROWS_CHUNKER

if TYPE_CHECKING:
    from lexigram_ray.vectors.audit import TableAudit
    from lexigram_ray.vectors.collection import Collection

LOOKED_UP_AT_ONCE = 10_000
"""Documents that are looked at again one by one; more are another scan of the whole table."""


@dataclass(slots=True, kw_only=True)
class Findings:
    """What one look at a collection has found.

    Attributes:
        wrong: What is wrong, by document id; by row id where rows stand for themselves.
        entries: What the ledger says of these.
        documents: How many the table holds; rows, where they stand for themselves.
        unfinished: Documents that a job is still to write.
    """

    audit: TableAudit
    wrong: dict[str, str] = field(default_factory=dict[str, str])
    entries: Mapping[str, LedgerEntry] = field(default_factory=dict[str, LedgerEntry])
    documents: int = 0
    unfinished: int = 0


def run(context: DutyContext) -> DutyReport:
    """Check all collections, or the one named; see `IntegrityCheckSettings`.

    Raises:
        UsageError: An option is wrong, or there is no such collection.
    """
    settings = settings_of(context, context.config.maintenance.integrity_check)

    def visit(collection: Collection) -> DutyReport:
        return _Check(context, settings, collection).report()

    return visit_collections(context, settings.collection, visit, telling="checking")


class _Check:
    """The check of one collection."""

    def __init__(
        self, context: DutyContext, settings: IntegrityCheckSettings, collection: Collection
    ) -> None:
        self._context = context
        self._store = context.store
        self._settings = settings
        self._collection = collection
        # Rows of tables have no ledger.
        self._by_document = collection.settings.chunker != ROWS_CHUNKER
        self._is_own = collection.store_id == context.store.store_id

    def report(self) -> DutyReport:
        from lexigram_ray.vectors.audit import AuditStopped

        began = time.monotonic()
        try:
            found = self._first_look()
            if found.wrong:
                found = self._second_look(found, list(found.wrong))
        except AuditStopped:
            return DutyReport(
                figures={}, lines=[f"{self._collection.name}: not checked to the end"]
            )
        context = self._context
        is_marking = self._settings.mark and not context.dry_run and context.claim is not None
        faults = faults_of(
            self._collection,
            found.wrong,
            found.entries,
            named=self._settings.named,
            are_marked=is_marking,
        )
        if is_marking:
            self._mark(found)
        return DutyReport(
            figures=self._figures(found, time.monotonic() - began),
            lines=[self._line(found)],
            faults=faults,
        )

    def _first_look(self) -> Findings:
        name = self._collection.name
        # After the version was chosen: whatever stands in it had its intent in the ledger before.
        ledger = self._store.ledger(name) if self._by_document else {}
        return self._look(ledger, only=None)

    def _second_look(self, first: Findings, doubtful: Sequence[str]) -> Findings:
        name, lease = self._collection.name, self._context.config.jobs.lease_seconds
        # In the writers' turn nobody is between a write and its entry in the ledger.
        with self._store.turn(name, self._owner, lease):
            self._collection.refresh()
            entries = self._store.ledger_entries(name, doubtful) if self._by_document else {}
        only = doubtful if len(doubtful) <= LOOKED_UP_AT_ONCE else None
        again = self._look(entries, only=only)
        again.wrong = {each: again.wrong[each] for each in doubtful if each in again.wrong}
        under_way = self._under_way(again)
        again.wrong = {each: what for each, what in again.wrong.items() if each not in under_way}
        again.unfinished = len(under_way)
        again.documents = first.documents
        again.audit.rows = first.audit.rows
        return again

    def _look(self, ledger: Mapping[str, LedgerEntry], only: Sequence[str] | None) -> Findings:
        from lexigram_ray.vectors.audit import audit_table

        audit = audit_table(
            self._collection,
            tolerance=self._settings.norm_tolerance,
            by_document=self._by_document,
            only=only,
            keep_on=lambda: not self._context.should_stop(),
        )
        found = Findings(audit=audit, entries=ledger, documents=audit.rows)
        if self._by_document:
            self._compare(found, ledger)
        for vector in audit.wrong_vectors:
            key = vector.document_id if self._by_document else vector.row_id
            found.wrong.setdefault(key, f"row {vector.row_id} has {vector.what}")
        for each in audit.repeated:
            for key in each.documents if self._by_document else (each.row_id,):
                found.wrong.setdefault(key, f"{each.rows:,} rows have the id {each.row_id}")
        return found

    def _compare(self, found: Findings, ledger: Mapping[str, LedgerEntry]) -> None:
        seen: set[str] = set()
        found.documents = 0
        for document_id, rows in found.audit.documents():
            seen.add(document_id)
            found.documents += 1
            what = what_is_wrong(ledger.get(document_id), rows, is_own=self._is_own)
            if what is not None:
                found.wrong[document_id] = what
        for document_id in ledger.keys() - seen:
            what = what_is_wrong(ledger[document_id], None, is_own=self._is_own)
            if what is not None:
                found.wrong[document_id] = what

    def _under_way(self, found: Findings) -> frozenset[str]:
        """Return the documents that a job which has not ended is to write."""
        writing = {
            each: found.entries[each].job_id
            for each in found.wrong
            if each in found.entries and found.entries[each].state is LedgerState.WRITING
        }
        unfinished = {job_id for job_id in set(writing.values()) if self._is_unfinished(job_id)}
        return frozenset(each for each, job_id in writing.items() if job_id in unfinished)

    def _is_unfinished(self, job_id: str) -> bool:
        job = self._store.get(job_id)
        return job is not None and not job.status.is_final

    def _mark(self, found: Findings) -> None:
        """Note documents as unfinished, so that ingesting them writes them anew."""
        claim, name = self._context.claim, self._collection.name
        wrong = {each: found.entries[each] for each in found.wrong if each in found.entries}
        if claim is None or not wrong:
            return
        with self._store.turn(name, claim.owner, self._context.config.jobs.lease_seconds):
            now = self._store.ledger_entries(name, wrong)
            same = [entry for each, entry in wrong.items() if now.get(each) == entry]
            marked = [replace(entry, state=LedgerState.WRITING) for entry in same]
            self._store.intend(claim, marked, seen=now)

    @property
    def _owner(self) -> Owner:
        claim = self._context.claim
        return Owner.current() if claim is None else claim.owner

    def _figures(self, found: Findings, seconds: float) -> dict[str, object]:
        return {
            "rows": found.audit.rows,
            "documents" if self._by_document else "ids": found.documents,
            "wrong": len(found.wrong),
            "unfinished": found.unfinished,
            "vectors_wrong": found.audit.vectors_wrong,
            "ids_repeated": found.audit.ids_repeated,
            "version": found.audit.version,
            "seconds": round(seconds, 3),
        }

    def _line(self, found: Findings) -> str:
        what = "document" if self._by_document else "id"
        state = f"{len(found.wrong):,} wrong" if found.wrong else "all as they should be"
        held = f"{_number(found.audit.rows, 'row')} of {_number(found.documents, what)}"
        under_way = f", {found.unfinished:,} being written" if found.unfinished else ""
        return f"{self._collection.name}: {held}, {state}{under_way}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
