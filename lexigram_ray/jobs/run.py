"""One run of a claimed ingestion: plan, work, prune, index, check. Read `Run.to_the_end` first."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import IntegrityError, WorkerError
from lexigram_ray.core.types import JobStatus, Outcome
from lexigram_ray.embedding.devices import available_cpus
from lexigram_ray.ingestion.sources import Scan
from lexigram_ray.jobs.claiming import Stopped
from lexigram_ray.jobs.commit import CODES_OF_NO_CONTENT, Committer
from lexigram_ray.jobs.document_verdict import with_verdict
from lexigram_ray.jobs.executor import Executed, Execution
from lexigram_ray.jobs.given_document import made_by
from lexigram_ray.jobs.heartbeat import Heartbeat
from lexigram_ray.jobs.int8_loss import int8_notes
from lexigram_ray.jobs.plan import Plan, PlanRules, make_plan, problem_of
from lexigram_ray.jobs.pool import WorkerPool
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.reconcile import check_counts, describe, differing_rows
from lexigram_ray.jobs.records import Claim, LedgerEntry, LedgerState
from lexigram_ray.jobs.removal import gone, prune, unread
from lexigram_ray.jobs.report import DocumentCounts, IngestReport, IngestRequest, Problem
from lexigram_ray.jobs.stages import STORING, stage_record
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.toolbox import parser_key
from lexigram_ray.jobs.tracker import Tracker
from lexigram_ray.jobs.work import Dispatcher
from lexigram_ray.vectors.collection import Collection

logger = logging.getLogger("lexigram_ray")

T = TypeVar("T")

PoolFactory = Callable[[Recipe, str, int], AbstractContextManager[WorkerPool]]
"""From recipe, job id and bytes of unknown content to the pool that does the work."""


class Interrupted(Stopped):
    """The user stopped the run.

    Args:
        report: What had been done by then; None when another process is doing the job.
    """

    def __init__(self, job_id: str, report: IngestReport | None) -> None:
        super().__init__(job_id)
        self.report = report


@dataclass(slots=True)
class Outcomes:
    """How each document found has ended so far, and what is to be said of it."""

    by_id: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    problems: dict[str, Problem] = field(default_factory=dict[str, Problem])

    @classmethod
    def of_plan(cls, plan: Plan) -> Outcomes:
        """Begin with what is known before any work."""
        outcomes = cls()
        outcomes.by_id.update(dict.fromkeys(plan.unchanged, Outcome.UNCHANGED))
        outcomes.by_id.update(dict.fromkeys(plan.done_before, Outcome.INGESTED))
        for entry in plan.remembered:
            problem = problem_of(entry)
            outcomes.by_id[entry.document_id] = problem.outcome
            outcomes.problems[entry.document_id] = problem
        return outcomes

    def add(self, unit: Executed) -> None:
        """Take one document's end."""
        self.by_id[unit.document.document_id] = unit.outcome
        if unit.failure is not None:
            self.problems[unit.document.document_id] = Problem.of(
                unit.document.source, unit.outcome, unit.failure
            )

    def leave_to_others(self, document_ids: Iterable[str]) -> None:
        """Count documents as unchanged that another job has written meanwhile."""
        for document_id in document_ids:
            self.by_id[document_id] = Outcome.UNCHANGED
            self.problems.pop(document_id, None)

    def count(self, outcome: Outcome) -> int:
        """Return how many ended so."""
        return sum(value is outcome for value in self.by_id.values())


