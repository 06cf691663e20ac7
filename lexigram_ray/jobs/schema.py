"""The tables as queries see them. How a file comes to have them stands in `migrations.py`.

Times are integer microseconds UTC, JSON is text and flags are 0 or 1, so that every database
compares them alike.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Integer, MetaData, SmallInteger, Table, Text, text

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("collection", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("spec_key", Text, nullable=False),
    Column("unique_key", Text),
    Column("fence", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("retry_of", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("owner", Text),
    Column("lease_until", BigInteger),
    Column("error", Text),
    Column("error_code", Text),
    Column("progress", Text, nullable=False),
    Column("summary", Text, nullable=False),
    # Set while a pending job must wait, and only then: whoever claims or wakes it clears it.
    Column("run_after", BigInteger),
    Column("deadline", BigInteger),
)

# Written out, not bound: a database uses a partial index only for a condition that it reads
# literally. These are the indexes' own words; those of the last two name no status, because SQLite
# would rather search an index of states for it.
unfinished = text("status IN ('pending', 'running')")
unclaimed = text("status = 'pending'")
running = text("status = 'running'")
startable = text("status = 'pending' AND run_after IS NULL")
waiting = text("run_after IS NOT NULL")
has_deadline = text("finished_at IS NULL AND deadline IS NOT NULL")
is_maintenance = text("kind = 'maintenance'")
is_asked_for = text("kind <> 'maintenance'")

attempts = Table(
    "attempts",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("fence", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("outcome", Text),
    Column("error", Text),
    Column("actor", Text, nullable=False),
    Column("category", Text),
    Column("traceback", Text),
)

units = Table(
    "units",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("computed", Integer, nullable=False),
    Column("cached", Integer, nullable=False),
    Column("category", Text),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # Rows that the table held of the document before this job's first write to it.
    Column("replaced", Integer),
)

# The ledger.
documents = Table(
    "documents",
    metadata,
    Column("collection", Text, primary_key=True),
    Column("document_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("size", BigInteger),
    Column("mtime_ns", BigInteger),
    Column("ctime_ns", BigInteger),
    Column("inode", BigInteger),
    Column("checked_at_ns", BigInteger, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("chunker", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("parser", Text, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("chunks_digest", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("category", Text),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("had_intent", SmallInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# The same for letters.
not_closed = text("status IN ('open', 'retrying')")
is_due = text("next_retry_at IS NOT NULL")
unscheduled = text("status = 'open' AND next_retry_at IS NULL")
untold = text("status = 'open' AND next_retry_at IS NULL AND notified_at IS NULL")
is_retried = text("retry_job_id IS NOT NULL")
is_closed = text("closed_at IS NOT NULL")

# Failures that outlived their jobs. What is long comes last: whoever counts does not read it.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("collection", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("retry_count", Integer, nullable=False),
    Column("retry_after", Float),
    # Set only while it is open.
    Column("next_retry_at", BigInteger),
    Column("asked", SmallInteger, nullable=False),
    # Set while a job tries it again, and only then.
    Column("retry_job_id", Text),
    Column("first_failed_at", BigInteger, nullable=False),
    Column("last_failed_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("resolution", Text, nullable=False),
    # Whether somebody was told that nobody will retry it, and when that may be tried once more.
    Column("notified_at", BigInteger),
    Column("notify_tries", Integer, nullable=False),
    Column("notify_after", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("attempts", Text, nullable=False),
)

# When maintenance runs. The rows of jobs are locked after those of schedules.
schedules = Table(
    "schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("cron", Text),
    Column("interval_seconds", Float),
    Column("timezone", Text, nullable=False),
    Column("jitter_seconds", Float, nullable=False),
    Column("missed", Text, nullable=False),
    Column("overlap", Text, nullable=False),
    Column("timeout_seconds", Float, nullable=False),
    Column("options", Text, nullable=False),
    Column("enabled", SmallInteger, nullable=False),
    # What the definition itself says: only a change of that overrules the user.
    Column("defined_enabled", SmallInteger, nullable=False),
    Column("origin", Text, nullable=False),
    Column("considered_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# The times of schedules that were decided on, each with its job or the reason why it has none.
schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("schedule", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("job_id", Text),
    Column("reason", Text, nullable=False),
)

# What happened to jobs; that they were submitted is told by their own rows.
job_events = Table(
    "job_events",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False),
)

# Tickets of those who hold or await a turn; `position` is the order in which they came.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("token", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("held", SmallInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)

# What is left of each limit that the whole cluster shares.
rate_limits = Table(
    "rate_limits",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("blocked_until", BigInteger, nullable=False),
)

# Jobs that have ended and are not in the figures yet.
rollup_pending = Table("rollup_pending", metadata, Column("job_id", Text, primary_key=True))

# What the system has done, by minute, hour and day; `metrics_records` says what each name means.
metrics_rollup = Table(
    "metrics_rollup",
    metadata,
    Column("resolution", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("total", Float, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("last", Float),
    Column("buckets", Text, nullable=False),
)

# Who may use the HTTP service. Of the token itself only a hash is kept.
access_tokens = Table(
    "access_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
)

# What was asked of the HTTP service that changes something.
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("token_id", Text, nullable=False),
    Column("token_name", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("client", Text, nullable=False),
    # NULL while it is under way, and for good where the process died meanwhile.
    Column("status", SmallInteger),
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("applied_at", BigInteger, nullable=False),
)
