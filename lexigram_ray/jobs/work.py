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
from lexigram_ray.jobs.pool import TIMED_OUT, Batch, Completed, WorkerPool, batches

WAIT_SECONDS = 0.1
CHANGED_TRIES = 3
"""A file that changes while it is read is looked at anew this often."""

FRUITLESS_CRASHES = 30
"""So many deaths in a row, with nothing done between them, are no document's fault."""


class Dispatcher:
    """Feeds a pool and sorts out what comes back.

    A death may be any of the documents' fault that were under way, in any worker: they share the
    embedder and the memory. So all of them become suspects, and suspects run one at a time with
    nothing beside them; only a death then counts, and its document is known. A worker that was
    ended because its time was over has died like any other.

    Args:
        pool: Where batches are executed.
        count_crash: Counts a worker's death against a document, durably; returns its count.
        crash_budget: Deaths after which a document is quarantined.
    """

    def __init__(
        self, pool: WorkerPool, *, count_crash: Callable[[str], int], crash_budget: int
    ) -> None:
        self._pool = pool
        self._count_crash = count_crash
        self._budget = crash_budget
        self._suspects: deque[Document] = deque()
        self._again: deque[Batch] = deque()
        self._changed: Counter[str] = Counter()
        self._deaths: Counter[str] = Counter()
        self._condemned: list[Executed] = []
        self._condemned_before = False
        self._fruitless = 0
        self._succeeded = False
        self._is_alone = False

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
            while under_way < self._room() and (batch := self._next(fresh, under_way)) is not None:
                self._pool.submit(batch)
                under_way += 1
            if under_way == 0:
                if self._condemned:
                    yield self._last_words()
                return
            for completed in self._pool.wait(WAIT_SECONDS):
                under_way -= 1
                was_alone, self._is_alone = self._is_alone, False
                if completed.execution is not None:
                    self._fruitless, self._succeeded = 0, True
                    yield self._without_changed(completed.execution)
                    continue
                self._note_crash(completed)
                if not was_alone or not completed.had_begun:
                    self._suspects.extend(completed.batch.documents)
                elif (condemned := self._charge(completed)) is not None:
                    self._condemned.append(condemned)
            if self._succeeded and self._condemned:
                yield Execution(units=tuple(self._condemned))
                self._condemned.clear()

    def _room(self) -> int:
        return 1 if self._suspects or self._is_alone else self._pool.slots

    def _next(self, fresh: Iterator[Batch], under_way: int) -> Batch | None:
        if not self._suspects:
            return self._again.popleft() if self._again else next(fresh, None)
        if under_way:
            return None
        self._is_alone = True
        return Batch((self._suspects.popleft(),))

    def _charge(self, completed: Completed) -> Executed | None:
        """Count a death against the one document that it can be the fault of."""
        (document,) = completed.batch.documents
        crashes = self._count_crash(document.document_id)
        self._deaths[document.document_id] += 1
        if crashes < self._budget:
            self._suspects.appendleft(document)
            return None
        if crashes > self._budget:
            self._condemned_before = True
        if self._succeeded:
            self._fruitless = 0
        # Deaths of an earlier run may have been the machine's: with those, it is not remembered.
        in_this_run = self._deaths[document.document_id] >= self._budget
        category = FailureCategory.INVALID_INPUT if in_this_run else FailureCategory.UNKNOWN
        return _quarantined(document, crashes, completed, category)

    def _note_crash(self, completed: Completed) -> None:
        self._fruitless += 1
        if self._fruitless > FRUITLESS_CRASHES:
            raise _dying(self._fruitless, completed.crash)

    def _last_words(self) -> Execution:
        """Pass sentence in a run in which nothing but deaths has happened.

        Raises:
            WorkerError: Several documents, for the first time: it may well be the machine.
        """
        if len(self._condemned) > 1 and not self._condemned_before:
            reason = self._condemned[0].failure
            raise _dying(self._fruitless, reason.reason if reason else "")
        # The documents' fault cannot be told from the machine's: it is not remembered.
        return Execution(units=tuple(_unremembered(unit) for unit in self._condemned))

    def _without_changed(self, execution: Execution) -> Execution:
        kept: list[Executed] = []
        for unit in execution.units:
            again = unit.failure is not None and unit.failure.code == "changed"
            if not again or self._changed[unit.document.document_id] >= CHANGED_TRIES:
                kept.append(unit)
                continue
            self._changed[unit.document.document_id] += 1
            try:
                self._again.append(Batch((identify(unit.document),)))
            except UnreadableError as error:
                kept.append(replace(unit, failure=failure_of(error)))
        return replace(execution, units=tuple(kept))


def _dying(deaths: int, last: str) -> WorkerError:
    return WorkerError(
        f"{deaths} workers died in a row, the last one with: {last}",
        hint="look at the memory of this machine, then run the same command again",
    )


def _quarantined(
    document: Document, crashes: int, last: Completed, category: FailureCategory
) -> Executed:
    how = f"{crashes} times while it was executed alone: {last.crash}"
    return Executed(
        document=document,
        outcome=Outcome.FAILED,
        failure=Failure(
            category=category,
            code=TIMED_OUT if last.is_late else "quarantined",
            reason=f"its worker was ended or died {how}"
            if last.is_late
            else f"its worker died {how}",
        ),
    )


def _unremembered(unit: Executed) -> Executed:
    if unit.failure is None:
        return unit
    return replace(unit, failure=replace(unit.failure, category=FailureCategory.UNKNOWN))
