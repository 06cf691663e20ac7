"""Two stores that are given the same jobs: one is broken into, and has to end as the other does."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from tests.chaos.faults.commit_work import Shape, Work
from tests.chaos.faults.counting import against_ledger, rows_of
from tests.chaos.same_rows import difference
from tests.chaos.tally import Tally
from tests.integration.commit_data import NAME, Place, found, one_copy

DOCUMENTS = [f"doc{number:02}" for number in range(24)]
TEXTS = [f"text{number:03}" for number in range(600)]
MOST_CHUNKS = {Shape.SMALL: 150, Shape.SPILLED: 400}


class Site:
    """One shape of jobs at two places; jobs follow each other, and write over each other's rows.

    Attributes:
        disturbed, quiet: Where faults are made, and where none ever is.
        held: Count and version of everything that the jobs so far have written.
    """

    def __init__(self, root: Path, shape: Shape) -> None:
        self.shape = shape
        self.disturbed = Place(root / shape / "disturbed")
        self.quiet = Place(root / shape / "quiet")
        self.held: dict[str, tuple[int, str]] = {}
        self._jobs = 0

    def next_work(self, chance: random.Random, *, lease_seconds: float = 60.0) -> Work:
        """Return a job under which some documents shrink, some grow, some come, and some stay."""
        self._jobs += 1
        if self.shape is Shape.TEXTS:
            counts = dict.fromkeys(chance.sample(TEXTS, chance.randint(200, 500)), 1)
        else:
            chosen = chance.sample(DOCUMENTS, chance.randint(3, 8))
            counts = {each: chance.randint(1, MOST_CHUNKS[self.shape]) for each in chosen}
        return Work(
            job=f"job{self._jobs}",
            shape=self.shape,
            counts=counts,
            version=f"v{self._jobs}",
            commits=len(counts) if self.shape is Shape.SPILLED else chance.randint(1, 3),
            lease_seconds=lease_seconds,
        )

    def hold(self, work: Work) -> None:
        """Note that a job has ended."""
        self.held |= {each: (count, work.version) for each, count in work.written().items()}

    def is_completed(self, work: Work) -> bool:
        """Whether the job has come to its end at the disturbed place."""
        with self.disturbed.open_store() as store:
            return any(job.status is JobStatus.COMPLETED for job in _jobs(store, work))

    def torn(self, work: Work) -> Iterator[str]:
        """Say of which documents a reader sees, now, neither the old nor the new state."""
        with self.disturbed.open_store() as store:
            now = found(self.disturbed.open_collection(store))
        new = one_copy(work.counts, work.version)
        for document, rows in now.items():
            count, version = self.held.get(document, (0, ""))
            if rows not in (one_copy({document: count}, version).get(document), new.get(document)):
                yield f"{self.shape} {work.job}: a reader saw a part of {document}: {rows}"

    def compare_rows(self, tally: Tally) -> None:
        """Count rows of the disturbed place that differ from the quiet one's, or the ledger's."""
        with self.disturbed.open_store() as store, self.quiet.open_store() as quiet:
            collection = self.disturbed.open_collection(store)
            wanted = rows_of(self.quiet.open_collection(quiet))
            tally.add(difference(rows_of(collection), wanted))
            tally.notes += against_ledger(collection, store)

    def compare_jobs(self, work: Work, tally: Tally) -> None:
        """Count units that differ, and note a job that has not completed just once."""
        with self.disturbed.open_store() as store, self.quiet.open_store() as quiet:
            tally.add(difference(_units(store, work), _units(quiet, work)))
            attempts = [
                [attempt.outcome for attempt in store.attempts_of(job.id)]
                for job in _jobs(store, work)
            ]
        if [each.count("completed") for each in attempts] != [1]:
            tally.notes.append(f"{self.shape} {work.job}: attempts {attempts}")


def _units(store: Store, work: Work) -> Counter[tuple[str, str, int, str]]:
    """Return how each unit of a job has ended."""
    return Counter(
        (unit.unit_id, unit.state.value, unit.chunks, unit.code)
        for job in _jobs(store, work)
        for unit in store.units(job.id)
    )


def _jobs(store: Store, work: Work) -> list[Job]:
    """Return the jobs that were made for some work: there should be one."""
    newest, _ = store.list_jobs(collection=NAME, limit=5)
    return [job for job in newest if job.spec == {"paths": [work.job]}]
