"""The pool of threads: each batch comes back once, and its threads end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lexigram_ray.core.errors import ConfigError, DiskFullError, ModelNotFoundError, WorkerError
from lexigram_ray.core.types import Chunk, Document, Outcome, ParsedDocument
from lexigram_ray.ingestion.chunker import Chunker
from lexigram_ray.jobs import pool as pool_module
from lexigram_ray.jobs.executor import Execution, Tools
from lexigram_ray.jobs.pool import LARGE_BYTES, Batch, Completed, LocalPool, time_limit
from lexigram_ray.jobs.work import Dispatcher
from tests.in_memory import CHUNKER, MemoryParser, document, tools

PATIENCE_SECONDS = 20.0


@contextmanager
def opened(make_tools: Callable[[], Tools]) -> Iterator[LocalPool]:
    """A pool that is closed at the end, and whose threads must then be gone."""
    before = set(threading.enumerate())
    pool = LocalPool(make_tools)
    try:
        yield pool
    finally:
        pool.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), f"{thread.name} lives on"


def results(pool: LocalPool, count: int) -> list[Completed]:
    """Wait for so many batches, and a moment longer for one that nobody gave."""
    found: list[Completed] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found) < count and time.monotonic() < deadline:
        found += pool.wait(0.05)
    return found + pool.wait(0.05)


def wait_for_error(pool: LocalPool) -> None:
    """Wait until the pool raises; returns when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        pool.wait(0.05)


def batch(*names: str) -> Batch:
    return Batch(tuple(document(name) for name in names))


def test_results_of_many_batches_arrive_once_each(tmp_path: Path) -> None:
    contents: dict[str, str | Exception] = {f"d{number}": f"Text {number}." for number in range(60)}
    parsers: list[MemoryParser] = []

    def make_tools() -> Tools:
        made = MemoryParser(contents)
        parsers.append(made)
        return tools(contents, tmp_path, parser=made)

    ended: Counter[str] = Counter()
    with opened(make_tools) as pool:
        dispatcher = Dispatcher(pool, count_crash=lambda _: 1, crash_budget=3)
        given = [document(name, size=100_000) for name in contents]  # two make a batch
        for execution in dispatcher.run(given, lambda: True):
            ended.update(Path(unit.document.path).name for unit in execution.units)
            rows = 0 if execution.rows is None else execution.rows.num_rows
            assert rows == len(execution.units)
    assert ended == Counter(list(contents))
    assert sorted(name for parser in parsers for name in parser.parsed) == sorted(contents)


def test_a_result_names_the_batch_that_it_is_of(tmp_path: Path) -> None:
    contents = {"a": "One.", "b": "Two.", "c": "Three."}
    given = [batch("a", "b"), batch("c")]
    with opened(lambda: tools(contents, tmp_path)) as pool:
        for each in given:
            pool.submit(each)
        found = results(pool, 2)
    assert {completed.batch for completed in found} == set(given)
    for completed in found:
        assert completed.execution is not None
        units = completed.execution.units
        assert tuple(unit.document for unit in units) == completed.batch.documents


def test_a_batch_may_take_what_its_documents_may_and_large_ones_as_many_times_more() -> None:
    small = document("a"), document("b", size=LARGE_BYTES)
    assert time_limit(Batch(small), 900) == 1800
    large = document("c", size=3 * LARGE_BYTES)
    assert time_limit(Batch((*small, large)), 900) == 4500


def test_waiting_for_nothing_returns_nothing(tmp_path: Path) -> None:
    with opened(lambda: tools({}, tmp_path)) as pool:
        assert pool.wait(0.01) == []


@pytest.mark.parametrize(
    "error",
    [ModelNotFoundError("there is no such model"), ConfigError("bad chunker"), OSError("no fork")],
    ids=lambda error: type(error).__name__,
)
def test_tools_that_cannot_be_made_are_raised_by_wait(error: Exception) -> None:
    def make_tools() -> Tools:
        raise error

    with opened(make_tools) as pool:
        pool.submit(batch("a"))
        with pytest.raises(type(error)) as raised:
            wait_for_error(pool)
    assert raised.value is error


