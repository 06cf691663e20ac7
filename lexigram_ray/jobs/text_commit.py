"""Committing ranges of texts: merge, verify, done. The counterpart of `commit` for tables.

The units of the job, added before any work, are the intent. Each row stands for itself, so that
none ever has to go: writing a range again replaces its rows by the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from lexigram_ray.core.errors import IntegrityError
from lexigram_ray.core.tracing import span
from lexigram_ray.core.types import Failure
from lexigram_ray.jobs.conflicts import until_accepted
from lexigram_ray.jobs.letter_records import NewFailure, Subject
from lexigram_ray.jobs.measuring import measure_commit, measure_texts
from lexigram_ray.jobs.records import Claim, UnitResult, UnitState
from lexigram_ray.jobs.requests import EMBED
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.rows import MergedRows, merge_rows, remove_rows

logger = logging.getLogger("lexigram_ray")

COMMIT_SHARE = 0.05
"""The most of a run's time that commits may take: the next one waits until this holds."""

FIRST_COMMIT_SECONDS = 2.0
SEGMENT_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Gathered:
    unit: StagedUnit
    execution: RowsExecution


class TextCommitter:
    """Gathers executed units into segments and commits them.

    Args:
        source: What users call the table; named in records of failed rows.
        turn_seconds: Lease of a writer's turn on the collection.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        collection: Collection,
        *,
        source: str,
        turn_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._claim = claim
        self._collection = collection
        self._source = source
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._gathered: list[_Gathered] = []
        self._bytes = 0
        self._last_end = clock()
        self._last_seconds = 0.0

    def add(self, unit: StagedUnit, execution: RowsExecution) -> None:
        """Take a unit's rows and failures; commits when a segment is full or due."""
        self._gathered.append(_Gathered(unit, execution))
        self._bytes += execution.rows.nbytes
        if self._bytes >= SEGMENT_BYTES or self._is_due():
            self.flush()

    def flush(self) -> None:
        """Commit what has been gathered.

        Raises:
            LeaseLostError: Another process owns the job now; nothing was recorded.
            IntegrityError: Lance does not hold what was written, twice in a row.
        """
        if not self._gathered:
            return
        with self._store.turn(self._collection.name, self._claim.owner, self._turn_seconds):
            started = self._clock()
            tables = [item.execution.rows for item in self._gathered if len(item.execution.rows)]
            if tables:
                rows = pa.concat_tables(tables)
                # What is repeated after a refusal begins with the fence check again.
                with span("commit", rows=len(rows)):
                    until_accepted(self._collection, partial(self._write_once, rows))
            self._store.finish_units(
                self._claim, [result for item in self._gathered for result in self._results(item)]
            )
        measure_texts(self._collection.name, [item.execution for item in self._gathered])
        self._gathered, self._bytes = [], 0
        self._last_end = self._clock()
        self._last_seconds = self._last_end - started
        if tables:
            measure_commit(self._collection.name, EMBED, self._last_seconds)

    def _is_due(self) -> bool:
        waited = self._clock() - self._last_end
        return waited >= max(FIRST_COMMIT_SECONDS, self._last_seconds / COMMIT_SHARE)

    def _write_once(self, rows: pa.Table) -> None:
        self._collection.refresh()
        self._store.beat(self._claim, self._turn_seconds)
        if _holds(merge_rows(self._collection, rows), rows):
            return
        logger.warning("healing %d rows that differ after a commit", len(rows))
        self._store.beat(self._claim, self._turn_seconds)
        remove_rows(self._collection, rows.column("id").to_pylist())
        if not _holds(merge_rows(self._collection, rows), rows):
            raise IntegrityError(
                f"collection {self._collection.name} does not hold what was written for "
                f"{len(rows)} rows, first {rows.column('id')[0]}",
                hint="run the same command again; if it stays, look at the disk",
            )

    def _results(self, item: _Gathered) -> list[UnitResult]:
        execution = item.execution
        done = UnitResult(
            unit_id=item.unit.unit_id,
            source=self._source,
            state=UnitState.DONE,
            chunks=len(execution.rows),
            computed=execution.computed,
            cached=execution.cached,
        )
        failed = [
            failed_row(
                f"{item.unit.unit_id}:{row_id}",
                failure,
                row_id=row_id,
                source=f"{self._source}, id {row_id}",
                table=self._source,
            )
            for row_id, failure in execution.failures.items()
        ]
        return [done, *failed]


def failed_row(
    unit_id: str, failure: Failure, *, row_id: str, source: str, table: str
) -> UnitResult:
    """Return the record of one row that has no vector.

    Args:
        row_id: Names the row in any job over its table.
        source: What users call the row.
        table: What they call its table.
    """
    return UnitResult(
        unit_id=unit_id,
        source=source,
        state=UnitState.FAILED,
        category=failure.category,
        code=failure.code,
        reason=failure.reason,
        letter=NewFailure.of(
            failure, subject=Subject.ROW, subject_id=row_id, source=source, origin=table
        ),
    )


def _holds(merged: MergedRows, rows: pa.Table) -> bool:
    """Whether the commit's own fragments hold exactly these rows."""
    if merged.inserted + merged.updated != len(rows):
        return False
    wanted = rows.select(["id", "content_hash"]).sort_by("id").combine_chunks()
    have = merged.written.sort_by("id").combine_chunks()
    return all(
        have.column(name).cast(pa.string()).equals(wanted.column(name).cast(pa.string()))
        for name in ("id", "content_hash")
    )
