"""procrastinate: `python procrastinate_queue.py DSN FEW-DSN MANY-DSN ...`, one JSON line.

Each DSN names an empty database. A job is deferred with its synchronous connector and fetched with
its asynchronous one, which is the only one that can.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import logging
import sys

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.jobs import Status
from queue_timing import (
    BATCHES,
    FEW_FINISHED,
    QUEUE,
    blocks,
    claims_per_second,
    payload,
    per_second,
    timed,
    timed_await,
    write_back,
)

FINISHED_JOBS = """
INSERT INTO procrastinate_jobs (queue_name, task_name, args, status, attempts)
SELECT 'ingest', 'ingest', '{"paths": ["/srv/documents"]}', 'succeeded', 1
FROM generate_series(1, %s)
"""
DURABILITY = ("fsync", "synchronous_commit", "shared_buffers")


def main() -> None:
    options = _options()
    # It logs every job at INFO, with all arguments put into words.
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    single, batches = _submissions(options)
    claims = asyncio.run(_claims(options))
    answer = {
        "single": single,
        "batches": batches,
        "claims": claims,
        "settings": _settings(options.database),
        "versions": {
            name: importlib.metadata.version(name) for name in ("procrastinate", "psycopg")
        },
    }
    sys.stdout.write(json.dumps(answer) + "\n")


def _submissions(options: argparse.Namespace) -> tuple[float, dict[str, float]]:
    with App(connector=SyncPsycopgConnector(conninfo=options.database)).open() as app:
        app.schema_manager.apply_schema()
        ingest = app.configure_task("ingest", queue=QUEUE)

        def submit(jobs: int) -> None:
            for _ in range(jobs):
                ingest.defer(**payload())

        def submit_together(size: int) -> None:
            for start in range(0, options.batched, size):
                count = min(size, options.batched - start)
                ingest.batch_defer(*(payload() for _ in range(count)))

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


async def _claims(options: argparse.Namespace) -> dict[str, float]:
    kept = {FEW_FINISHED: options.few, options.finished: options.many}
    apps = {finished: _filled(dsn, finished, options.claims) for finished, dsn in kept.items()}
    seconds: dict[int, list[float]] = {finished: [] for finished in kept}
    workers: dict[int, int] = {}
    for finished, app in apps.items():
        await app.open_async()
        workers[finished] = await app.job_manager.register_worker()
    write_back()
    for block in blocks(options.claims):
        for finished, app in apps.items():
            seconds[finished] += [await _claim_one(app, workers[finished]) for _ in block]
    for app in apps.values():
        await app.close_async()
    return {str(finished): claims_per_second(each) for finished, each in seconds.items()}


async def _claim_one(app: App, worker: int) -> float:
    """Return how long a job took to fetch; ending it is not in that."""
    got = []

    async def fetch() -> None:
        got.append(await app.job_manager.fetch_job(queues=[QUEUE], worker_id=worker))

    seconds = await timed_await(fetch)
    (job,) = got
    await app.job_manager.finish_job(job=job, status=Status.SUCCEEDED, delete_job=False)
    return seconds


def _filled(dsn: str, finished: int, waiting: int) -> App:
    """Return an app over a database with so many jobs that have ended, and some that wait."""
    with App(connector=SyncPsycopgConnector(conninfo=dsn)).open() as app:
        app.schema_manager.apply_schema()
        with psycopg.connect(dsn, autocommit=True) as connection:
            # Its triggers write an event and tell listeners of each row: not of these.
            connection.execute("SET session_replication_role = replica")
            connection.execute(FINISHED_JOBS, [finished])
        ingest = app.configure_task("ingest", queue=QUEUE)
        ingest.batch_defer(*(payload() for _ in range(waiting)))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return App(connector=PsycopgConnector(conninfo=dsn))


def _settings(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        values = [
            f"{name}={connection.execute(f'SHOW {name}').fetchone()[0]}" for name in DURABILITY
        ]
    return " ".join(values)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("database", "few", "many"):
        parser.add_argument(name, help="a DSN")
    for name in ("submissions", "batched", "rounds", "claims", "finished"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