def test_a_machine_at_fault_is_raised_by_wait_and_not_laid_on_the_batch(tmp_path: Path) -> None:
    full = DiskFullError("no space left on the device")
    parser = MemoryParser({"a": full})
    with opened(lambda: tools({}, tmp_path, parser=parser)) as pool:
        pool.submit(batch("a"))
        with pytest.raises(WorkerError) as raised:
            wait_for_error(pool)
    assert raised.value is full
    assert parser.is_closed


def test_an_unexpected_exception_is_a_crash_of_its_batch_and_the_pool_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = pool_module.execute

    def faulty(documents: tuple[Document, ...], with_tools: Tools) -> Execution:
        if documents[0].path.endswith("bad"):
            raise ZeroDivisionError("a bug outside of every document")
        return execute(documents, with_tools)

    monkeypatch.setattr(pool_module, "execute", faulty)
    with opened(lambda: tools({"a": "One.", "b": "Two."}, tmp_path)) as pool:
        for each in (batch("bad"), batch("a"), batch("bad"), batch("b")):
            pool.submit(each)
        found = results(pool, 4)
    crashed = [completed for completed in found if completed.execution is None]
    assert [completed.batch for completed in crashed] == [batch("bad"), batch("bad")]
    assert crashed[0].crash == "ZeroDivisionError: a bug outside of every document"
    good = {completed.batch for completed in found if completed.execution is not None}
    assert good == {batch("a"), batch("b")}


def test_running_out_of_memory_is_a_crash_of_the_batch(tmp_path: Path) -> None:
    with opened(lambda: tools({"a": MemoryError("cannot allocate")}, tmp_path)) as pool:
        pool.submit(batch("a"))
        (completed,) = results(pool, 1)
    assert completed.execution is None
    assert completed.crash == "MemoryError: cannot allocate"


def test_two_batches_run_side_by_side(tmp_path: Path) -> None:
    # Each waits in its parser until the other one is there: one after the other, neither would end.
    meeting = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    class MeetingParser(MemoryParser):
        def parse(self, document: Document) -> ParsedDocument:
            meeting.wait()
            return super().parse(document)

    contents = {"a": "One.", "b": "Two."}
    with opened(lambda: tools(contents, tmp_path, parser=MeetingParser(contents))) as pool:
        for name in contents:
            pool.submit(batch(name))
        found = results(pool, 2)
    outcomes = [unit.outcome for each in found if each.execution for unit in each.execution.units]
    assert outcomes == [Outcome.INGESTED, Outcome.INGESTED]


def test_closing_ends_the_threads_and_closes_their_parsers(tmp_path: Path) -> None:
    parsers: list[MemoryParser] = []

    def make_tools() -> Tools:
        parsers.append(MemoryParser({"a": "One.", "b": "Two."}))
        return tools({}, tmp_path, parser=parsers[-1])

    with opened(make_tools) as pool:
        pool.submit(batch("a"))
        pool.submit(batch("b"))
        assert len(results(pool, 2)) == 2
        assert [parser.is_closed for parser in parsers] == [False, False]
    assert [parser.is_closed for parser in parsers] == [True, True]


def test_closing_a_pool_that_never_worked_is_nothing() -> None:
    with opened(lambda: pytest.fail("no tools are needed")):
        pass


def test_closing_does_not_wait_for_a_batch_under_way(tmp_path: Path) -> None:
    may_go_on, began = threading.Event(), threading.Event()

    class SlowChunker(Chunker):
        def chunks(self, parsed: ParsedDocument) -> Iterator[Chunk]:
            began.set()
            may_go_on.wait(PATIENCE_SECONDS)
            return super().chunks(parsed)

    parser = MemoryParser({"a": "One."})
    slow = SlowChunker(CHUNKER, None)
    with opened(lambda: tools({}, tmp_path, parser=parser, chunker=slow)) as pool:
        pool.submit(batch("a"))
        assert began.wait(PATIENCE_SECONDS)
        pool.close()
        assert not parser.is_closed
        may_go_on.set()
    assert parser.is_closed
