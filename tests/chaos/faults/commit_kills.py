"""Commits that are killed at every moment, and commits whose answer is lost.

The same job goes on in another process, which may be killed as well.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.faults.children import Child
from tests.chaos.faults.commit_kills_child import WRITING
from tests.chaos.faults.commit_sites import Site
from tests.chaos.faults.commit_work import Shape, Work, do
from tests.chaos.proof_types import SIGKILL, Outcome, Trial
from tests.chaos.tally import Tally

FAULTS = {
    "before the commit": f"{SIGKILL} just before a Lance commit",
    "within the commit": f"{SIGKILL} within a Lance commit, at any time",
    "between commit and ledger": f"{SIGKILL} between a Lance commit and the ledger",
    "after the ledger": f"{SIGKILL} just after the ledger's record of a commit",
    "answer lost": "a Lance commit's answer is lost",
    "answer lost as a conflict": "a Lance commit's answer is lost, and called a conflict",
}
ROUNDS = {"within the commit": 3}
LONG = 42
"""Most of a long run's kills are these: each costs a second, and here rows could be lost."""
MOST_KILLS_A_JOB = 2


@dataclass(frozen=True, slots=True)
class Blow:
    """When a job is broken into.

    Attributes:
        commit: Which of its commits, from 0.
        wait: Seconds after that has begun.
    """

    moment: str
    commit: int
    wait: float


def run(trial: Trial) -> Iterator[Outcome]:
    """Break commits of documents, of large documents and of texts at one moment after another."""
    chance = trial.chance("commit_kills")
    sites = [Site(trial.root, shape) for shape in Shape]
    for moment, fault in FAULTS.items():
        tally = Tally()
        for _ in range(ROUNDS.get(moment, 1) * (LONG if trial.long else 1)):
            for site in sites:
                _break_one_job(site, moment, tally, chance)
        yield tally.outcome(fault)


def _break_one_job(site: Site, moment: str, tally: Tally, chance: random.Random) -> None:
    work = site.next_work(chance)
    began = time.monotonic()
    do(site.quiet, work)
    seconds = time.monotonic() - began
    for number in range(chance.randint(1, MOST_KILLS_A_JOB) if _kills(moment) else 1):
        # A process that goes on has fewer commits left than the first one.
        commit = chance.randrange(len([*work.parts()])) if number == 0 else 0
        _break_once(site, work, Blow(moment, commit, chance.uniform(0, seconds)), tally)
        tally.notes += site.torn(work)
        if site.is_completed(work):
            break
    else:
        do(site.disturbed, work)
    site.hold(work)
    site.compare_rows(tally)
    site.compare_jobs(work, tally)


def _break_once(site: Site, work: Work, blow: Blow, tally: Tally) -> None:
    arguments = (site.disturbed.root, work.to_json(), blow.moment, blow.commit)
    with Child("commit_kills_child", *arguments) as child:
        if blow.moment == "within the commit" and child.line() == WRITING:
            time.sleep(blow.wait)
            child.signal(signal.SIGKILL)
        code, errors = child.wait(), child.errors()
    if _kills(blow.moment):
        # It may have ended before its time was up.
        expected = (-signal.SIGKILL, 0)
        tally.times += code == -signal.SIGKILL
    else:
        expected = (0,) if blow.moment.endswith("conflict") else (1,)
        tally.times += 1
    if code not in expected:
        tally.notes.append(f"{work.shape} {work.job}, {blow}: it ended with {code}: {errors}")


def _kills(moment: str) -> bool:
    return FAULTS[moment].startswith(SIGKILL)
