"""No question that is asked over and over looks at jobs that cannot be its answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.expression import ClauseElement

from lexigram_ray.jobs import job_events_sql, jobs_sql, schedules_sql
from lexigram_ray.jobs.schema import is_asked_for, is_maintenance
from lexigram_ray.jobs.store import Store

NEVER_SCANNED = {
    "NEXT_PENDING": (jobs_sql.NEXT_PENDING, "jobs_startable"),
    "RUNNING_OF_KIND": (jobs_sql.RUNNING_OF_KIND, "jobs_running"),
    "ANY_DUE": (jobs_sql.ANY_DUE, "jobs_waiting"),
    "WAKE": (jobs_sql.WAKE, "jobs_waiting"),
    "OVERDUE": (jobs_sql.OVERDUE, "jobs_deadline"),
    "UNFINISHED_JOB_LIKE": (jobs_sql.UNFINISHED_JOB_LIKE, "jobs_unfinished"),
    "JOB_OF_UNIQUE_KEY": (jobs_sql.JOB_OF_UNIQUE_KEY, "jobs_unique_key"),
    "NEWEST": (jobs_sql.NEWEST_JOBS.where(is_asked_for), "jobs_newest"),
    "NEWEST_OF_KIND": (
        jobs_sql.NEWEST_JOBS.where(is_asked_for, jobs_sql.OF_KIND),
        "jobs_newest",
    ),
    "NEWEST_OF_STATUS": (
        jobs_sql.NEWEST_JOBS.where(is_asked_for, jobs_sql.WITH_STATUS),
        "jobs_of_status",
    ),
    "NEWEST_OF_SCHEDULES": (jobs_sql.NEWEST_JOBS.where(is_maintenance), "jobs_maintenance"),
    "COUNTS": (jobs_sql.COUNTS, "jobs_of_status"),
    "NEWEST_RUNS": (schedules_sql.NEWEST_RUNS, "schedule_runs_newest"),
    "NEWEST_RUNS_OF_SCHEDULE": (
        schedules_sql.NEWEST_RUNS.where(schedules_sql.OF_SCHEDULE),
        "schedule_runs_due",
    ),
    "LAST_COMPLETED_RUN": (schedules_sql.LAST_COMPLETED, "schedule_runs_due"),
    "RUN_OF_JOB": (schedules_sql.OF_JOB, "schedule_runs_job"),
    "EVENTS_OF_JOB": (job_events_sql.OF_JOB, "sqlite_autoindex_job_events_1"),
    "ADD_EVENT": (job_events_sql.ADD, "sqlite_autoindex_job_events_1"),
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("plans") / "jobs.db"
    Store.open(f"sqlite:///{path}").close()
    opened = sqlite3.connect(path)
    yield opened
    opened.close()


def plan(connection: sqlite3.Connection, query: ClauseElement) -> list[str]:
    compiled = query.compile(dialect=sqlite.dialect(paramstyle="named"))
    given = dict.fromkeys(compiled.params or (), 1)
    rows = connection.execute(f"EXPLAIN QUERY PLAN {compiled}", given)
    return [detail for *_, detail in rows]


@pytest.mark.parametrize("name", sorted(NEVER_SCANNED))
def test_a_query_reads_only_its_own_index_and_sorts_nothing(
    connection: sqlite3.Connection, name: str
) -> None:
    query, index = NEVER_SCANNED[name]

    steps = plan(connection, query)

    assert any(f"INDEX {index}" in step for step in steps), steps
    assert [step for step in steps if "TEMP B-TREE" in step] == []
    assert [step for step in steps if step.startswith("SCAN") and "INDEX" not in step] == []
