"""One run of a claimed embedding job: plan, work, index, check. Begin at `EmbedRun.to_the_end`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.types import Failure, FailureCategory, JobStatus, Outcome
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.embedding.devices import available_cpus
from lexigram_ray.jobs.claiming import Stopped
from lexigram_ray.jobs.embed_plan import EmbedPlan, make_plan
from lexigram_ray.jobs.embed_report import EmbedReport, TextCounts
from lexigram_ray.jobs.heartbeat import Heartbeat
from lexigram_ray.jobs.int8_loss import int8_notes
from lexigram_ray.jobs.recipes import Recipe, cached_spec, keeps_vectors
from lexigram_ray.jobs.records import Claim, UnitResult, UnitRow, UnitState
from lexigram_ray.jobs.report import Problem
from lexigram_ray.jobs.staged import UNIT_PREFIX, RefusedRow, StagedTable, StagedUnit, read_staged
from lexigram_ray.jobs.standing import standing_of
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.text_commit import TextCommitter, failed_row
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.jobs.text_places import TextPlace
from lexigram_ray.jobs.text_tracker import TextTracker
from lexigram_ray.vectors.collection import Collection

logger = logging.getLogger("lexigram_ray")

NAMED = 5
ROWS_AT_ONCE = 10_000
MOST_PROBLEMS = 1_000
"""A wrong column makes every row fail: the report names this many, and counts the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a place is wanted for.

    Attributes:
        job_id: Stands in the rows.
        collection: For names in dashboards.
        rows: How many are to be embedded.
        characters: In the texts that neither collection nor cache holds; 0 where none needs the
            model.
    """

    job_id: str
    collection: str
    rows: int
    characters: int


PlaceFactory = Callable[[Recipe, Work], AbstractContextManager[TextPlace]]


class EmbedInterrupted(Stopped):
    """The user stopped the run.

    Args:
        job_id: Empty when nothing was submitted yet.
        report: What had been done by then; None when another process is doing the job.
    """

    def __init__(self, job_id: str, report: EmbedReport | None) -> None:
        super().__init__(job_id)
        self.report = report


class EmbedRun:
    """What the steps of one run share.

    Args:
        started: When the command began, on the monotonic clock.
    """

    def __init__(
        self,
        config: WorkersConfig,
        recipe: Recipe,
        staged: StagedTable,
        *,
        store: Store,
        claim: Claim,
        collection: Collection,
        tracker: TextTracker,
        stop: threading.Event,
        started: float,
    ) -> None:
        self._config = config
        self._recipe = recipe
        self._staged = staged
        self._store = store
        self._claim = claim
        self._collection = collection
        self._tracker = tracker
        self._stop = stop
        self._started = started
        self._truncated = 0
        self._unchanged = 0
        self._place = ""
        self._refused: set[str] = set()
        self._committer = TextCommitter(
            store,
            claim,
            collection,
            source=staged.source,
            turn_seconds=config.jobs.lease_seconds,
        )
        self._heartbeat = Heartbeat(
            store,
            claim,
            every_seconds=config.jobs.heartbeat_seconds,
            lease_seconds=config.jobs.lease_seconds,
            progress=self._progress_record,
        )

    def to_the_end(self, make_place: PlaceFactory) -> EmbedReport:
        """Do the job.

        Raises:
            EmbedInterrupted: `stop` was set; all that was done until then is committed.
            LeaseLostError: Another process owns the job now.
            WorkerError: The machine is at fault; the job can be resumed.
        """
        with self._heartbeat:
            plan = self._make_plan()
            for units, counted in ((plan.cached, False), (plan.todo, True)):
                if units:
                    self._work(plan, units, make_place, counted=counted)
            if plan.cached or plan.todo or plan.done:
                self._index()
            self._refused = self._refused_by_the_model()
            report = self._check(self._report(), plan)
            if report.status is JobStatus.COMPLETED:
                self._address_rows()
            notes = int8_notes(self._config, self._recipe, self._collection)
            return replace(report, notes=(*report.notes, *notes))

    def _make_plan(self) -> EmbedPlan:
        staged = self._staged
        # Refused rows first: they are known, and a resumed job must not forget them.
        self._store.add_units(self._claim, [(unit.unit_id, staged.source) for unit in staged.units])
        for start in range(0, len(staged.refused), ROWS_AT_ONCE):
            part = staged.refused[start : start + ROWS_AT_ONCE]
            self._store.finish_units(
                self._claim, [_refused_row(staged.source, row) for row in part]
            )
        plan = make_plan(
            staged,
            self._collection,
            job_id=self._claim.job_id,
            done=self._done_before(),
            cache=self._cache(),
            most_tokens=self._recipe.model.spec.max_tokens,
        )
        self._store.finish_units(
            self._claim, [_held_unit(staged.source, unit) for unit in plan.held]
        )
        self._unchanged = sum(unit.rows for unit in plan.held)
        self._tracker.begin_work(
            job_id=self._claim.job_id,
            total=staged.read,
            done=self._unchanged + sum(unit.rows for unit in plan.done) + len(staged.refused),
            cached=self._unchanged,
            failed=len(staged.refused),
            characters=sum(unit.characters for unit in plan.todo),
        )
        return plan

    def _done_before(self) -> set[str]:
        return set() if self._claim.fence == 1 else self._store.done_units(self._claim.job_id)

    def _refused_by_the_model(self) -> set[str]:
        """Return the ids of rows that places have refused, now and in earlier attempts."""
        # Rows that staging has refused may be a million, and have other names.
        refused = self._store.failed_ids(self._claim.job_id, prefix=UNIT_PREFIX)
        return {unit_id.split(":", 2)[2] for unit_id in refused}

    def _cache(self) -> EmbeddingCache | None:
        if not keeps_vectors(self._config, self._recipe):
            return None
        return EmbeddingCache(self._config.paths.cache, cached_spec(self._config, self._recipe))

    def _work(
        self,
        plan: EmbedPlan,
        units: Sequence[StagedUnit],
        make_place: PlaceFactory,
        *,
        counted: bool,
    ) -> None:
        work = Work(
            job_id=self._claim.job_id,
            collection=self._collection.name,
            rows=sum(unit.rows for unit in units),
            characters=plan.unknown_characters if counted else 0,
        )
        with make_place(self._recipe, work) as place:
            self._place = place.name
            for unit, execution in place.run(self._staged.path, units, keep_on=self._keep_on):
                self._take(unit, execution, counted=counted)
            # Inside the place's context: what has been computed is safe before workers are ended.
            self._committer.flush()
        if self._stop.is_set():
            raise EmbedInterrupted(
                self._claim.job_id, replace(self._report(), status=JobStatus.PENDING)
            )

    def _take(self, unit: StagedUnit, execution: RowsExecution, *, counted: bool) -> None:
        self._truncated += execution.truncated
        self._tracker.ended(unit, execution, counted=counted)
        self._committer.add(unit, execution)

    def _keep_on(self) -> bool:
        self._heartbeat.check()
        self._tracker.pulse()
        return not self._stop.is_set()

    def _index(self) -> None:
        from lexigram_ray.vectors.text_index import ensure_text_index

        self._tracker.enter("indexing")
        try:
            ensure_text_index(self._collection, cores=available_cpus())
        except WorkerError as error:
            # Search finds rows that are in no index; the next run that writes builds it.
            logger.warning("the full-text index was not built: %s", error)

    def _check(self, report: EmbedReport, plan: EmbedPlan) -> EmbedReport:
        """Ask the table for every row of this job; where a later job wrote one, that one counts."""
        self._tracker.enter("checking")
        counts = report.texts
        if counts.read != counts.embedded + counts.cached + counts.failed or counts.cached < 0:
            error = f"{counts.read} texts were read, and {counts} is not all of them"
            return replace(report, status=JobStatus.FAILED, error=error)
        if not self._staged.rows:
            return report
        staged = read_staged(self._staged.path)
        # In the writers' turn no other job is in the middle of healing.
        with self._store.turn(
            self._collection.name, self._claim.owner, self._config.jobs.lease_seconds
        ):
            self._collection.refresh()
            now = standing_of(
                staged, self._collection, job_id=self._claim.job_id, compare=("content_hash",)
            )
        # Another job's row that stood there before is the one that was to be replaced.
        is_newer = (now.written != plan.before.written) | plan.done_rows(len(staged))
        right = (now.count == 1) & (now.same | (now.by_others & is_newer))
        wrong = np.flatnonzero(self._has_vectors(staged) & ~right)
        if not len(wrong):
            return report
        error = self._describe(staged, wrong.tolist())
        return replace(report, status=JobStatus.FAILED, error=error)

    def _has_vectors(self, staged: pa.Table) -> NDArray[np.bool_]:
        """Say of each staged row whether it was embedded, and not refused by the model."""
        if not self._refused:
            return np.ones(len(staged), np.bool_)
        return np.array([row_id not in self._refused for row_id in staged["id"].to_pylist()])

    def _address_rows(self) -> None:
        """Close the dead letters of rows that failed before and have vectors now."""
        self._store.dead_letters.address_rows(
            self._claim,
            self._collection.name,
            origin=self._staged.source,
            ids=self._ids_with_vectors(),
        )

    def _ids_with_vectors(self) -> Iterator[str]:
        if not self._staged.rows:
            return
        for ids in read_staged(self._staged.path).column("id").chunks:
            yield from (row_id for row_id in ids.to_pylist() if row_id not in self._refused)

    def _describe(self, staged: pa.Table, wrong: Sequence[int]) -> str:
        ids = cast("list[str]", staged.column("id").take(wrong[:NAMED]).to_pylist())
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        return (
            f"collection {self._collection.name} does not hold what this job wrote for the ids "
            f"{', '.join(ids)}{more}"
        )

    def _report(self) -> EmbedReport:
        totals = self._store.unit_totals(self._claim.job_id)
        shown = self._store.failed_units(self._claim.job_id, limit=MOST_PROBLEMS)
        more = totals.failed - len(shown)
        read = self._staged.read
        self._collection.refresh()
        return EmbedReport(
            job_id=self._claim.job_id,
            collection=self._collection.name,
            status=JobStatus.COMPLETED,
            texts=TextCounts(
                read=read,
                embedded=totals.computed,
                cached=totals.cached,
                failed=totals.failed,
            ),
            rows=self._collection.count_rows(),
            duration_seconds=time.monotonic() - self._started,
            problems=tuple(map(_problem, shown)),
            notes=(*_many_failed(more), *_truncated(self._truncated)),
            unchanged=self._unchanged,
            truncated=self._truncated,
            place=self._place,
        )

    def _progress_record(self) -> dict[str, object]:
        now = self._tracker.now
        total = now.texts_total
        return {
            "total": total,
            "done": now.texts_done,
            "failed": now.failed,
            "cached": now.cached,
            "percent": round(100 * now.texts_done / total, 1) if total else 0.0,
            "phase": now.phase,
            "seconds_remaining": now.seconds_remaining,
        }


def _many_failed(more: int) -> tuple[str, ...]:
    return (f"{more:,} more rows have failed than are listed",) if more else ()


def _truncated(texts: int) -> tuple[str, ...]:
    if not texts:
        return ()
    return (f"texts longer than the model takes, embedded without their ends: {texts:,}",)


def _refused_row(source: str, row: RefusedRow) -> UnitResult:
    number = row.row + 1
    return failed_row(
        f"row:{row.row:012d}",
        row.failure,
        row_id=row.row_id or f"{source}#{number}",
        source=f"{source}, row {number}" + (f" (id {row.row_id})" if row.row_id else ""),
        table=source,
    )


def _held_unit(source: str, unit: StagedUnit) -> UnitResult:
    return UnitResult(
        unit_id=unit.unit_id,
        source=source,
        state=UnitState.DONE,
        chunks=0,
        cached=unit.rows,
    )


def _problem(row: UnitRow) -> Problem:
    failure = Failure(
        category=row.category or FailureCategory.UNKNOWN, code=row.code, reason=row.reason
    )
    return Problem.of(row.source, Outcome.FAILED, failure)
