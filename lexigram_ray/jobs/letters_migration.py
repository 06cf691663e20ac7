"""The step that made the table of dead letters, and filled it with failures known until then."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from lexigram_ray.core.ids import new_job_id
from lexigram_ray.jobs.fingerprints import fingerprint
from lexigram_ray.jobs.redaction import MOST_OF_AN_ERROR, bounded, redacted

STATEMENTS = (
    """
    CREATE TABLE dead_letters (
        id TEXT NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL,
        collection TEXT NOT NULL,
        subject TEXT NOT NULL CHECK (subject IN ('document', 'row', 'job')),
        subject_id TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('open', 'retrying', 'addressed', 'archived')),
        job_id TEXT NOT NULL,
        category TEXT NOT NULL,
        code TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        retry_count INTEGER NOT NULL,
        retry_after FLOAT,
        next_retry_at BIGINT CHECK (next_retry_at IS NULL OR status = 'open'),
        asked SMALLINT NOT NULL CHECK (asked IN (0, 1)),
        retry_job_id TEXT,
        first_failed_at BIGINT NOT NULL,
        last_failed_at BIGINT NOT NULL,
        closed_at BIGINT,
        resolution TEXT NOT NULL,
        notified_at BIGINT,
        notify_tries INTEGER NOT NULL,
        notify_after BIGINT NOT NULL,
        source TEXT NOT NULL,
        origin TEXT NOT NULL,
        error_type TEXT NOT NULL,
        error TEXT NOT NULL,
        attempts TEXT NOT NULL,
        CHECK ((status = 'retrying') = (retry_job_id IS NOT NULL)),
        CHECK ((status IN ('addressed', 'archived')) = (closed_at IS NOT NULL))
    )
    """,
    # One letter at a time for whatever fails, however often it does. A success asks it by the
    # documents alone, so the kind of job comes last.
    """
    CREATE UNIQUE INDEX dead_letters_subject
    ON dead_letters (collection, subject, subject_id, kind)
    WHERE status IN ('open', 'retrying')
    """,
    "CREATE INDEX dead_letters_of_status ON dead_letters (status, last_failed_at, id)",
    """
    CREATE INDEX dead_letters_due ON dead_letters (asked, next_retry_at, id)
    WHERE next_retry_at IS NOT NULL
    """,
    """
    CREATE INDEX dead_letters_unscheduled ON dead_letters (category, retry_count)
    WHERE status = 'open' AND next_retry_at IS NULL
    """,
    """
    CREATE INDEX dead_letters_untold ON dead_letters (category, notify_after, id)
    WHERE status = 'open' AND next_retry_at IS NULL AND notified_at IS NULL
    """,
    """
    CREATE INDEX dead_letters_retried ON dead_letters (retry_job_id)
    WHERE retry_job_id IS NOT NULL
    """,
    "CREATE INDEX dead_letters_closed ON dead_letters (closed_at) WHERE closed_at IS NOT NULL",
)

_ROWS_AT_ONCE = 1_000

# Written out: today's tables may have changed since this step was.
_FAILED_DOCUMENTS = text(
    """
    SELECT documents.collection, documents.document_id, documents.source, documents.job_id,
           documents.category, documents.code, documents.reason, documents.updated_at,
           COALESCE(jobs.kind, 'ingest') AS kind
    FROM documents LEFT JOIN jobs ON jobs.id = documents.job_id
    WHERE documents.state = 'failed'
    ORDER BY documents.collection, documents.document_id
    """
)
_INSERT = text(
    """
    INSERT INTO dead_letters (
        id, kind, collection, subject, subject_id, status, job_id, category, code, fingerprint,
        retry_count, asked, first_failed_at, last_failed_at, resolution, notify_tries,
        notify_after, source, origin, error_type, error, attempts
    ) VALUES (
        :id, :kind, :collection, 'document', :document_id, 'open', :job_id, :category, :code,
        :fingerprint, 0, 0, :updated_at, :updated_at, '', 0,
        0, :source, :source, '', :error, :attempts
    )
    """
)


def fill(connection: Connection) -> None:
    """Make a letter of each document that the ledger remembers as failed."""
    found = connection.execute(_FAILED_DOCUMENTS).mappings()
    for rows in found.partitions(_ROWS_AT_ONCE):
        connection.execute(_INSERT, [_letter(dict(row)) for row in rows])


def _letter(row: dict[str, object]) -> dict[str, object]:
    error, code = bounded(redacted(str(row["reason"])), MOST_OF_AN_ERROR), str(row["code"])
    category = str(row["category"] or "unknown")
    attempt = {
        "job_id": row["job_id"],
        "at": _iso(int(str(row["updated_at"]))),
        "category": category,
        "code": code,
        "error": error,
        "error_type": "",
        "traceback": "",
    }
    return row | {
        "id": new_job_id(),
        "category": category,
        "error": error,
        "fingerprint": fingerprint(code, "", error, known=(str(row["source"]),)),
        "attempts": json.dumps([attempt]),
    }


def _iso(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat()
