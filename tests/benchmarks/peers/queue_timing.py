"""What every queue is asked alike: the payload of a job, how often, how times become rates.

Imported by our own side and by the peers' scripts: only the standard library is at hand in both.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

BATCHES = (100, 1000)
"""Jobs of a batched submission."""

FEW_FINISHED = 1_000
"""Jobs that have ended where few have; how many there are where many have is an option."""

CLAIMS_IN_A_BLOCK = 20
QUEUE = "ingest"

_numbers = itertools.count()


def payload() -> dict[str, object]:
    """Return the arguments of a job as `ingest` has them; no two are alike."""
    number = next(_numbers)
    return {
        "paths": [f"/srv/documents/folder-{number:07}"],
        "collection": "documents",
        "model": "sentence-transformers/all-MiniLM-L6-v2@1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        "chunker": "tokens:254:0",
    }


def per_second(jobs: int, seconds: Sequence[float]) -> float:
    """Return jobs a second of the median round: each round handed over so many."""
    return jobs / statistics.median(seconds)


def timed(do: Callable[[], object]) -> float:
    """Return how many seconds a call took."""
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


async def timed_await(do: Callable[[], Awaitable[object]]) -> float:
    """Return how many seconds a coroutine took."""
    started = time.perf_counter()
    await do()
    return time.perf_counter() - started


def write_back() -> None:
    """Let the disk end what filling databases has left it to do."""
    os.sync()


def blocks(jobs: int) -> Iterator[range]:
    """Yield the rounds of claims.

    Queues that are compared take turns at each, so that a slow moment of the disk meets both.
    """
    for start in range(0, jobs, CLAIMS_IN_A_BLOCK):
        yield range(start, min(start + CLAIMS_IN_A_BLOCK, jobs))


def claims_per_second(seconds: Sequence[float]) -> float:
    """Return the rate of the median block, from the seconds of each claim in order."""
    sums = [sum(seconds[block.start : block.stop]) / len(block) for block in blocks(len(seconds))]
    return 1 / statistics.median(sums)
