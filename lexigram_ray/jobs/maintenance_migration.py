"""The step that made schedules, their runs, and the events of jobs.

Jobs that schedules make come by the thousand, and whoever looks at jobs rarely means them: the
indexes of listing and counting are parted between the two.
"""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE schedules (
        name TEXT NOT NULL PRIMARY KEY,
        task TEXT NOT NULL,
        cron TEXT,
        interval_seconds FLOAT,
        timezone TEXT NOT NULL,
        jitter_seconds FLOAT NOT NULL,
        missed TEXT NOT NULL CHECK (missed IN ('none', 'latest', 'all')),
        overlap TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'replace')),
        timeout_seconds FLOAT NOT NULL,
        options TEXT NOT NULL,
        enabled SMALLINT NOT NULL CHECK (enabled IN (0, 1)),
        defined_enabled SMALLINT NOT NULL CHECK (defined_enabled IN (0, 1)),
        origin TEXT NOT NULL,
        considered_until BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        CHECK ((cron IS NULL) <> (interval_seconds IS NULL))
    )
    """,
    """
    CREATE TABLE schedule_runs (
        id TEXT NOT NULL PRIMARY KEY,
        schedule TEXT NOT NULL,
        task TEXT NOT NULL,
        due_at BIGINT NOT NULL,
        trigger TEXT NOT NULL CHECK (trigger IN ('schedule', 'missed', 'manual')),
        created_at BIGINT NOT NULL,
        job_id TEXT REFERENCES jobs (id) ON DELETE CASCADE,
        reason TEXT NOT NULL
    )
    """,
    # However many look at a schedule at once, each of its times has one run.
    "CREATE UNIQUE INDEX schedule_runs_due ON schedule_runs (schedule, due_at)",
    "CREATE INDEX schedule_runs_newest ON schedule_runs (due_at, id)",
    "CREATE UNIQUE INDEX schedule_runs_job ON schedule_runs (job_id) WHERE job_id IS NOT NULL",
    """
    CREATE TABLE job_events (
        job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        at BIGINT NOT NULL,
        type TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (job_id, seq)
    )
    """,
    "DROP INDEX jobs_newest",
    "CREATE INDEX jobs_newest ON jobs (created_at, id) WHERE kind <> 'maintenance'",
    "DROP INDEX jobs_of_status",
    """
    CREATE INDEX jobs_of_status ON jobs (status, created_at, id)
    WHERE kind <> 'maintenance'
    """,
    "CREATE INDEX jobs_maintenance ON jobs (created_at, id) WHERE kind = 'maintenance'",
    # Deleting a job asks for those that repeat it.
    "CREATE INDEX jobs_retries ON jobs (retry_of) WHERE retry_of IS NOT NULL",
)
