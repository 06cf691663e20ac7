"""Clocks that are an hour ahead, an hour behind, or jump, in processes beside one that is right.

A wrong clock may take a job from a living owner, wake it early or late, or end it at a deadline
that has not passed. It must not do anything twice, and must lose nothing.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import DEADLINE_CODE, Job
from lexigram_ray.jobs.store import Store
from tests.chaos.faults import letter_clocks
from tests.chaos.faults.children import Child
from tests.chaos.faults.clock_child import HOUR, LATE, SHIFTS, TIMED, WRITES
from tests.chaos.faults.counting import against_ledger, counted, rows_of
from tests.chaos.faults.two_jobs_child import stop_file
from tests.chaos.proof_types import SIGKILL, Outcome, Trial
from tests.chaos.same_rows import difference
from tests.chaos.tally import Tally
from tests.collections_data import documents
from tests.integration.commit_data import NAME, Place

JOBS, TIMED_JOBS, KILLS = 90, 30, 5
LONG = 2
DRAIN_SECONDS = 120.0
GAP_SECONDS = (0.3, 1.0)


def run(trial: Trial) -> Iterator[Outcome]:
    """Let four clocks work on one queue, then let time pass."""
    chance = trial.chance("clock")
    place = Place(trial.root / "clocks")
    times = LONG if trial.long else 1
    wanted = {f"doc{number:03}": chance.randint(1, 20) for number in range(JOBS * times)}
    killed, counted_jobs = Tally(), Tally()
    with place.open_store() as store:
        place.open_collection(store)
        _submit(store, wanted, TIMED_JOBS * times)
        with ExitStack() as stack:
            crew = [_started(stack, place, shift, chance) for shift in SHIFTS]
            for child in crew:
                child.begin()
            for _ in range(KILLS * times):
                time.sleep(chance.uniform(*GAP_SECONDS))
                victim = chance.randrange(len(SHIFTS))
                killed.times += crew[victim].was_killed()
                crew[victim] = _started(stack, place, SHIFTS[victim], chance)
                crew[victim].begin()
            _stop(place, crew, counted_jobs)
        _drain(store, place, chance, counted_jobs)
        _count(store, place, wanted, counted_jobs)
    counted_jobs.times = len(SHIFTS) - 1
    yield killed.outcome(f"{SIGKILL} of workers whose clocks are right and wrong")
    yield counted_jobs.outcome("clocks an hour ahead, behind, and moved to and fro")
    yield from letter_clocks.run(trial)


def _submit(store: Store, wanted: dict[str, int], timed: int) -> None:
    for document, chunks in wanted.items():
        spec: dict[str, object] = {"document": document, "chunks": chunks}
        store.submit(kind=WRITES, collection=NAME, spec=spec, spec_key=document)
    deadline = datetime.now(UTC) + timedelta(seconds=HOUR / 2)
    for number in range(timed):
        key = f"timed{number}"
        store.submit(kind=TIMED, collection=NAME, spec={}, spec_key=key, deadline=deadline)


def _started(stack: ExitStack, place: Place, shift: str, chance: random.Random) -> Child:
    return stack.enter_context(Child("clock_child", place.root, shift, chance.randrange(10**9)))


def _stop(place: Place, crew: list[Child], tally: Tally) -> None:
    stop_file(place.root).touch()
    for child in crew:
        if code := child.wait():
            tally.notes.append(f"a worker ended with {code}: {child.errors()}")
    stop_file(place.root).unlink()


def _drain(store: Store, place: Place, chance: random.Random, tally: Tally) -> None:
    """Let somebody come hours later, when all that was put off is due."""
    deadline = time.monotonic() + DRAIN_SECONDS
    with ExitStack() as stack:
        late = _started(stack, place, LATE, chance)
        late.begin()
        while _unfinished(store) and time.monotonic() < deadline:
            time.sleep(0.1)
        _stop(place, [late], tally)


def _unfinished(store: Store) -> list[Job]:
    return [job for job in _jobs(store) if not job.status.is_final]


def _jobs(store: Store) -> Iterator[Job]:
    cursor: str | None = None
    while True:
        jobs, cursor = store.list_jobs(limit=500, cursor=cursor)
        yield from jobs
        if cursor is None:
            return


def _count(store: Store, place: Place, wanted: dict[str, int], tally: Tally) -> None:
    collection = place.open_collection(store)
    tally.add(difference(rows_of(collection), counted(documents(wanted))))
    tally.notes += against_ledger(collection, store)
    finished = Counter((place.root / "finished.log").read_text().split())
    for job in _jobs(store):
        ends = [each.outcome for each in store.attempts_of(job.id)].count("completed")
        is_over = job.kind == TIMED and job.error_code == DEADLINE_CODE
        if job.status is not JobStatus.COMPLETED and not is_over:
            tally.lost += 1
        # Who was killed between the end and the note of it has left none.
        tally.duplicated += max(0, ends - 1, finished[job.id] - 1)
        if is_over and (ends or finished[job.id]):
            tally.notes.append(f"job {job.id} has both completed and failed at its deadline")
