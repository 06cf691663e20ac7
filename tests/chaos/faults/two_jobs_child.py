"""Works on one collection beside others. Usage: two_jobs_child.py write|disturb STATE WHO SEED

Goes on until the file `stop` is in the state directory. A version names who wrote it, and how many
chunks its document has: whoever reads the table can tell whether all of them are there.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.claiming import open_or_create
from lexigram_ray.jobs.commit import Committer
from lexigram_ray.vectors.text_index import TEXT_COLUMNS, ensure_text_index
from tests.chaos.faults.children import ready
from tests.collections_data import SETTINGS
from tests.integration.commit_data import NAME, Place, claim_job, committer, ingested

DOCUMENTS = tuple(f"doc{number:02}" for number in range(12))
MOST_CHUNKS = 40
SHARED = 0.3
"""How often both jobs have found the same content."""


def stop_file(state: Path) -> Path:
    return state / "stop"


def write(state: Path, who: str, chance: random.Random) -> None:
    """Write documents as a job, each time of other lengths; each of them at least once."""
    with Place(state).open_store() as store:
        claim = claim_job(store, who)
        ready()
        collection = open_or_create(Place(state).collections, SETTINGS, NAME, store, claim)
        made = committer(store, claim, collection)
        turn = 0
        while turn == 0 or not stop_file(state).exists():
            chosen = DOCUMENTS if turn == 0 else chance.sample(DOCUMENTS, chance.randint(1, 6))
            _write_once(made, chosen, f"{who}.{claim.fence}.{turn}", chance)
            turn += 1
        store.finish(claim, JobStatus.COMPLETED, summary={})


def _write_once(
    made: Committer, chosen: tuple[str, ...] | list[str], name: str, chance: random.Random
) -> None:
    if chance.random() < SHARED:
        number = chance.randrange(5)
        name, length = f"both.{number}", 3 + 5 * number
    else:
        length = chance.randint(1, MOST_CHUNKS)
    made.add(ingested(dict.fromkeys(chosen, length), f"{name}.{length}"))
    made.flush()


def disturb(state: Path, _: str, chance: random.Random) -> None:
    """Compact the table and build its indexes, anew now and then, as soon as it is there."""
    ready()
    collections = Place(state).collections
    while not stop_file(state).exists():
        try:
            collection = collections.open(NAME)
            collection.dataset.optimize.compact_files()
            ensure_text_index(collection)
            column = chance.choice(TEXT_COLUMNS)
            collection.dataset.create_scalar_index(
                column, "INVERTED", name=f"{column}_idx", replace=True
            )
        except (WorkerError, OSError):
            # It gives way to writers, and there may be no collection yet.
            time.sleep(0.01)


if __name__ == "__main__":
    command, root, name, seed = sys.argv[1:]
    {"write": write, "disturb": disturb}[command](Path(root), name, random.Random(seed))