class Run:
    """What the steps of one run share.

    Args:
        started: When the command began, on the monotonic clock.
    """

    def __init__(
        self,
        config: WorkersConfig,
        request: IngestRequest,
        recipe: Recipe,
        *,
        store: Store,
        claim: Claim,
        collection: Collection,
        tracker: Tracker,
        stop: threading.Event,
        started: float,
    ) -> None:
        self._config = config
        self._request = request
        self._recipe = recipe
        self._store = store
        self._claim = claim
        self._collection = collection
        self._tracker = tracker
        self._stop = stop
        self._started = started
        self._started_ns = time.time_ns()
        named = request.document
        self._rules = PlanRules(
            job_id=claim.job_id,
            chunker=made_by(request, recipe),
            model=recipe.model_key,
            parser=parser_key(config.parser),
            retry_failed=request.retry_failed,
            metadata=named.metadata if named is not None else "",
        )
        self._ledger = (
            store.ledger(collection.name)
            if named is None
            else store.ledger_entries(collection.name, [named.document_id])
        )
        self._committer = Committer(
            store,
            claim,
            collection,
            self._rules,
            planned=self._ledger,
            checked_at_ns=self._started_ns,
            turn_seconds=config.jobs.lease_seconds,
        )
        self._outcomes = Outcomes()
        self._plan = Plan()
        self._heartbeat = Heartbeat(
            store,
            claim,
            every_seconds=config.jobs.heartbeat_seconds,
            lease_seconds=config.jobs.lease_seconds,
            progress=self._progress_record,
        )

    def to_the_end(self, scan: Scan, make_pool: PoolFactory) -> IngestReport:
        """Do the job.

        Raises:
            Interrupted: `stop` was set; all that was done until then is committed.
            LeaseLostError: Another process owns the job now.
            WorkerError: The machine is at fault; the job can be resumed.
        """
        with self._heartbeat:
            self._make_plan(scan)
            if self._plan.todo:
                self._work(make_pool)
            self._committer.flush()
            notes = self._prune(scan) if self._request.prune else ()
            self._index()
            notes += int8_notes(self._config, self._recipe, self._collection)
            report = self._check(self._report(notes))
            return with_verdict(report) if self._request.document is not None else report

    def _make_plan(self, scan: Scan) -> None:
        found = self._until_stopped(scan)
        self._plan = plan = make_plan(found, self._ledger, self._rules, self._started_ns)
        self._store.touch(self._claim, self._collection.name, plan.touched)
        self._outcomes = Outcomes.of_plan(plan)
        by_scan = [
            Executed(document=document, outcome=outcome, failure=failure)
            for document, outcome, failure in plan.found_problems
        ]
        for unit in by_scan:
            self._outcomes.add(unit)
        self._committer.add(Execution(units=tuple(_news(by_scan, self._ledger))))
        self._store.add_units(
            self._claim, [(document.document_id, document.source) for document in plan.todo]
        )
        self._tracker.begin_work(
            job_id=self._claim.job_id,
            documents_done=len(plan.seen) - len(plan.todo),
            documents_total=len(plan.seen),
            bytes_total=plan.bytes_total,
            skipped=self._outcomes.count(Outcome.SKIPPED),
            failed=self._outcomes.count(Outcome.FAILED),
        )

    def _work(self, make_pool: PoolFactory) -> None:
        # A renamed file is one of them: all its texts are in the cache.
        known = self._store.known_contents(
            self._collection.name, self._rules.chunker, self._rules.model
        )
        unknown_bytes = sum(
            document.stamp.size
            for document in self._plan.todo
            if document.content_hash not in known
        )
        with make_pool(self._recipe, self._claim.job_id, unknown_bytes) as pool:
            dispatcher = Dispatcher(
                pool,
                count_crash=self._count_crash,
                crash_budget=self._config.jobs.crash_budget,
            )
            for execution in dispatcher.run(self._plan.todo, self._keep_on):
                self._take(execution)
            # Inside the pool's context: what has been computed is safe before workers are ended.
            self._committer.flush()
        if self._stop.is_set():
            raise self._interrupted()

    def _count_crash(self, document_id: str) -> int:
        return self._store.unit_crashed(self._claim, [document_id])[document_id]

    def _take(self, execution: Execution) -> None:
        if self._request.stages is not None:
            self._request.stages.enter(STORING)
        spilled = [item.executed for item in execution.spilled]
        for unit in (*execution.units, *spilled):
            self._outcomes.add(unit)
            self._tracker.ended(unit)
        self._committer.add(execution)

    def _keep_on(self) -> bool:
        self._heartbeat.check()
        self._tracker.pulse()
        return not self._stop.is_set()

    def _until_stopped(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            if self._stop.is_set():
                raise self._interrupted()
            yield item

    def _prune(self, scan: Scan) -> tuple[str, ...]:
        """Remove what is gone, and return why nothing was removed if that is so."""
        barred = unread(scan, self._plan)
        if barred is not None:
            return (f"nothing was pruned: {barred} could not be read",)
        entries = gone(self._ledger, scan, self._plan)
        lease = self._config.jobs.lease_seconds
        prune(self._store, self._claim, self._collection, entries, lease)
        return ()

    def _index(self) -> None:
        from lexigram_ray.vectors.text_index import ensure_text_index

        if not (self._committer.committed.ingested or self._plan.done_before):
            return
        self._tracker.enter("indexing")
        try:
            ensure_text_index(self._collection, cores=available_cpus())
        except WorkerError as error:
            # Search finds rows that are in no index; the next run that writes builds it.
            logger.warning("the full-text index was not built: %s", error)

    def _check(self, report: IngestReport) -> IngestReport:
        self._tracker.enter("checking")
        try:
            check_counts(report.documents)
        except IntegrityError as error:
            return replace(report, status=JobStatus.FAILED, error=error.message)
        mine = self._committer.committed.ingested | self._plan.done_before
        lease = self._config.jobs.lease_seconds
        # In the writers' turn no other job is between its write and its ledger entry.
        with self._store.turn(self._collection.name, self._claim.owner, lease):
            self._collection.refresh()
            entries = self._store.ledger_entries(self._collection.name, sorted(mine))
        wrong = differing_rows(self._collection, entries.values())
        if not wrong:
            return report
        # So that the next run of the same command writes them anew.
        intents = [replace(entry, state=LedgerState.WRITING) for entry in wrong]
        self._store.intend(self._claim, intents, seen=entries)
        error = describe(self._collection, wrong)
        return replace(report, status=JobStatus.FAILED, error=error)

    def _report(self, notes: Sequence[str] = ()) -> IngestReport:
        self._outcomes.leave_to_others(self._committer.committed.elsewhere)
        totals = self._store.unit_totals(self._claim.job_id)
        count = self._outcomes.count
        self._collection.refresh()
        return IngestReport(
            job_id=self._claim.job_id,
            collection=self._collection.name,
            status=JobStatus.COMPLETED,
            documents=DocumentCounts(
                found=len(self._plan.seen),
                ingested=count(Outcome.INGESTED),
                unchanged=count(Outcome.UNCHANGED),
                skipped=count(Outcome.SKIPPED),
                failed=count(Outcome.FAILED),
                removed=totals.removed,
            ),
            chunks_written=totals.chunks,
            chunks_removed=totals.replaced,
            embeddings_computed=totals.computed,
            embeddings_cached=totals.cached,
            rows=self._collection.count_rows(),
            duration_seconds=time.monotonic() - self._started,
            problems=tuple(sorted(self._outcomes.problems.values(), key=_problem_order)),
            notes=tuple(notes),
        )

    def _interrupted(self) -> Interrupted:
        report = replace(self._report(), status=JobStatus.PENDING)
        return Interrupted(self._claim.job_id, report)

    def _progress_record(self) -> dict[str, object]:
        now = self._tracker.now
        total = now.documents_total
        return {
            "total": total,
            "done": now.documents_done,
            "failed": now.failed,
            "percent": round(100 * now.documents_done / total, 1) if total else 0.0,
            "chunks": now.chunks_done,
            "phase": now.phase,
            "seconds_remaining": now.seconds_remaining,
            **stage_record(self._request.stages),
        }


def _news(units: Sequence[Executed], ledger: Mapping[str, LedgerEntry]) -> Iterator[Executed]:
    """Yield the scan's problems that the ledger is to remember.

    Not those that it says already; nor that the way to a document was barred, where it has rows.
    """
    for unit in units:
        entry = ledger.get(unit.document.document_id)
        code = unit.failure.code if unit.failure else ""
        known = entry is not None and (entry.state.value, entry.code) == (unit.outcome.value, code)
        barred = unit.outcome is Outcome.SKIPPED and code not in CODES_OF_NO_CONTENT
        if not known and not (barred and entry is not None and entry.had_intent):
            yield unit


def _problem_order(problem: Problem) -> tuple[bool, str]:
    return problem.outcome is not Outcome.FAILED, problem.source
