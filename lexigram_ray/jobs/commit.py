"""Committing: intent, write, verify, done. The order is what makes a crash at any point harmless.

1. In one transaction with the fence check, the ledger records the intent.
2. One `merge_insert` replaces whole documents.
3. The new version is read: count and hashes of every document of this write.
4. In one transaction with the fence check, the ledger says done.

A crash before 2 leaves the old rows; one after 2 is repeated and replaces the rows by the same.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lexigram_ray.core.errors import IntegrityError, WriteConflictError
from lexigram_ray.core.types import Outcome
from lexigram_ray.jobs.executor import Executed, Execution, Spilled
from lexigram_ray.jobs.plan import PlanRules
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState, UnitResult, UnitState
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.writing import remove_documents, replace_documents, verify_documents

logger = logging.getLogger("lexigram_ray")

COMMIT_SHARE = 0.05
"""The most of a run's time that commits may take: the next one waits until this holds."""

FIRST_COMMIT_SECONDS = 2.0
SEGMENT_BYTES = 256 * 1024 * 1024
CONFLICT_TRIES = 50
UNIT_STATES = {
    Outcome.INGESTED: UnitState.DONE,
    Outcome.SKIPPED: UnitState.SKIPPED,
    Outcome.FAILED: UnitState.FAILED,
}


@dataclass(slots=True)
class Committed:
    """What the commits of this run did.

    Attributes:
        ingested: Ids written by this run.
        elsewhere: Ids that another job had written meanwhile, with the same content.
    """

    ingested: set[str]
    elsewhere: set[str]
    chunks_removed: int = 0


