"""Where ranges of texts are embedded: the seam between a run and its workers, and no Ray."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.job_logging import in_this_context
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.jobs.executor import Embedder
from lexigram_ray.jobs.staged import StagedUnit, read_unit
from lexigram_ray.jobs.text_executor import RowsExecution, execute_rows

POLL_SECONDS = 0.25
CLOSE_SECONDS = 1.0

logger = logging.getLogger("lexigram_ray")


class TextPlace(Protocol):
    """Embeds units of a staged table, several at a time.

    Attributes:
        name: `this process`, `warm embedder` or `Ray Data`.
    """

    name: str

    def run(
        self, path: Path, units: Sequence[StagedUnit], *, keep_on: Callable[[], bool]
    ) -> Iterator[tuple[StagedUnit, RowsExecution]]:
        """Yield each unit once, in any order, as they end.

        Args:
            path: Of the staged table; whoever works must see it.
            units: Of that table.
            keep_on: Asked at least twice a second while nothing ends. Once it says no, the
                iterator ends, and what is under way is dropped.

        Raises:
            WorkerError: The machine, not a text, is at fault: disk full, model not found.
        """
        ...

    def close(self) -> None:
        """Let go of the workers; what is under way is dropped."""
        ...


def execute_unit(path: Path, unit: StagedUnit, embedder: Embedder, *, job_id: str) -> RowsExecution:
    """Read a unit and embed its rows; errors as of `execute_rows`."""
    return execute_rows(read_unit(path, unit), embedder, job_id=job_id)


class InProcessPlace:
    """Embeds in threads of this process, without Ray.

    Two of them, so that one looks up, tokenises and builds rows while the other's texts are on
    the device.

    Args:
        make_embedder: Called when the first unit is run.
        job_id: Stands in the rows.
    """

    name = "this process"
    threads = 2

    def __init__(self, make_embedder: Callable[[], CachedEmbedder], job_id: str) -> None:
        self._make_embedder = make_embedder
        self._job_id = job_id
        self._embedder: CachedEmbedder | None = None
        self._crews: list[_Crew] = []

    def run(
        self, path: Path, units: Sequence[StagedUnit], *, keep_on: Callable[[], bool]
    ) -> Iterator[tuple[StagedUnit, RowsExecution]]:
        """Yield each unit once; see `TextPlace.run`."""
        embedder = self._embedder = self._embedder or self._make_embedder()
        crew = _Crew(
            units,
            lambda unit: execute_unit(path, unit, embedder, job_id=self._job_id),
            self.threads,
        )
        self._crews.append(crew)
        try:
            yield from crew.ended(keep_on)
        finally:
            crew.stop()

    def close(self) -> None:
        """End the threads, and let the cache write what it holds."""
        for crew in self._crews:
            crew.join(CLOSE_SECONDS)
        if self._embedder is None:
            return
        try:
            self._embedder.close()
        except WorkerError as error:
            # What the cache could not keep is only computed again.
            logger.warning("the embedding cache was not written: %s", error)


class _Crew:
    """Threads that share a list of units; results wait in a queue no longer than the crew."""

    def __init__(
        self,
        units: Sequence[StagedUnit],
        execute: Callable[[StagedUnit], RowsExecution],
        threads: int,
    ) -> None:
        self._waiting = iter(units)
        self._left = len(units)
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._execute = execute
        self._done: queue.Queue[tuple[StagedUnit, RowsExecution] | BaseException] = queue.Queue(
            threads
        )
        self._threads = [
            threading.Thread(target=in_this_context(self._run), name="embed", daemon=True)
            for _ in range(min(threads, len(units)))
        ]
        for thread in self._threads:
            thread.start()

    def ended(self, keep_on: Callable[[], bool]) -> Iterator[tuple[StagedUnit, RowsExecution]]:
        while self._left and keep_on():
            try:
                found = self._done.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(found, BaseException):
                raise found
            self._left -= 1
            yield found

    def stop(self) -> None:
        self._stopped.set()

    def join(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds / len(self._threads))

    def _run(self) -> None:
        try:
            while (unit := self._next()) is not None:
                self._put((unit, self._execute(unit)))
        except BaseException as error:  # noqa: BLE001 - raised again by `ended`
            self._put(error)

    def _next(self) -> StagedUnit | None:
        with self._taking:
            return None if self._stopped.is_set() else next(self._waiting, None)

    def _put(self, result: tuple[StagedUnit, RowsExecution] | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                self._done.put(result, timeout=POLL_SECONDS)
                return
            except queue.Full:
                continue
