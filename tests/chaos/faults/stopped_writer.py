"""Writers that are stopped for longer than their lease, while another one takes over their job."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow as pa

from tests.chaos.faults.children import Child
from tests.chaos.faults.commit_kills_child import WRITING
from tests.chaos.faults.commit_sites import Site
from tests.chaos.faults.commit_work import Shape, do
from tests.chaos.faults.counting import against_ledger, counted, rows_of
from tests.chaos.proof_types import Outcome, Trial
from tests.chaos.same_rows import difference
from tests.chaos.stopped_child import DOCUMENT
from tests.chaos.stopping import is_free, stopping_child, take_over
from tests.chaos.tally import Tally
from tests.collections_data import documents
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
LONG = 3


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
        with stopping_child(place, moment) as late:
            wait_until_stopped(late)
            tally.times += 1
            commit(store, take_over(store), collection, ingested({DOCUMENT: newest}, "newest"))
            late.send_signal(signal.SIGCONT)
            output, _ = late.communicate(timeout=CHILD_SECONDS)
        wanted = documents({DOCUMENT: newest}, "newest"), documents({"b": 2}, "old")
        tally.add(difference(rows_of(collection), counted(pa.concat_tables(wanted))))
        tally.notes += against_ledger(collection, store)
    if '"lease_lost"' not in output:
        tally.notes.append(f"{moment}: the late writer said {output!r}, not that it is too late")


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
        if is_free(database):
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
