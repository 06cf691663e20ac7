"""Committing: intent, write, verify, done. The order is what makes a crash at any point harmless.

1. In one transaction with the fence check, the ledger records the intent.
2. One `merge_insert` replaces whole documents.
3. The new version is read: count and hashes of every document of this write.
4. In one transaction with the fence check, the ledger says done.

A crash before 2 leaves the old rows; one after 2 is repeated and replaces the rows by the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lexigram_ray.core.errors import IntegrityError
from lexigram_ray.core.tracing import span
from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs.bookkeeping import Bookkeeper, unit_result, written_elsewhere
from lexigram_ray.jobs.conflicts import until_accepted
from lexigram_ray.jobs.elsewhere import is_done_elsewhere
from lexigram_ray.jobs.executor import Executed, Execution, Spilled
from lexigram_ray.jobs.measuring import measure_commit, measure_documents
from lexigram_ray.jobs.plan import PlanRules
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState
from lexigram_ray.jobs.removal import clear_rows
from lexigram_ray.jobs.requests import INGEST
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import remove_documents, replace_documents, verify_documents

logger = logging.getLogger("lexigram_ray")

COMMIT_SHARE = 0.05
"""The most of a run's time that commits may take: the next one waits until this holds."""

FIRST_COMMIT_SECONDS = 2.0
SEGMENT_BYTES = 256 * 1024 * 1024

CODES_OF_NO_CONTENT = frozenset({"empty", "no_text", "unsupported"})
"""Skipped for what is in the file; other skips are about the way to it, and say nothing of rows."""


@dataclass(slots=True)
class Committed:
    """What the commits of this run did.

    Attributes:
        ingested: Ids written by this run.
        elsewhere: Ids that another job had written meanwhile, with the same content.
    """

    ingested: set[str] = field(default_factory=set[str])
    elsewhere: set[str] = field(default_factory=set[str])


