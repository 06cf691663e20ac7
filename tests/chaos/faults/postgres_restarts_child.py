"""A client that outlives its database server. Usage: ... URL NAME JOBS WORK_SECONDS TOTAL

It submits its share of the jobs, claims whatever there is, works on it and finishes it. When all
jobs of all clients are done, it says what it was answered: one JSON line.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lexigram_ray.core.errors import LeaseLostError, StoreUnreachableError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Submission
from lexigram_ray.jobs.store import Store
from tests.chaos.faults.children import ready, say

KIND = "errand"
COLLECTION = "errands"
BATCH = 5
LEASE_SECONDS = 3.0
BEAT_EVERY_SECONDS = 0.005
LOOK_EVERY_SECONDS = 0.05

T = TypeVar("T")


@dataclass
class Client:
    """One process's view of the store.

    Attributes:
        submitted: The job that each unique key was answered with.
        changed: Keys that were answered with another job when asked again.
        finished: Who has finished each job as far as this client was told: its own name and fence.
        overtaken: Claims that were lost to another client, as the fence said.
        errors: What the store said while its server was away, and how often.
        unclear: Of these, the ones that a user could do nothing with.
    """

    store: Store
    name: str
    chance: random.Random
    submitted: dict[str, str] = field(default_factory=dict[str, str])
    changed: list[str] = field(default_factory=list[str])
    finished: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    overtaken: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])
    unclear: list[str] = field(default_factory=list[str])

    def submit(self, keys: list[str]) -> None:
        """Submit some jobs at once; the unique keys make it safe to ask again."""
        asked = [
            Submission(kind=KIND, collection=COLLECTION, spec={}, spec_key=key, unique_key=key)
            for key in keys
        ]
        answers = self._again(lambda: self.store.submit_many(asked))
        for key, (job, _) in zip(keys, answers, strict=True):
            self.submitted[key] = job.id
        # Now and then a client asks for what it has been answered before.
        repeated = self.chance.choice(keys)
        [(job, is_new)] = self._again(lambda: self.store.submit_many([asked[keys.index(repeated)]]))
        if is_new or job.id != self.submitted[repeated]:
            self.changed.append(repeated)

    def work(self, seconds: float) -> bool:
        """Do one job from claim to end; False where there is none to claim."""
        claim = self._again(
            lambda: self.store.claim_next(KIND, Owner.current(), LEASE_SECONDS, actor=self.name)
        )
        if claim is None:
            return False
        try:
            self._beat(claim, seconds)
            self._finish(claim)
        except LeaseLostError:
            self.overtaken += 1
        return True

    def all_done(self, total: int) -> bool:
        """Whether so many jobs are completed."""
        counts = self._again(self.store.counts)
        return counts[JobStatus.COMPLETED] >= total

    def _beat(self, claim: Claim, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._again(lambda: self.store.beat(claim, LEASE_SECONDS))
            time.sleep(BEAT_EVERY_SECONDS)

    def _finish(self, claim: Claim) -> None:
        mine = f"{self.name}:{claim.fence}"
        try:
            self._again(lambda: self.store.finish(claim, JobStatus.COMPLETED, summary={"by": mine}))
        except LeaseLostError:
            # The answer to an earlier try may be what was lost, and not the claim.
            job = self._again(lambda: self.store.get(claim.job_id))
            if job is None or job.summary.get("by") != mine:
                raise
        self.finished.append((claim.job_id, mine))

    def _again(self, ask: Callable[[], T]) -> T:
        """Ask until the store is there, and note what it says meanwhile."""
        while True:
            try:
                return ask()
            except StoreUnreachableError as error:
                self.errors[error.message.partition(": ")[2] or error.message] += 1
                if not error.hint or "the job store postgresql://" not in error.message:
                    self.unclear.append(f"{error.message} ({error.hint})")
            time.sleep(LOOK_EVERY_SECONDS)


def main(url: str, name: str, jobs: str, work_seconds: str, total: str) -> None:
    """Submit, and work until all is done."""
    with Store.open(url) as store:
        client = Client(store=store, name=name, chance=random.Random(name))
        ready()
        for first in range(0, int(jobs), BATCH):
            keys = [f"{name}-{number}" for number in range(first, min(first + BATCH, int(jobs)))]
            client.submit(keys)
            for _ in keys:
                client.work(float(work_seconds))
        while client.work(float(work_seconds)) or not client.all_done(int(total)):
            time.sleep(LOOK_EVERY_SECONDS)
    say(
        json.dumps(
            {
                "submitted": client.submitted,
                "changed": client.changed,
                "finished": client.finished,
                "overtaken": client.overtaken,
                "errors": client.errors,
                "unclear": client.unclear,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
