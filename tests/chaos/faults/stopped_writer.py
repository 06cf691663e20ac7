"""Writers that are stopped for longer than their lease, while another one takes over their job."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow as pa

from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Busy, Claim
from lexigram_ray.jobs.store import Store
from tests.chaos.faults.children import Child
from tests.chaos.faults.commit_kills_child import WRITING
from tests.chaos.faults.commit_sites import Site, Tally
from tests.chaos.faults.commit_work import Shape, do
from tests.chaos.faults.counting import against_ledger, counted, difference, rows_of
from tests.chaos.proof_types import Outcome, Trial
from tests.chaos.stopped_child import DOCUMENT, JOB
from tests.collections_data import documents
from tests.command_line import REPOSITORY
from tests.contract.store_data import wait_until_stopped
from tests.integration.commit_data import (
    Place,
    claim_job,
    commit,
    ingested,
)

LEASE_SECONDS = 1.0
MOMENTS = ("in the middle of the merge", "before the removal", "after the write")
CHILD_SECONDS = 60
ROUNDS = 2
LONG = 10


def run(trial: Trial) -> Iterator[Outcome]:
    """Stop a writer at moments that are known to be delicate, then at any moment at all."""
    chance = trial.chance("stopped_writer")
    rounds = ROUNDS * (LONG if trial.long else 1)
    for moment in MOMENTS:
        tally = Tally()
        for number in range(rounds):
            _stop_at(moment, Place(trial.root / f"{moment} {number}"), tally, chance)
        yield tally.outcome(f"SIGSTOP past the lease, {moment}")
    tally = Tally()
    sites = [Site(trial.root, shape) for shape in Shape]
    for _ in range(rounds):
        for site in sites:
            _stop_anywhere(site, tally, chance)
    yield tally.outcome("SIGSTOP past the lease, anywhere in a commit")


def _stop_at(moment: str, place: Place, tally: Tally, chance: random.Random) -> None:
    """Let `stopped_child` stop itself there, and another process overtake it."""
    newest = chance.randint(1, 9)
    with place.open_store() as store:
        collection = place.open_collection(store)
        older = ingested({DOCUMENT: chance.randint(1, 9), "b": 2}, "old")
        commit(store, claim_job(store, "earlier"), collection, older)
        with _stopping_child(place, moment) as late:
            wait_until_stopped(late)
            tally.times += 1
            commit(store, _take_over(store), collection, ingested({DOCUMENT: newest}, "newest"))
            late.send_signal(signal.SIGCONT)
            output, _ = late.communicate(timeout=CHILD_SECONDS)
        wanted = documents({DOCUMENT: newest}, "newest"), documents({"b": 2}, "old")
        tally.add(*difference(counted(pa.concat_tables(wanted)), rows_of(collection)))
        tally.notes += against_ledger(collection, store)
    if '"lease_lost"' not in output:
        tally.notes.append(f"{moment}: the late writer said {output!r}, not that it is too late")


@contextlib.contextmanager
def _stopping_child(place: Place, moment: str) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.stopped_child", str(place.root), moment],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _take_over(store: Store) -> Claim:
    """Claim the stopped writer's job as soon as its lease is over."""
    (job,) = (each for each in store.list_jobs()[0] if each.spec == {"paths": [JOB]})
    deadline = time.monotonic() + CHILD_SECONDS
    while isinstance(claim := store.claim(job.id, Owner.current(), CHILD_SECONDS), Busy):
        if time.monotonic() > deadline:
            raise RuntimeError("the stopped writer's lease does not end")
        time.sleep(0.05)
    return claim


def _stop_anywhere(site: Site, tally: Tally, chance: random.Random) -> None:
    """Stop a writer at any time after its first write has begun, and let another go on.

    That one finds the documents changed; the texts of a job, which were staged, never do.
    """
    work = site.next_work(chance, lease_seconds=LEASE_SECONDS)
    counts = {each: chance.randint(1, count) for each, count in work.counts.items()}
    changed = replace(work, counts=counts, version=f"{work.version}.newer")
    newer = work if site.shape is Shape.TEXTS else changed
    began = time.monotonic()
    do(site.quiet, work)
    wait = chance.uniform(0, time.monotonic() - began)
    do(site.quiet, newer)

    arguments = (site.disturbed.root, work.to_json(), "within the commit", 0)
    with Child("commit_kills_child", *arguments) as late:
        if late.line() == WRITING:
            time.sleep(wait)
            tally.times += _stop_between_transactions(late, site.disturbed.root / "jobs.db")
        do(site.disturbed, newer)
        late.signal(signal.SIGCONT)
        code, errors = late.wait(), late.errors()
    # It had ended its job before it was stopped, or another had it afterwards.
    if code != 0 and "LeaseLostError" not in errors:
        tally.notes.append(f"{work.shape} {work.job}: the late writer ended with {code}: {errors}")
    site.hold(newer)
    site.compare_rows(tally)


def _stop_between_transactions(child: Child, database: Path) -> bool:
    """Stop a process while it holds no lock of SQLite's: with one, nobody at all could go on.

    Returns:
        False where it has ended before.
    """
    while child.process.poll() is None:
        child.signal(signal.SIGSTOP)
        if not _is_stopped(child):
            break
        if _is_free(database):
            return True
        child.signal(signal.SIGCONT)
        time.sleep(0.01)
    return False


def _is_stopped(child: Child) -> bool:
    """Wait until it is stopped, or has ended."""
    while child.process.poll() is None:
        if psutil.Process(child.process.pid).status() == psutil.STATUS_STOPPED:
            return True
        time.sleep(0.005)
    return False


def _is_free(database: Path) -> bool:
    with contextlib.closing(sqlite3.connect(database, timeout=0.1, isolation_level=None)) as opened:
        try:
            opened.execute("BEGIN EXCLUSIVE")
            opened.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        return True
