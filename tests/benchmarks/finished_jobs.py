"""A store full of jobs that have ended: years of use, made in seconds by SQL."""

from __future__ import annotations

import time

from sqlalchemy import BigInteger, Connection, Table, Text, cast, func, literal, select, text, true

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.schema import attempts, jobs
from lexigram_ray.jobs.store import Store
from tests.benchmarks.peers.queue_timing import QUEUE, payload

FIRST_NUMBER = 1_000_000_000
"""Ids are numbers of one length: as text they sort alike on every database."""

SECOND = 1_000_000
"""Between one job's creation and the next one's, in microseconds."""


def add_finished_jobs(url: str, count: int) -> None:
    """Add copies of one job that was really submitted, claimed and finished, attempt and all.

    Every column has what the store itself has written, whatever columns there are; only ids, keys
    and times of creation differ.
    """
    with Store.open(url) as store:
        original = _finish_one(store)
    database = Database(url, time.time)
    try:
        with database.write() as connection:
            _copy(connection, jobs, original, count - 1)
            _copy(connection, attempts, original, count - 1)
        if not url.startswith("sqlite"):
            _gather_statistics(database)
    finally:
        database.close()


def _finish_one(store: Store) -> str:
    spec = payload()
    job, _ = store.submit(kind=QUEUE, collection="documents", spec=spec, spec_key="original")
    claim = store.claim(job.id, Owner.current(), 60)
    assert isinstance(claim, Claim)
    store.finish(claim, JobStatus.COMPLETED, summary={"rows": 100})
    return job.id


def _copy(connection: Connection, table: Table, original: str, times: int) -> None:
    numbers = select(literal(1).label("i")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.i + 1).where(numbers.c.i < times))
    key = table.c.id if table is jobs else table.c.job_id
    number = cast(literal(FIRST_NUMBER) + numbers.c.i, Text)
    different = {
        key.name: literal("finished-") + number,
        "spec_key": literal("key-") + number,
    }
    if table is jobs:
        ago = cast(times - numbers.c.i, BigInteger) * SECOND
        different["created_at"] = table.c.created_at - ago
    names = [column.name for column in table.columns]
    values = [different.get(name, table.c[name]).label(name) for name in names]
    rows = select(*values).select_from(table.join(numbers, true())).where(key == original)
    connection.execute(table.insert().from_select(names, rows, include_defaults=False))
    found = connection.execute(select(func.count()).select_from(table)).scalar_one()
    assert found > times, f"{table.name} has {found} rows"


def _gather_statistics(database: Database) -> None:
    """Tell PostgreSQL's planner what its daemon would tell it within a minute."""
    with database.write() as connection:
        connection.execute(text("ANALYZE"))
