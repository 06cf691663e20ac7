"""Handing batches to workers until all are done, whatever dies meanwhile."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from lexigram_ray.core.errors import UnreadableError, WorkerError
from lexigram_ray.core.types import Document, Failure, FailureCategory, Outcome
from lexigram_ray.jobs.executor import Executed, Execution
from lexigram_ray.jobs.failures import failure_of
from lexigram_ray.jobs.plan import identify
from lexigram_ray.jobs.pool import Batch, Completed, WorkerPool, batches

WAIT_SECONDS = 0.1
CHANGED_TRIES = 3
"""A file that changes while it is read is looked at anew this often."""

FRUITLESS_CRASHES = 12
"""So many deaths in a row, with nothing done between them, are no document's fault."""


class Dispatcher:
    """Feeds a pool and sorts out what comes back.

    Args:
        count_crash: Counts a worker's death against documents, durably; returns each one's count.
        crash_budget: Deaths after which a document is quarantined.
    """

    def __init__(
        self,
        pool: WorkerPool,
        *,
        count_crash: Callable[[Sequence[str]], dict[str, int]],
        crash_budget: int,
    ) -> None:
        self._pool = pool
        self._count_crash = count_crash
        self._budget = crash_budget
        self._again: deque[Batch] = deque()
        self._changed: Counter[str] = Counter()
        self._fruitless = 0

    def run(
        self, documents: Sequence[Document], keep_on: Callable[[], bool]
    ) -> Iterator[Execution]:
        """Yield executions until every document has ended, or `keep_on` says no.

        Raises:
            WorkerError: The workers die whatever they are given.
        """
        fresh = batches(documents)
        under_way = 0
        while keep_on():
            while under_way < self._pool.slots and (batch := self._next(fresh)) is not None:
                self._pool.submit(batch)
                under_way += 1
            if under_way == 0:
                return
            for completed in self._pool.wait(WAIT_SECONDS):
                under_way -= 1
                if completed.execution is None:
                    yield self._after_crash(completed)
                else:
                    self._fruitless = 0
                    yield self._without_changed(completed.execution)

    def _next(self, fresh: Iterator[Batch]) -> Batch | None:
        return self._again.popleft() if self._again else next(fresh, None)

    def _after_crash(self, completed: Completed) -> Execution:
        self._fruitless += 1
        if self._fruitless > FRUITLESS_CRASHES:
            raise WorkerError(
                f"{self._fruitless} workers died in a row, the last one with: {completed.crash}",
                hint="look at the memory of this machine, then run the same command again",
            )
        documents = {document.document_id: document for document in completed.batch.documents}
        crashes = self._count_crash(list(documents))
        ended: list[Executed] = []
        for document_id, document in documents.items():
            if crashes[document_id] >= self._budget:
                ended.append(_quarantined(document, crashes[document_id], completed.crash))
            else:
                # Alone, so that the next death tells which document it was.
                self._again.append(Batch((document,), lone=True))
        return Execution(units=tuple(ended))

    def _without_changed(self, execution: Execution) -> Execution:
        kept: list[Executed] = []
        for unit in execution.units:
            again = unit.failure is not None and unit.failure.code == "changed"
            if not again or self._changed[unit.document.document_id] >= CHANGED_TRIES:
                kept.append(unit)
                continue
            self._changed[unit.document.document_id] += 1
            try:
                self._again.append(Batch((identify(unit.document),), lone=True))
            except UnreadableError as error:
                kept.append(replace(unit, failure=failure_of(error)))
        return replace(execution, units=tuple(kept))


def _quarantined(document: Document, crashes: int, crash: str) -> Executed:
    return Executed(
        document=document,
        outcome=Outcome.FAILED,
        failure=Failure(
            category=FailureCategory.INVALID_INPUT,
            code="quarantined",
            reason=f"its worker died {crashes} times while it was executed: {crash}",
        ),
    )
