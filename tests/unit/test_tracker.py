"""The ETA comes from the mean of the whole run, and counts say what they name."""

from __future__ import annotations

from lexigram_ray.core.types import Document, FileStamp, Outcome
from lexigram_ray.jobs.executor import Executed
from lexigram_ray.jobs.report import Progress
from lexigram_ray.jobs.tracker import Tracker


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _unit(size: int, outcome: Outcome = Outcome.INGESTED, **counts: int) -> Executed:
    stamp = FileStamp(size=size, mtime_ns=0, ctime_ns=0, inode=0)
    document = Document(document_id="d", path="/d", source="/d", stamp=stamp)
    return Executed(document=document, outcome=outcome, **counts)


def _tracker(clock: Clock, told: list[Progress]) -> Tracker:
    tracker = Tracker(told.append, clock)
    tracker.begin_work(
        job_id="j", documents_done=1, documents_total=5, bytes_total=400, skipped=1, failed=0
    )
    return tracker


def test_counts_add_up_over_the_documents_that_ended() -> None:
    clock, told = Clock(), list[Progress]()
    tracker = _tracker(clock, told)
    tracker.ended(_unit(100, chunks=7, cached=3))
    tracker.ended(_unit(100, Outcome.FAILED))
    now = tracker.now
    assert (now.documents_done, now.chunks_done, now.chunks_cached) == (3, 7, 3)
    assert (now.bytes_done, now.skipped, now.failed) == (200, 1, 1)


def test_the_eta_is_unknown_at_first_and_then_the_mean_of_all_work() -> None:
    clock, told = Clock(), list[Progress]()
    tracker = _tracker(clock, told)
    tracker.ended(_unit(100))
    assert told[-1].seconds_remaining is None
    clock.now += 10
    tracker.ended(_unit(100))
    assert told[-1].seconds_remaining == 10
    clock.now += 10
    tracker.ended(_unit(200))
    assert told[-1].seconds_remaining == 0


def test_a_listener_is_told_a_few_times_a_second_at_most() -> None:
    clock, told = Clock(), list[Progress]()
    tracker = _tracker(clock, told)
    for _ in range(1_000):
        clock.now += 0.001
        tracker.pulse()
    assert len(told) <= 7
