"""The cluster ends, in order or all at once, and `up` goes on with whatever was under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.store import Store
from tests.chaos.hunting import was_killed
from tests.chaos.orphans import wait_until_dead
from tests.chaos.proof_types import SIGKILL, Outcome, Trial
from tests.chaos.site import NOBODY_IS_BLAMED, Site
from tests.chaos.supply import Supply, reference_of
from tests.chaos.tally import Tally

LONG = 2
DOCUMENTS, FOLDERS = 12, 3
TEXTS, TABLES = 300, 2
PROGRESS_SECONDS = 120.0
AFTER_SECONDS = (1.0, 5.0)
"""After the first progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a cluster ends; `end` yields what is wrong then."""

    fault: str
    times: int
    end: Callable[[Site], Iterator[str]]


def run(trial: Trial) -> Iterator[Outcome]:
    """Yield an outcome for each way to end a cluster."""
    site, reference = Site(trial.state("restarted"), NOBODY_IS_BLAMED), reference_of(trial)
    with site.up():
        for name, way in WAYS.items():
            yield _outcome(trial, site, reference, name, way)


def _outcome(
    trial: Trial,
    site: Site,
    reference: Site,
    name: str,
    way: Way,
) -> Outcome:
    documents = Supply(trial, site, f"documents-{name}", DOCUMENTS)
    texts = Supply(trial, site, f"texts-{name}", TEXTS, texts=True)
    chance = trial.chance(name)
    tally = Tally()
    for _ in range(way.times * (LONG if trial.long else 1)):
        with site.store() as store:
            documents.keep_busy(store, FOLDERS)
            texts.keep_busy(store, TABLES)
        site.wait_for("progress", _has_progress, PROGRESS_SECONDS)
        time.sleep(chance.uniform(*AFTER_SECONDS))
        tally.notes += way.end(site)
        tally.times += 1
        site.done("up")
    tally.notes += site.settled()
    for supply in (documents, texts):
        tally.add(supply.differs(reference))
    return tally.outcome(way.fault)


def _down(site: Site) -> Iterator[str]:
    left = site.processes()
    told = site.done("down")
    if told["killed"]:
        yield f"jobs that did not stop in time: {told['killed']}"
    if alive := wait_until_dead(left):
        yield f"`down` has left {len(alive)} processes: {alive}"
    with site.store() as store:
        if count := store.counts().get(JobStatus.RUNNING, 0):
            yield f"{count} jobs still count as running after `down`"


def _kill(site: Site) -> Iterator[str]:
    family = site.processes()
    # From the first one down, so that nobody is there to start another.
    for process in family:
        was_killed(process)
    if alive := wait_until_dead(family):
        yield f"{len(alive)} processes have outlived SIGKILL: {alive}"


def _has_progress(store: Store) -> bool:
    running, _ = store.list_jobs(status=JobStatus.RUNNING)
    return any(job.progress.get("done") for job in running)


WAYS = {
    "down": Way(fault="`down`, then `up` again", times=1, end=_down),
    "killed": Way(fault=f"{SIGKILL} of the whole cluster, then `up` again", times=3, end=_kill),
}
