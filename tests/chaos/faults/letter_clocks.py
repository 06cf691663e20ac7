"""Dead letters whose times are given and read by clocks an hour ahead, behind, and right.

Four sweepers look at once, and are killed. Each letter has to be in just one retry, and in one.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import DeadLetter, LetterFilter, LetterStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.requests import REQUEST
from lexigram_ray.jobs.store import Store
from tests.chaos.faults.children import Child
from tests.chaos.faults.clock_child import LATE, SHIFTS
from tests.chaos.faults.two_jobs_child import stop_file
from tests.chaos.proof_types import SIGKILL, Outcome, Trial
from tests.chaos.same_rows import difference
from tests.chaos.tally import Tally
from tests.command_line import run_cli

LETTERS = 24
ROUNDS = 2
LONG = 2
DUE_SECONDS = 0.5
WAIT_SECONDS = 20.0
OPEN = LetterFilter(statuses=(LetterStatus.OPEN,))
RETRYING = LetterFilter(statuses=(LetterStatus.RETRYING,))


def run(trial: Trial) -> Iterator[Outcome]:
    """Fail documents for real, then have their letters retried round after round."""
    chance = trial.chance("letter_clocks")
    state = trial.state("letters")
    broken = _broken_documents(trial.root / "broken")
    done = run_cli("ingest", trial.root / "broken", "-c", "docs", "--json", state=state)
    with Store.open(f"sqlite:///{state / 'jobs.db'}") as store:
        site = _Site(store=store, state=state, broken=broken)
        if store.dead_letters.count(OPEN) != len(broken):
            site.swept.notes.append(f"{len(broken)} documents failed: {done.stdout} {done.stderr}")
        for _ in range(ROUNDS * (LONG if trial.long else 1)):
            _round(site, chance)
    yield site.killed.outcome(f"{SIGKILL} of sweepers whose clocks are right and wrong")
    yield site.swept.outcome("dead letters' times given and read by clocks an hour wrong")


def _broken_documents(folder: Path) -> list[str]:
    folder.mkdir()
    paths = [folder / f"broken{number:03}.pdf" for number in range(LETTERS)]
    for path in paths:
        path.write_bytes(b"%PDF-1.7\nnothing that a reader could use\n")
    return [str(path.resolve()) for path in paths]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """A store whose documents have failed, and what is counted there."""

    store: Store
    state: Path
    broken: list[str]
    killed: Tally = field(default_factory=Tally)
    swept: Tally = field(default_factory=Tally)


def _round(site: _Site, chance: random.Random) -> None:
    """Give all letters their times by some clock, let sweepers look, and count what they made."""
    store, swept = site.store, site.swept
    known = {job.id for job in _jobs(store)}
    _schedule(store, float(chance.choice(SHIFTS[:3])), chance)
    with ExitStack() as stack:
        # The last one comes hours later, and finds whatever was not due by any clock before.
        children = [_started(stack, site.state, shift, chance) for shift in (*SHIFTS, LATE)]
        *crew, late = children
        for child in crew:
            child.begin()
        time.sleep(chance.uniform(0, 2 * DUE_SECONDS))
        victim = chance.randrange(len(SHIFTS))
        site.killed.times += crew[victim].was_killed()
        crew[victim] = late
        late.begin()
        _wait_for(store, len(site.broken))
        stop_file(site.state).touch()
        for child in crew:
            if code := child.wait():
                swept.notes.append(f"a sweeper ended with {code}: {child.errors()}")
    stop_file(site.state).unlink()
    swept.times += len(SHIFTS) - 1
    made = [job for job in _jobs(store) if job.id not in known]
    swept.add(difference(_retried(made), Counter(site.broken)))
    swept.notes += _not_with(made, store.dead_letters.each(RETRYING))
    for job in made:
        _end(store, job)
    if (left := store.dead_letters.count(OPEN)) != len(site.broken):
        swept.notes.append(f"{left} of {len(site.broken)} letters are open after their retries")


def _schedule(store: Store, shift: float, chance: random.Random) -> None:
    """Give each letter its own moment, some of them the same one."""
    begin = datetime.now(UTC) + timedelta(seconds=shift)
    times = {
        letter.id: begin + timedelta(seconds=chance.choice((0.0, 0.5, 1.0)) * DUE_SECONDS)
        for letter in store.dead_letters.each(OPEN)
    }
    store.dead_letters.schedule(times, asked=False)


def _started(stack: ExitStack, state: Path, shift: str, chance: random.Random) -> Child:
    return stack.enter_context(Child("letter_clock_child", state, shift, chance.randrange(10**9)))


def _wait_for(store: Store, letters: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while store.dead_letters.count(RETRYING) < letters and time.monotonic() < deadline:
        time.sleep(0.05)


def _jobs(store: Store) -> list[Job]:
    return store.list_jobs(limit=500)[0]


def _retried(made: list[Job]) -> Counter[str]:
    """Count how many jobs each document is in."""
    requests: list[Any] = [job.spec[REQUEST] for job in made]
    return Counter(path for request in requests for path in request["paths"])


def _not_with(made: list[Job], letters: Iterator[DeadLetter]) -> Iterator[str]:
    """Name the letters that say that another job tries them again than the one that does."""
    jobs: dict[str, Any] = {job.id: job.spec[REQUEST] for job in made}
    for letter in letters:
        request = jobs.get(letter.retry_job_id or "")
        if request is None or letter.origin not in request["paths"]:
            yield f"letter {letter.id} is tried again by {letter.retry_job_id}, which lacks it"


def _end(store: Store, job: Job) -> None:
    """End a retry that has done nothing: its letters open again."""
    claim = store.claim(job.id, Owner.current(), WAIT_SECONDS)
    assert isinstance(claim, Claim), f"nobody has begun job {job.id}"
    store.finish(claim, JobStatus.COMPLETED, summary={})