class Committer:
    """Gathers executions into segments and commits them.

    Args:
        planned: The ledger as the run's plan saw it.
        checked_at_ns: When the run began to look at files.
        turn_seconds: Lease of a writer's turn on the collection.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        collection: Collection,
        rules: PlanRules,
        *,
        planned: Mapping[str, LedgerEntry],
        checked_at_ns: int,
        turn_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._claim = claim
        self._collection = collection
        self._rules = rules
        self._books = Bookkeeper(
            collection=collection.name, rules=rules, checked_at_ns=checked_at_ns
        )
        self._planned = planned
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._units: list[Executed] = []
        self._tables: list[pa.Table] = []
        self._bytes = 0
        self._last_end = clock()
        self._last_seconds = 0.0
        self.committed = Committed()

    def add(self, execution: Execution) -> None:
        """Take a batch's rows and outcomes; commits when a segment is full or due."""
        self._units.extend(execution.units)
        if execution.rows is not None:
            self._tables.append(execution.rows)
            self._bytes += execution.rows.nbytes
        for spilled in execution.spilled:
            self.flush()
            self._commit([spilled.executed], spilled)
            Path(spilled.path).unlink(missing_ok=True)
        if self._bytes >= SEGMENT_BYTES or self._is_due():
            self.flush()

    def flush(self) -> None:
        """Commit what has been gathered.

        Raises:
            LeaseLostError: Another process owns the job now; nothing was recorded.
            IntegrityError: Lance does not hold what was written, twice in a row.
        """
        if self._units:
            self._commit(self._units, pa.concat_tables(self._tables) if self._tables else None)
        self._units, self._tables, self._bytes = [], [], 0

    def _is_due(self) -> bool:
        waited = self._clock() - self._last_end
        return waited >= max(FIRST_COMMIT_SECONDS, self._last_seconds / COMMIT_SHARE)

    def _commit(self, units: Sequence[Executed], rows: pa.Table | Spilled | None) -> None:
        good = [unit for unit in units if unit.outcome is Outcome.INGESTED]
        bad = [unit for unit in units if unit.outcome is not Outcome.INGESTED]
        with self._store.turn(self._collection.name, self._claim.owner, self._turn_seconds):
            started = self._clock()
            with span("commit", documents=len(good), failed=len(bad)):
                if rows is not None:
                    self._write(good, rows)
                if bad:
                    self._record_outcomes(bad)
        self._last_end = self._clock()
        self._last_seconds = self._last_end - started
        if rows is not None:
            measure_commit(self._collection.name, INGEST, self._last_seconds)

    def _write(self, units: Sequence[Executed], rows: pa.Table | Spilled) -> None:
        while units:
            # A writer that was paused may have lost its turn: what was overtaken begins again.
            overtaken = until_accepted(self._collection, partial(self._write_once, units, rows))
            units = [unit for unit in units if unit.document.document_id in overtaken]

    def _write_once(self, units: Sequence[Executed], rows: pa.Table | Spilled) -> Set[str]:
        """Write documents, and return the ids of those that another job has overtaken."""
        self._collection.refresh()
        before = self._store.ledger_entries(self._collection.name, _ids(units))
        units = self._without_done_elsewhere(units, before)
        if not units:
            return frozenset()
        wanted = _ids(units)
        older = self._older_rows(wanted, before)
        intended = self._store.intend(
            self._claim,
            [self._books.entry(unit, LedgerState.WRITING) for unit in units],
            {each: older.get(each, 0) for each in wanted},
            seen=before,
        )
        units = [unit for unit in units if unit.document.document_id in intended.recorded]
        if not units:
            return frozenset(wanted)
        ids = _ids(units)
        self._replace(
            units, rows, [each for each in ids if each in older or each in intended.before]
        )
        overtaken = self._store.mark_done(
            self._claim,
            [self._books.entry(unit, LedgerState.DONE) for unit in units],
            [unit_result(unit) for unit in units],
        )
        written = [unit for unit in units if unit.document.document_id not in overtaken]
        measure_documents(self._collection.name, written)
        self.committed.ingested.update(set(ids) - overtaken)
        self.committed.elsewhere.difference_update(ids)
        return overtaken | set(wanted).difference(ids)

    def _older_rows(self, ids: Sequence[str], before: Mapping[str, LedgerEntry]) -> dict[str, int]:
        """Count the rows of documents that may have some."""
        # In its own ledger's collection, a document whose writing was never begun has none.
        if self._collection.store_id == self._store.store_id:
            ids = [each for each in ids if (entry := before.get(each)) and entry.had_intent]
        found = verify_documents(self._collection, ids, self._collection.version)
        return {each: rows.count for each, rows in found.items()}

    def _replace(
        self, units: Sequence[Executed], rows: pa.Table | Spilled, older: Sequence[str]
    ) -> None:
        ids = _ids(units)
        version = replace_documents(self._collection, _readable(rows, ids), delete_for=older)
        wrong = self._differing(units, version)
        if not wrong:
            return
        logger.warning("healing %d documents whose rows differ after a commit", len(wrong))
        remove_documents(self._collection, wrong)
        version = replace_documents(self._collection, _readable(rows, ids), delete_for=ids)
        wrong = self._differing(units, version)
        if wrong:
            raise IntegrityError(
                f"collection {self._collection.name} does not hold what was written for "
                f"{len(wrong)} documents, first {wrong[0]}",
                hint="run the same command again; if it stays, look at the disk",
            )

    def _differing(self, units: Sequence[Executed], version: int) -> list[str]:
        found = verify_documents(self._collection, _ids(units), version)
        expected = {unit.document.document_id: unit for unit in units}
        return [
            document_id
            for document_id, rows in found.items()
            if (rows.count, rows.distinct_ids, rows.digest)
            != (
                expected[document_id].chunks,
                expected[document_id].chunks,
                expected[document_id].digest,
            )
        ]

    def _without_done_elsewhere(
        self, units: Sequence[Executed], ledger: Mapping[str, LedgerEntry]
    ) -> list[Executed]:
        """Leave out what another job has written meanwhile: the same content, or a newer one."""
        elsewhere = [
            unit
            for unit in units
            if is_done_elsewhere(
                unit,
                ledger.get(unit.document.document_id),
                planned=self._planned.get(unit.document.document_id),
                rules=self._rules,
                checked_at_ns=self._books.checked_at_ns,
            )
        ]
        return self._leave_to_others(units, set(_ids(elsewhere)))

    def _leave_to_others(self, units: Sequence[Executed], ids: Set[str]) -> list[Executed]:
        theirs = [unit for unit in units if unit.document.document_id in ids]
        if theirs:
            self._store.finish_units(self._claim, [written_elsewhere(unit) for unit in theirs])
            self.committed.elsewhere.update(ids)
        return [unit for unit in units if unit.document.document_id not in ids]

    def _record_outcomes(self, units: Sequence[Executed]) -> None:
        self._collection.refresh()
        before = self._store.ledger_entries(self._collection.name, _ids(units))
        units = self._without_done_elsewhere(units, before)
        emptied = {
            unit.document.document_id: self._planned[unit.document.document_id]
            for unit in units
            if unit.failure is not None
            and unit.failure.code in CODES_OF_NO_CONTENT
            and unit.document.document_id in self._planned
            and self._planned[unit.document.document_id].had_intent
        }
        cleared = clear_rows(self._store, self._claim, self._collection, emptied)
        # What another job has written since our look at the file is newer than our verdict.
        units = self._leave_to_others(
            units, set(emptied).difference(cleared) | self._begun_by_others(units, before)
        )
        kept = self._rows_kept(units, before)
        self._store.mark_outcome(
            self._claim,
            [self._outcome_entry(unit, kept) for unit in units],
            [unit_result(unit) for unit in units],
        )
        measure_documents(self._collection.name, units)

    def _begun_by_others(
        self, units: Sequence[Executed], before: Mapping[str, LedgerEntry]
    ) -> set[str]:
        """Return documents without content here whose first writing began after this run's plan."""
        return {
            document_id
            for unit in units
            if unit.failure is not None
            and unit.failure.code in CODES_OF_NO_CONTENT
            and (entry := before.get(document_id := unit.document.document_id)) is not None
            and entry.had_intent
            and not ((planned := self._planned.get(document_id)) and planned.had_intent)
        }

    def _rows_kept(
        self, units: Sequence[Executed], before: Mapping[str, LedgerEntry]
    ) -> dict[str, LedgerEntry]:
        """Return the entries of failed documents whose rows of an older content stay.

        A changed document that fails keeps its older rows: a search may still find them.
        """
        failed = [each for each in _ids(units) if (old := before.get(each)) and old.had_intent]
        found = verify_documents(self._collection, failed, self._collection.version)
        return {
            each: replace(before[each], chunks=rows.count, chunks_digest=rows.digest)
            for each, rows in found.items()
            if rows.count
        }

    def _outcome_entry(self, unit: Executed, kept: Mapping[str, LedgerEntry]) -> LedgerEntry:
        if unit.outcome is Outcome.SKIPPED:
            return self._books.entry(unit, LedgerState.SKIPPED)
        entry = self._books.entry(unit, LedgerState.FAILED)
        old = kept.get(unit.document.document_id)
        if old is None:
            return entry
        return replace(entry, chunks=old.chunks, chunks_digest=old.chunks_digest)


def _ids(units: Sequence[Executed]) -> list[str]:
    return [unit.document.document_id for unit in units]


def _readable(rows: pa.Table | Spilled, ids: Sequence[str]) -> pa.Table | pa.RecordBatchReader:
    if not isinstance(rows, Spilled):
        return rows.filter(pc.field("document_id").isin(list(ids)))
    file = pa.ipc.open_file(pa.memory_map(rows.path))
    parts = (file.get_batch(index) for index in range(file.num_record_batches))
    return pa.RecordBatchReader.from_batches(file.schema, parts)
