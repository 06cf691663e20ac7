"""Who has changed what through the HTTP service: written before it happens, completed after."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import new_job_id
from lexigram_ray.jobs import audit_log_sql
from lexigram_ray.jobs.database import Database, from_micros, storable, to_micros
from lexigram_ray.jobs.page_cursors import cursor_at, place_of
from lexigram_ray.jobs.redaction import bounded, redacted

RETENTION = timedelta(days=90)
MOST_OF_A_PATH = 500
MOST_OF_A_WORD = 100
"""Characters of a method, a request's id or an address."""

PRUNE_SECONDS = 3600.0
"""Between two looks of a process at what is too old."""

_SEEN_SINCE, _SEEN_UNTIL = timedelta(days=7), timedelta(days=1)
_NONE: Mapping[str, int] = MappingProxyType({})

logger = logging.getLogger("lexigram_ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A request that is to change something.

    Attributes:
        token_id: Empty where no token was needed.
        client: The address that it came from; empty where that is not known.
    """

    token_id: str
    token_name: str
    request_id: str
    method: str
    path: str
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Change):
    """What is known of such a request.

    Attributes:
        path: Without secrets, and not too long.
        status: Of the answer. None while it is under way, and for good where the process died or
            the client went meanwhile: whether it was done is not known then.
    """

    id: str
    at: datetime
    status: int | None

    def to_dict(self) -> dict[str, object]:
        """Return what `tokens audit --json` answers."""
        return {
            "id": self.id,
            "at": self.at.isoformat(),
            "token_id": self.token_id,
            "token_name": self.token_name,
            "request_id": self.request_id,
            "method": self.method,
            "path": self.path,
            "client": self.client,
            "status": self.status,
        }


class AuditLog:
    """Writes and reads the log; what is older than `RETENTION` goes by itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._prune_at = 0.0

    def record(self, begun: Sequence[Change], ended: Mapping[str, int] = _NONE) -> list[str]:
        """Note, durably and all at once, what is about to be changed and how other changes ended.

        Args:
            begun: Nothing of them has been done yet.
            ended: The status of the answer, by the entry's id.

        Returns:
            The ids of the entries of those that begin, in their order.
        """
        now = self._database.now()
        entries = [_row(change, now) for change in begun]
        answers = [{"of_id": each, "answered": status} for each, status in ended.items()]
        with self._database.write() as connection:
            if entries:
                connection.execute(audit_log_sql.BEGIN, entries)
            if answers:
                connection.execute(audit_log_sql.END, answers)
        self._prune_in_time()
        return [str(entry["id"]) for entry in entries]

    def page(
        self, *, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[AuditEntry], str | None]:
        """Return entries, the newest first, and the cursor of the next page if there is one.

        Raises:
            UsageError: The cursor is not one of ours, or the limit is below 1.
        """
        if limit < 1:
            raise UsageError(f"a page of {limit} entries cannot be shown", hint="ask for 1 or more")
        query = audit_log_sql.NEWEST
        # One more than asked for shows whether there is a next page.
        given: dict[str, object] = {"at_most": limit + 1}
        if cursor is not None:
            query = query.where(audit_log_sql.BELOW)
            given["last_at"], given["last_id"] = place_of(cursor, "the audit log")
        with self._database.read() as connection:
            rows = connection.execute(query, given).all()
        following = None
        if len(rows) > limit:
            following = cursor_at(rows[limit - 1].at, rows[limit - 1].id)
        return [_entry(row) for row in rows[:limit]], following

    def prune(self) -> int:
        """Forget what is too old, and return how many entries; none by a clock that was set."""
        now = from_micros(self._database.now())
        asked = {
            "before": to_micros(now - RETENTION),
            "seen_since": to_micros(now - _SEEN_SINCE),
            "seen_until": to_micros(now - _SEEN_UNTIL),
        }
        with self._database.write() as connection:
            return connection.execute(audit_log_sql.PRUNE, asked).rowcount

    def _prune_in_time(self) -> None:
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNE_SECONDS
        forgotten = self.prune()
        if forgotten:
            logger.info("%d entries of the audit log were too old", forgotten)


def _row(change: Change, now: int) -> dict[str, object]:
    return {
        "id": new_job_id(),
        "at": now,
        "token_id": change.token_id,
        "token_name": change.token_name,
        "request_id": _word(change.request_id),
        "method": _word(change.method),
        "path": bounded(redacted(storable(change.path)), MOST_OF_A_PATH),
        "client": _word(change.client),
    }


def _word(text: str) -> str:
    return bounded(storable(text), MOST_OF_A_WORD)


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=from_micros(row.at),
        token_id=row.token_id,
        token_name=row.token_name,
        request_id=row.request_id,
        method=row.method,
        path=row.path,
        client=row.client,
        status=row.status,
    )