class Committer:
    """Gathers executions into segments and commits them.

    Args:
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
        checked_at_ns: int,
        turn_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._claim = claim
        self._collection = collection
        self._rules = rules
        self._checked_at_ns = checked_at_ns
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._units: list[Executed] = []
        self._tables: list[pa.Table] = []
        self._bytes = 0
        self._last_end = clock()
        self._last_seconds = 0.0
        self.committed = Committed(set(), set())

    def add(self, execution: Execution) -> None:
        """Take a batch's rows and outcomes; commits when a segment is full or due."""
        self._units.extend(execution.units)
        if execution.rows is not None:
            self._tables.append(execution.rows)
            self._bytes += execution.rows.nbytes
        for spilled in execution.spilled:
            self.flush()
            self._commit([spilled.executed], spilled)
        if self._bytes >= SEGMENT_BYTES or self._is_due():
            self.flush()

    def flush(self) -> None:
        """Commit what has been gathered.

        Raises:
            LeaseLostError: Another process owns the job now; nothing was recorded.
            IntegrityError: Lance does not hold what was written, twice in a row.
        """
        if self._units:
            units, tables = self._units, self._tables
            self._commit(units, pa.concat_tables(tables) if tables else None)
        self._units, self._tables, self._bytes = [], [], 0

    def _is_due(self) -> bool:
        waited = self._clock() - self._last_end
        return waited >= max(FIRST_COMMIT_SECONDS, self._last_seconds / COMMIT_SHARE)

    def _commit(self, units: Sequence[Executed], rows: pa.Table | Spilled | None) -> None:
        started = self._clock()
        good = [unit for unit in units if unit.outcome is Outcome.INGESTED]
        bad = [unit for unit in units if unit.outcome is not Outcome.INGESTED]
        with self._store.turn(self._collection.name, self._claim.owner, self._turn_seconds):
            if good and rows is not None:
                self._write(good, rows)
            if bad:
                self._record_outcomes(bad)
        self._last_end = self._clock()
        self._last_seconds = self._last_end - started
        if isinstance(rows, Spilled):
            Path(rows.path).unlink(missing_ok=True)

    def _write(self, units: Sequence[Executed], rows: pa.Table | Spilled) -> None:
        for attempt in range(CONFLICT_TRIES):
            if attempt:
                time.sleep(random.uniform(0.01, 0.05) * min(attempt, 20))  # noqa: S311
            try:
                # LanceDB users and maintenance write without our turn, and a paused writer may
                # have lost it: what was refused or overtaken starts again from the intent.
                overtaken = self._write_once(units, rows)
            except WriteConflictError as error:
                logger.info("commit %d to %s: %s", attempt, self._collection.name, error)
                continue
            units = [unit for unit in units if unit.document.document_id in overtaken]
            if not units:
                return
        raise WriteConflictError(
            f"collection {self._collection.name} was changed by others during each of "
            f"{CONFLICT_TRIES} tries to write to it",
            hint="run the same command again when the other writers have ended",
        )

    def _write_once(self, units: Sequence[Executed], rows: pa.Table | Spilled) -> Set[str]:
        """Write documents, and return the ids of those that another job has overtaken."""
        ids = [unit.document.document_id for unit in units]
        self._collection.refresh()
        rows_before = self._collection.count_rows()
        before = self._store.ledger_entries(self._collection.name, ids)
        units = self._without_done_elsewhere(units, before)
        if not units:
            return frozenset()
        ids = [unit.document.document_id for unit in units]
        intended_before = self._store.record_intent(
            self._claim, [self._entry(unit, LedgerState.WRITING) for unit in units]
        )
        # Only a document whose writing this ledger has never begun can have no older rows.
        foreign = self._collection.store_id != self._store.store_id
        older = ids if foreign else [each for each in ids if each in intended_before]
        self._replace(units, rows, older)
        overtaken = self._store.mark_done(
            self._claim,
            [self._entry(unit, LedgerState.DONE) for unit in units],
            [_result(unit) for unit in units],
        )
        self.committed.ingested.update(set(ids) - overtaken)
        written = sum(unit.chunks for unit in units)
        self.committed.chunks_removed += rows_before + written - self._collection.count_rows()
        return overtaken

    def _replace(
        self, units: Sequence[Executed], rows: pa.Table | Spilled, older: Sequence[str]
    ) -> None:
        ids = [unit.document.document_id for unit in units]
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
        ids = [unit.document.document_id for unit in units]
        found = verify_documents(self._collection, ids, version)
        return [
            unit.document.document_id
            for unit in units
            if (rows := found.get(unit.document.document_id)) is None
            or (rows.count, rows.distinct_ids, rows.digest)
            != (unit.chunks, unit.chunks, unit.digest)
        ]

    def _without_done_elsewhere(
        self, units: Sequence[Executed], ledger: Mapping[str, LedgerEntry]
    ) -> list[Executed]:
        """Leave out what another job has written meanwhile, from the same content."""
        elsewhere = [unit for unit in units if self._is_done_elsewhere(unit, ledger)]
        if elsewhere:
            results = [replace(_result(unit), chunks=0, computed=0, cached=0) for unit in elsewhere]
            self._store.finish_units(self._claim, results)
            self.committed.elsewhere.update(result.unit_id for result in results)
        return [unit for unit in units if unit not in elsewhere]

    def _is_done_elsewhere(self, unit: Executed, ledger: Mapping[str, LedgerEntry]) -> bool:
        entry = ledger.get(unit.document.document_id)
        if entry is None or entry.state is not LedgerState.DONE:
            return False
        return entry.job_id != self._rules.job_id and (
            entry.content_hash,
            entry.chunks_digest,
            entry.model,
        ) == (unit.document.content_hash, unit.digest, self._rules.model)

    def _record_outcomes(self, units: Sequence[Executed]) -> None:
        ids = [unit.document.document_id for unit in units]
        before = self._store.ledger_entries(self._collection.name, ids)
        emptied = [
            unit.document.document_id
            for unit in units
            if unit.outcome is Outcome.SKIPPED
            and (old := before.get(unit.document.document_id)) is not None
            and old.chunks > 0
        ]
        if emptied:
            self._collection.refresh()
            self.committed.chunks_removed += remove_documents(self._collection, emptied)[1]
        entries = [self._outcome_entry(unit, before) for unit in units]
        self._store.mark_outcome(self._claim, entries, [_result(unit) for unit in units])

    def _outcome_entry(self, unit: Executed, before: Mapping[str, LedgerEntry]) -> LedgerEntry:
        if unit.outcome is Outcome.SKIPPED:
            return self._entry(unit, LedgerState.SKIPPED)
        # A changed document that fails keeps its older rows: a search may still find them.
        entry = self._entry(unit, LedgerState.FAILED)
        old = before.get(unit.document.document_id)
        if old is None:
            return entry
        return replace(entry, chunks=old.chunks, chunks_digest=old.chunks_digest)

    def _entry(self, unit: Executed, state: LedgerState) -> LedgerEntry:
        failure = unit.failure
        return LedgerEntry(
            collection=self._collection.name,
            document_id=unit.document.document_id,
            source=unit.document.source,
            state=state,
            stamp=unit.document.stamp,
            checked_at_ns=self._checked_at_ns,
            content_hash=unit.document.content_hash,
            chunker=self._rules.chunker,
            model=self._rules.model,
            parser=self._rules.parser,
            chunks=unit.chunks,
            chunks_digest=unit.digest,
            job_id=self._rules.job_id,
            category=failure.category if failure else None,
            code=failure.code if failure else "",
            reason=failure.reason if failure else "",
        )


def _result(unit: Executed) -> UnitResult:
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
    )


def _readable(rows: pa.Table | Spilled, ids: Sequence[str]) -> pa.Table | pa.RecordBatchReader:
    if not isinstance(rows, Spilled):
        return rows.filter(pc.field("document_id").isin(list(ids)))
    file = pa.ipc.open_file(pa.memory_map(rows.path))
    parts = (file.get_batch(index) for index in range(file.num_record_batches))
    return pa.RecordBatchReader.from_batches(file.schema, parts)
