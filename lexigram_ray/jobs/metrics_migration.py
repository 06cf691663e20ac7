"""The step that made the tables of figures; every job that has ended until then waits there."""

from __future__ import annotations

STATEMENTS = (
    # Jobs that have ended and are not yet in the figures. No reference: a job may be removed.
    "CREATE TABLE rollup_pending (job_id TEXT NOT NULL PRIMARY KEY)",
    """
    CREATE TABLE metrics_rollup (
        resolution TEXT NOT NULL CHECK (resolution IN ('minute', 'hour', 'day')),
        at BIGINT NOT NULL,
        name TEXT NOT NULL,
        labels TEXT NOT NULL,
        count BIGINT NOT NULL,
        total FLOAT NOT NULL,
        low FLOAT,
        high FLOAT,
        last FLOAT,
        buckets TEXT NOT NULL,
        PRIMARY KEY (resolution, at, name, labels)
    )
    """,
    "INSERT INTO rollup_pending (job_id) SELECT id FROM jobs WHERE finished_at IS NOT NULL",
)
