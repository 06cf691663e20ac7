"""Reading results off a Ray dataset, by someone who can stop waiting for them."""

from __future__ import annotations

import contextlib
import gc
import logging
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar

import pyarrow as pa
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from lexigram_ray.core.job_logging import in_this_context
from lexigram_ray.jobs.text_places import POLL_SECONDS
from lexigram_ray.runtime.careful import PlaceStopped, first_line
from lexigram_ray.runtime.patience import Silence
from lexigram_ray.runtime.transport import Parcel, unpack

_ENDING: ContextVar[threading.Event] = ContextVar("ending")


class PipelineDiedError(Exception):
    """Ray Data gave up, because a worker died too often or was lost."""


class PipelineStalledError(PipelineDiedError):
    """Ray Data gave up, because nothing moved for as long as it was to wait."""


class EndWhenAsked:
    """Ends an execution from within its loop.

    Ray Data makes one for each execution, in the thread that starts it, and asks it about ten
    times a second. There is no other way: an execution that outlives `ray.shutdown` connects
    itself to whatever cluster it finds next.
    """

    def __init__(self) -> None:
        self._ending = _ENDING.get(None)

    def before_execution_starts(self, executor: object) -> None:
        """Nothing to do."""

    def on_execution_step(self, executor: object) -> None:
        """End here if it is asked for."""
        if self._ending is not None and self._ending.is_set():
            raise PlaceStopped

    def after_execution_succeeds(self, executor: object) -> None:
        """Nothing to do."""

    def after_execution_fails(self, executor: object, error: Exception) -> None:
        """Nothing to do."""


class DataStream:
    """Runs a dataset of parcels in a thread of its own; at most one result waits for its reader."""

    def __init__(self, dataset: ray.data.Dataset) -> None:
        dataset.context.custom_execution_callback_classes = [EndWhenAsked]  # pyright: ignore[reportAttributeAccessIssue]
        self._ending = threading.Event()
        self._left_alone = threading.Event()
        self._ready: queue.Queue[Parcel | Exception | None] = queue.Queue(1)
        # As an argument, which a thread lets go of at its end: whoever holds the dataset holds
        # its actors, and all that they reserve.
        self._thread = threading.Thread(
            target=in_this_context(self._run), args=(dataset,), name="embed", daemon=True
        )
        self._thread.start()

    def parcels(self, keep_on: Callable[[], bool]) -> Iterator[Parcel]:
        """Yield results as they come.

        Raises:
            PlaceStopped: `keep_on` said no.
            PipelineDiedError: The results that are missing will not come.
            WorkerError: The machine is at fault.
        """
        # Ray Data itself ends one that lasts.
        silence = Silence("Ray Data")
        while keep_on():
            try:
                found = self._ready.get(timeout=POLL_SECONDS)
            except queue.Empty:
                silence.goes_on()
                continue
            if found is None:
                return
            if isinstance(found, PipelineDiedError):
                # Only once the thread has ended are the dead pipeline's actors let go of; those
                # of its objects that refer to each other wait for the collector.
                self._thread.join()
                gc.collect()
            if isinstance(found, Exception):
                raise found
            yield found
            silence.begin()
        raise PlaceStopped

    def stop(self) -> None:
        """Have the pipeline ended; what its workers do is dropped."""
        self._left_alone.set()
        self._ending.set()

    def join(self, seconds: float) -> None:
        """Wait for its end."""
        self._thread.join(seconds)

    def _run(self, dataset: ray.data.Dataset) -> None:
        _ENDING.set(self._ending)
        last: Exception | None = None
        try:
            with _data_logs_in_files_only():
                # Not left early: Ray Data would kill its workers, and Ray tells the terminal.
                # Without prefetching: it would hold each result back until the next one is there.
                for table in dataset.iter_batches(
                    batch_size=1, batch_format="pyarrow", prefetch_batches=0
                ):
                    if not self._ending.is_set():
                        last = self._hand_on(table)
        except Exception as error:  # noqa: BLE001 - raised again by `parcels`
            last = last or _said(error)
        self._put(last)

    def _hand_on(self, table: pa.Table) -> Exception | None:
        try:
            self._put(unpack(table))
        except Exception as error:  # noqa: BLE001 - raised again by `parcels`
            self._ending.set()
            return _said(error)
        return None

    def _put(self, item: Parcel | Exception | None) -> None:
        while not self._left_alone.is_set():
            try:
                self._ready.put(item, timeout=POLL_SECONDS)
                return
            except queue.Full:
                continue


def _said(error: Exception) -> Exception:
    """Return what is raised in the reader's thread, free of this one's frames."""
    if isinstance(error, ExecutionTimeoutError):
        return PipelineStalledError(first_line(error))
    if isinstance(error, RayError):
        return PipelineDiedError(first_line(error))
    return error.with_traceback(None)


@contextlib.contextmanager
def _data_logs_in_files_only() -> Generator[None]:
    """Keep Ray Data's log off the terminal; it stays in the session's `logs/ray-data`."""

    def refuse(_: logging.LogRecord) -> bool:
        return False

    consoles = [
        handler
        for handler in logging.getLogger("ray.data").handlers
        if isinstance(handler, logging.StreamHandler)
    ]
    for handler in consoles:
        handler.addFilter(refuse)
    try:
        yield
    finally:
        for handler in consoles:
            handler.removeFilter(refuse)
