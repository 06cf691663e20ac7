"""Two jobs and a disturber in three processes at one collection, killed and started again.

Both jobs create it at once and write the same documents, which grow and shrink; the disturber
compacts and builds indexes. In the end each document is there once, as one of its versions.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack

import lance

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from tests.chaos.faults.children import Child
from tests.chaos.faults.counting import against_ledger, counted
from tests.chaos.faults.two_jobs_child import DOCUMENTS, stop_file
from tests.chaos.proof_types import SIGKILL, Outcome, Trial
from tests.chaos.same_rows import difference
from tests.chaos.tally import Tally
from tests.collections_data import documents
from tests.integration.commit_data import NAME, Place, source_document

ROLES = (("write", "x"), ("write", "y"), ("disturb", "z"))
EPISODES = 3
LONG = 3
KILLS = 5
CREATION_SECONDS = 0.15
GAP_SECONDS = (0.2, 0.8)


def run(trial: Trial) -> Iterator[Outcome]:
    """Let both jobs create and fill one collection after the other."""
    chance = trial.chance("two_jobs")
    creating, working = Tally(), Tally()
    for number in range(EPISODES * (LONG if trial.long else 1)):
        _episode(Place(trial.root / f"episode{number}"), creating, working, chance)
    yield creating.outcome(f"{SIGKILL} while two jobs create one collection")
    yield working.outcome(f"{SIGKILL} of two jobs at one collection, and of its compaction")


def _episode(place: Place, creating: Tally, working: Tally, chance: random.Random) -> None:
    place.open_store().close()
    with ExitStack() as stack:
        crew = _Crew(stack, place, chance)
        for child in crew.children:
            child.line()
        for child in crew.children:
            child.go()
        time.sleep(chance.uniform(0, CREATION_SECONDS))
        creating.times += crew.kill_and_replace(chance.randrange(2))
        for _ in range(KILLS):
            time.sleep(chance.uniform(*GAP_SECONDS))
            working.times += crew.kill_and_replace(chance.randrange(len(ROLES)))
        time.sleep(chance.uniform(*GAP_SECONDS))
        stop_file(place.root).touch()
        working.notes += crew.ends()
    with place.open_store() as store:
        _count(store, place.collections.open(NAME), working)


class _Crew:
    """The three processes; whichever dies is replaced by one that goes on with its job."""

    def __init__(self, stack: ExitStack, place: Place, chance: random.Random) -> None:
        self._stack = stack
        self._root = place.root
        self._chance = chance
        self.children = [self._started(role) for role in range(len(ROLES))]

    def kill_and_replace(self, victim: int) -> bool:
        """Return whether it was really killed."""
        was_killed = self.children[victim].was_killed()
        self.children[victim] = self._started(victim)
        self.children[victim].begin()
        return was_killed

    def ends(self) -> Iterator[str]:
        """Wait until all have ended, and say which of them ended badly."""
        for (command, who), child in zip(ROLES, self.children, strict=True):
            if code := child.wait():
                yield f"{command} {who} ended with {code}: {child.errors()}"

    def _started(self, role: int) -> Child:
        command, who = ROLES[role]
        seed = self._chance.randrange(10**9)
        child = Child("two_jobs_child", command, self._root, who, seed)
        return self._stack.enter_context(child)


def _count(store: Store, collection: Collection, tally: Tally) -> None:
    """Count what the newest version lacks or has too often; older ones must be whole as well."""
    tally.notes += against_ledger(collection, store)
    ledger = store.ledger(NAME)
    table = collection.dataset.to_table()
    versions = _versions(table.select(["document_id", "text"]).to_pylist())
    wanted = Counter[tuple[object, ...]]()
    for document in DOCUMENTS:
        content = ledger[document].content_hash if document in ledger else ""
        names = [
            name
            for name in versions[document]
            if source_document(document, name).content_hash == content
        ]
        if names:
            wanted += counted(documents({document: _length(names[0])}, names[0]))
        else:
            tally.lost += 1
            tally.notes.append(f"{document} is of {versions[document]}, which the ledger denies")
    tally.add(difference(counted(table), wanted))
    for version in collection.dataset.versions():
        tally.notes += _torn(collection.dataset.checkout_version(version["version"]))
    jobs, _ = store.list_jobs()
    outcomes = [[each.outcome for each in store.attempts_of(job.id)] for job in jobs]
    if [job.status for job in jobs] != [JobStatus.COMPLETED] * 2 or any(
        each.count("completed") != 1 for each in outcomes
    ):
        tally.notes.append(f"jobs {jobs}, attempts {outcomes}")


def _torn(dataset: lance.LanceDataset) -> Iterator[str]:
    rows = dataset.to_table(columns=["document_id", "text", "id"]).to_pylist()
    ids = defaultdict[str, list[str]](list)
    for row in rows:
        ids[row["document_id"]].append(row["id"])
    for document, names in _versions(rows).items():
        length = _length(next(iter(names)))
        whole = sorted(f"{document}:{index}" for index in range(length))
        if len(names) > 1 or sorted(ids[document]) != whole:
            yield f"version {dataset.version}: {document} is of {names}, rows {len(ids[document])}"


def _versions(rows: list[dict[str, str]]) -> defaultdict[str, set[str]]:
    """Return the versions of each document that rows are of: one, if all is well."""
    found = defaultdict[str, set[str]](set)
    for row in rows:
        found[row["document_id"]].add(row["text"].split()[0])
    return found


def _length(version: str) -> int:
    return int(version.rpartition(".")[2])
