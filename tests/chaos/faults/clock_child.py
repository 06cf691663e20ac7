"""Works on jobs by a clock of its own. Usage: clock_child.py STATE SHIFT SEED

SHIFT is how many seconds the clock is ahead, or `jumps` for one that is put forward and back while
the process runs. Goes on until the file `stop` is in the state directory. What it has finished is
appended to `finished.log` there.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import ERROR, Claim, Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from tests.chaos.faults.children import ready
from tests.chaos.faults.two_jobs_child import stop_file
from tests.integration.commit_data import Place, commit, ingested

HOUR = 3600.0
JUMPS = "jumps"
WRITES, TIMED = "ingest", "timed"
"""Kinds of jobs: those that write a document, and those that have a deadline."""

SHIFTS = ("0", str(HOUR), str(-HOUR), JUMPS)
LATE = str(3 * HOUR)
"""The clock of who comes when everything that was put off is due; it puts nothing off."""

LEASE_SECONDS = 2.0
LONGEST_STEP_SECONDS = 0.03
RETRIED = 0.3
RETRY_SECONDS = (0.2, 0.5, 1.0, 0.8 * HOUR)
"""Of the last ones, some wait for the clock that is ahead, and some for the hour to pass."""


def clock_of(shift: str, chance: random.Random) -> Callable[[], float]:
    """Return a clock that is wrong by so much, now and then by something else where it jumps."""
    if shift != JUMPS:
        return lambda: time.time() + float(shift)
    seconds, until = 0.0, 0.0

    def jumping() -> float:
        nonlocal seconds, until
        if time.monotonic() >= until:
            seconds = chance.choice((-HOUR, 0.0, HOUR))
            until = time.monotonic() + chance.uniform(0.1, 0.6)
        return time.time() + seconds

    return jumping


def main(state: Path, shift: str, chance: random.Random) -> None:
    """Claim whatever there is, and do it."""
    place = Place(state)
    with Store.open(place.store_url, clock=clock_of(shift, chance)) as store:
        collection = place.open_collection(store)
        ready()
        while not stop_file(state).exists():
            kind = chance.choice((WRITES, WRITES, TIMED))
            claim = store.claim_next(kind, Owner.current(), LEASE_SECONDS)
            if claim is None:
                time.sleep(0.02)
                store.fail_overdue(Owner.current(), turn_seconds=LEASE_SECONDS)
                continue
            try:
                if shift != LATE and chance.random() < RETRIED:
                    _put_off(store, claim, chance)
                    continue
                _do(store, claim, collection, chance)
            except LeaseLostError:
                continue  # By another's clock our lease was over: the job is another's now.
            _append(state / "finished.log", f"{claim.job_id}\n")


def _put_off(store: Store, claim: Claim, chance: random.Random) -> None:
    category, wait = FailureCategory.TRANSIENT, chance.choice(RETRY_SECONDS)
    store.release(claim, ERROR, error="not now", category=category, wait_seconds=wait)


def _do(store: Store, claim: Claim, collection: Collection, chance: random.Random) -> None:
    job = cast("Job", store.get(claim.job_id))
    time.sleep(chance.uniform(0, LONGEST_STEP_SECONDS))
    store.beat(claim, LEASE_SECONDS)
    if job.kind == WRITES:
        spec: dict[str, Any] = job.spec
        commit(store, claim, collection, ingested({spec["document"]: spec["chunks"]}))
    time.sleep(chance.uniform(0, LONGEST_STEP_SECONDS))
    store.finish(claim, JobStatus.COMPLETED, summary={})


def _append(log: Path, line: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], random.Random(sys.argv[3]))
