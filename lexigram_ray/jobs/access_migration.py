"""The step that made access tokens, and the log of who has changed what."""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE access_tokens (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        hash TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        last_used_at BIGINT
    )
    """,
    """
    CREATE UNIQUE INDEX access_tokens_name ON access_tokens (name) WHERE revoked_at IS NULL
    """,
    # No reference to tokens: a change may be made without one.
    """
    CREATE TABLE audit_log (
        id TEXT NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL,
        token_id TEXT NOT NULL,
        token_name TEXT NOT NULL,
        request_id TEXT NOT NULL,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        client TEXT NOT NULL,
        status SMALLINT
    )
    """,
    "CREATE INDEX audit_log_newest ON audit_log (at, id)",
)
