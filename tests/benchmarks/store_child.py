"""The job store under load: `python -m tests.benchmarks.store_child URL FEW-URL MANY-URL ...`.

Each URL names an empty store. The answer is one JSON line, like that of the peers' scripts.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Submission
from lexigram_ray.jobs.store import Store
from tests.benchmarks.finished_jobs import add_finished_jobs
from tests.benchmarks.peers.queue_timing import (
    BATCHES,
    FEW_FINISHED,
    QUEUE,
    blocks,
    claims_per_second,
    payload,
    per_second,
    timed,
    write_back,
)

T = TypeVar("T")

LEASE_SECONDS = 60.0
LOOK_AT = 10
PACKAGES = {"sqlite": ("sqlalchemy",), "postgresql": ("sqlalchemy", "psycopg")}
SETTINGS = {
    "sqlite": ("PRAGMA journal_mode", "PRAGMA synchronous"),
    "postgresql": ("SHOW fsync", "SHOW synchronous_commit", "SHOW shared_buffers"),
}


def main() -> None:
    """Measure, and print the answer."""
    options = _options()
    kind = options.url.partition(":")[0]
    with Store.open(options.url) as store:
        single, batches = _submissions(store, options)
    claims, looks = _claims(options)
    answer = {
        "single": single,
        "batches": batches,
        "claims": claims,
        "looks": looks,
        "settings": _settings(options.url, SETTINGS[kind]),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES[kind]},
    }
    print(json.dumps(answer))


def _submissions(store: Store, options: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """Return jobs a second, handed over one by one, and by size of batch."""

    def submit(jobs: int) -> None:
        for _ in range(jobs):
            new = _new_job()
            store.submit(
                kind=new.kind, collection=new.collection, spec=new.spec, spec_key=new.spec_key
            )

    def submit_together(size: int) -> None:
        for start in range(0, options.batched, size):
            count = min(size, options.batched - start)
            made = store.submit_many([_new_job() for _ in range(count)])
            assert all(is_new for _, is_new in made)

    submit(20)
    rounds = [timed(lambda: submit(options.submissions)) for _ in range(options.rounds)]
    batches = {
        str(size): per_second(
            options.batched,
            [timed(lambda size=size: submit_together(size)) for _ in range(options.rounds)],
        )
        for size in BATCHES
    }
    return per_second(options.submissions, rounds), batches


def _claims(options: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """Return claims a second and looks at the queue a second, by number of finished jobs."""
    urls = {FEW_FINISHED: options.few, options.finished: options.many}
    claims: dict[int, list[float]] = {finished: [] for finished in urls}
    looks: dict[int, list[float]] = {finished: [] for finished in urls}
    with ExitStack() as stack:
        stores: dict[int, Store] = {}
        for finished, url in urls.items():
            add_finished_jobs(url, finished)
            stores[finished] = stack.enter_context(Store.open(url))
            stores[finished].submit_many([_new_job() for _ in range(options.claims)])
        write_back()
        for block in blocks(options.claims):
            for finished, store in stores.items():
                looks[finished] += [_look(store) for _ in block]
                claims[finished] += [_claim_one(store) for _ in block]
    return tuple(
        {str(finished): claims_per_second(each) for finished, each in taken.items()}
        for taken in (claims, looks)
    )


def _claim_one(store: Store) -> float:
    """Return how long a claim took; finishing the job is not in that."""
    claim, seconds = _returned(lambda: store.claim_next(QUEUE, Owner.current(), LEASE_SECONDS))
    assert isinstance(claim, Claim)
    store.finish(claim, JobStatus.COMPLETED, summary={})
    return seconds


def _look(store: Store) -> float:
    ready, seconds = _returned(lambda: store.ready([QUEUE], limit=LOOK_AT))
    assert ready
    return seconds


def _returned(do: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    value = do()
    return value, time.perf_counter() - started


def _new_job() -> Submission:
    spec = payload()
    key = hash_text(json.dumps(spec, sort_keys=True))
    return Submission(kind=QUEUE, collection="documents", spec=spec, spec_key=key)


def _settings(url: str, questions: tuple[str, ...]) -> str:
    """Return how durable the database is, in its own words, as the store has set it."""
    database = Database(url, time.time)
    try:
        with database.read() as connection:
            values = [
                f"{question.split()[-1]}={connection.exec_driver_sql(question).scalar()}"
                for question in questions
            ]
    finally:
        database.close()
    return " ".join(values)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "few", "many"):
        parser.add_argument(name, help="of an empty store")
    for name in ("submissions", "batched", "rounds", "claims", "finished"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
