"""Where units are executed: the seam between the run and its workers, and the pool without Ray."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.job_logging import in_this_context
from lexigram_ray.core.types import Document
from lexigram_ray.jobs.executor import Execution, Tools, execute

BATCH_DOCUMENTS = 16
BATCH_BYTES = 256 * 1024
CLOSE_SECONDS = 1.0

TIMED_OUT = "timed_out"
"""Code of what was ended because its time was over."""

LARGE_BYTES = 8 * 1024 * 1024
"""A document larger than this has its time limit as many times over: length is no fault."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents that are executed together."""

    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Completed:
    """A batch's result.

    Attributes:
        crash: How its worker died; then there is no `execution`.
        is_late: Whether the worker was ended because the batch's time was over.
        had_begun: Whether the worker was up; one that dies while it starts is no document's fault.
    """

    batch: Batch
    execution: Execution | None = None
    crash: str = ""
    is_late: bool = False
    had_begun: bool = True


class WorkerPool(Protocol):
    """Executes batches side by side."""

    @property
    def slots(self) -> int:
        """How many batches it takes at once."""
        ...

    def submit(self, batch: Batch) -> None:
        """Start a batch; at most `slots` may be under way."""
        ...

    def wait(self, timeout: float) -> list[Completed]:
        """Return what has ended, waiting up to `timeout` seconds for the first.

        Raises:
            WorkerError: The machine, not a document, is at fault: disk full, model not found.
        """
        ...

    def close(self) -> None:
        """Let go of the workers; work under way is dropped."""
        ...


def batches(documents: Iterable[Document]) -> Iterator[Batch]:
    """Group documents so that a batch feeds the model well and a crash costs little."""
    group: list[Document] = []
    size = 0
    for document in documents:
        if group and (len(group) == BATCH_DOCUMENTS or size + document.stamp.size > BATCH_BYTES):
            yield Batch(tuple(group))
            group, size = [], 0
        group.append(document)
        size += document.stamp.size
    if group:
        yield Batch(tuple(group))


def time_limit(batch: Batch, unit_seconds: float) -> float:
    """Return the seconds that a batch may be under way: the sum of what its documents may take.

    Args:
        unit_seconds: The limit of a document of up to `LARGE_BYTES`.
    """
    return unit_seconds * sum(
        max(1.0, document.stamp.size / LARGE_BYTES) for document in batch.documents
    )


class LocalPool:
    """Executes batches in threads of this process: two, so that one parses while one embeds.

    A thread cannot be killed, so that `jobs.unit_seconds` does not hold here: what bounds a
    document is the time limit of its parser's process, and of each request to a server.

    Args:
        make_tools: Called once a thread; the tools of different threads may share an embedder.
    """

    slots = 2

    def __init__(self, make_tools: Callable[[], Tools]) -> None:
        self._make_tools = make_tools
        self._work: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Completed | BaseException] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def submit(self, batch: Batch) -> None:
        """Start a batch."""
        if len(self._threads) < self.slots:
            run = in_this_context(self._run)
            thread = threading.Thread(target=run, name="ingest", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put(batch)

    def wait(self, timeout: float) -> list[Completed]:
        """Return what has ended."""
        try:
            first = self._done.get(timeout=timeout)
        except queue.Empty:
            return []
        if isinstance(first, BaseException):
            raise first
        return [first]

    def close(self) -> None:
        """End the threads, and their parsers with them; what they work on is dropped."""
        self._closed.set()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(CLOSE_SECONDS / self.slots)

    def _run(self) -> None:
        try:
            tools = self._make_tools()
        except BaseException as error:  # noqa: BLE001 - raised again by `wait`
            self._done.put(error)
            return
        try:
            while (batch := self._work.get()) is not None and not self._closed.is_set():
                self._done.put(_completed(batch, tools))
        except WorkerError as error:
            self._done.put(error)
        finally:
            tools.parser.close()


def _completed(batch: Batch, tools: Tools) -> Completed:
    try:
        return Completed(batch, execute(batch.documents, tools))
    except WorkerError:
        raise
    except Exception as error:  # noqa: BLE001 - counted against the batch, as a worker's death is
        return Completed(batch, crash=f"{type(error).__name__}: {error}")
