"""Access tokens, and what was changed with them, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.job_words import age, local_time
from lexigram_ray.cli.output import print_table

if TYPE_CHECKING:
    from rich.text import Text

    from lexigram_ray.jobs.access_tokens import AccessToken
    from lexigram_ray.jobs.audit_log import AuditEntry

TOKEN_HEADERS = ("ID", "NAME", "SCOPES", "STATE", "CREATED", "EXPIRES", "LAST USED")
ENTRY_HEADERS = ("AT", "WHO", "METHOD", "PATH", "STATUS", "CLIENT", "REQUEST")
STYLES = {"valid": "green", "expired": "yellow", "revoked": "dim"}


def print_tokens(tokens: Sequence[AccessToken], now: datetime) -> None:
    """Print tokens on stdout, in their order; there are no secrets in them."""
    print_table(TOKEN_HEADERS, [_token_row(token, now) for token in tokens])


def print_entries(entries: Sequence[AuditEntry]) -> None:
    """Print entries of the audit log on stdout, in their order."""
    print_table(ENTRY_HEADERS, [_entry_row(entry) for entry in entries])


def _token_row(token: AccessToken, now: datetime) -> tuple[str | Text, ...]:
    from rich.text import Text

    state = token.state_at(now)
    return (
        token.id,
        token.name,
        ", ".join(token.scopes),
        Text(state, style=STYLES[state]),
        local_time(token.created_at),
        "never" if token.expires_at is None else local_time(token.expires_at),
        "never" if token.last_used_at is None else age(token.last_used_at, now),
    )


def _entry_row(entry: AuditEntry) -> tuple[str | Text, ...]:
    from rich.text import Text

    is_refused = entry.status is not None and entry.status >= 400
    status = "unknown" if entry.status is None else str(entry.status)
    return (
        local_time(entry.at),
        entry.token_name,
        entry.method,
        entry.path,
        Text(status, style="red" if is_refused else ""),
        entry.client or "-",
        entry.request_id,
    )
