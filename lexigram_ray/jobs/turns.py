"""Turns: the writers of one collection write one after the other, in the order in which they came.

Everyone who wants a turn draws a ticket; the first ticket whose owner lives has the turn. A turn
serves throughput and fairness. It is no lock: a writer that oversleeps its lease writes beside the
next one, and Lance's conflict check and the ledger's intents keep the table right.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.jobs import ledger_sql
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.owner import Owner

# Who waits looks this often; with jitter, so that many who wait do not look at once.
_POLL_SECONDS = (0.01, 0.04)
# A waiting process that was stopped holds the queue up for at most so long.
_WAITING_LEASE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ticket:
    name: str
    token: str
    owner: Owner
    lease_seconds: float

    @property
    def waiting_lease_seconds(self) -> float:
        return min(self.lease_seconds, _WAITING_LEASE_SECONDS)


class Turns:
    """Hands out turns. `Store` documents the promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def turn(self, name: str, owner: Owner, lease_seconds: float) -> Generator[None]:
        """Wait for a turn, and give it up at the end."""
        ticket = _Ticket(
            name=name, token=uuid.uuid4().hex, owner=owner, lease_seconds=lease_seconds
        )
        try:
            self._await(ticket)
            yield
        finally:
            with self._database.write() as connection:
                _delete(connection, ticket.name, ticket.token)

    def is_free(self, connection: Connection, name: str) -> bool:
        """Whether nobody has the turn or waits for it; so it stays while the transaction lasts."""
        self._database.lock(connection, f"turn:{name}")
        tickets = connection.execute(ledger_sql.TICKETS, {"of_turn": name}).all()
        return not any(map(self._is_alive, tickets))

    def _await(self, ticket: _Ticket) -> None:
        while not self._stand(ticket):
            self._watch(ticket)

    def _stand(self, ticket: _Ticket) -> bool:
        """Take the turn if it is ours, else stand in the queue; return whether it was."""
        with self._database.write() as connection:
            # One at a time changes the queue: two that come at once would draw the same position.
            self._database.lock(connection, f"turn:{ticket.name}")
            tickets = connection.execute(ledger_sql.TICKETS, {"of_turn": ticket.name}).all()
            for dead in (row for row in tickets if not self._is_alive(row)):
                _delete(connection, ticket.name, dead.token)
            # Our own may be among the dead: this process may have been stopped for a while.
            alive = [row for row in tickets if self._is_alive(row)]
            if ticket.token not in {row.token for row in alive}:
                self._join(connection, ticket)
            is_ours = not alive or alive[0].token == ticket.token
            seconds = ticket.lease_seconds if is_ours else ticket.waiting_lease_seconds
            kept = {
                "of_turn": ticket.name,
                "of_ticket": ticket.token,
                "now_held": int(is_ours),
                "new_lease": self._database.after(seconds),
            }
            connection.execute(ledger_sql.KEEP_TICKET, kept)
        return is_ours

    def _join(self, connection: Connection, ticket: _Ticket) -> None:
        last = connection.execute(ledger_sql.LAST_POSITION, {"of_turn": ticket.name}).scalar()
        new = {
            "name": ticket.name,
            "token": ticket.token,
            "position": (last or 0) + 1,
            "owner": ticket.owner.to_json(),
            "held": 0,
            "lease_until": self._database.after(ticket.waiting_lease_seconds),
        }
        connection.execute(ledger_sql.ADD_TICKET, new)

    def _watch(self, ticket: _Ticket) -> None:
        """Return when it may be our turn, or when our ticket has to be renewed."""
        renew_at = self._database.after(ticket.waiting_lease_seconds / 2)
        while self._database.now() < renew_at:
            time.sleep(random.uniform(*_POLL_SECONDS))  # noqa: S311 - jitter, no secret
            with self._database.read() as connection:
                tickets = connection.execute(ledger_sql.TICKETS, {"of_turn": ticket.name}).all()
            first = next((row for row in tickets if self._is_alive(row)), None)
            if first is None or first.token == ticket.token:
                return

    def _is_alive(self, row: Row[Any]) -> bool:
        return row.lease_until > self._database.now() and not Owner.from_json(row.owner).is_gone()


def _delete(connection: Connection, name: str, token: str) -> None:
    connection.execute(ledger_sql.DELETE_TICKET, {"of_turn": name, "of_ticket": token})
