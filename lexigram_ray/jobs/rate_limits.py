"""Rate limits that all who work at one store share, whatever process or machine they are in."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from lexigram_ray.embedding.server_pace import TokenBucket
from lexigram_ray.jobs.database import MICROSECONDS, Database
from lexigram_ray.jobs.migrations import opened
from lexigram_ray.jobs.schema import rate_limits

# What is taken at once, so that small requests need not ask the store each time.
PORTION_SECONDS = 1.0
# What was taken and not used by then goes back: it was meant for the time in which it was granted.
KEPT_SECONDS = 1.0
# How long a hold that another process has heard of may stay unknown here.
LOOK_SECONDS = 0.5
# No server is waited for longer, and no two clocks of a cluster are further apart: what lies
# beyond was written before a clock was moved back.
MOST_HOLD_SECONDS = 600.0
MOST_AHEAD_SECONDS = 60.0

_THIS_LIMIT = rate_limits.c.name == bindparam("of_name")

# One limit, locked until the transaction ends.
LOCK_LIMIT = select(rate_limits).where(_THIS_LIMIT).with_for_update()

# Until when nobody may go on.
BLOCKED_UNTIL = select(rate_limits.c.blocked_until).where(_THIS_LIMIT)

# What is in hand after somebody has taken from it.
SET_TOKENS = (
    rate_limits.update()
    .where(_THIS_LIMIT)
    .values(tokens=bindparam("left"), updated_at=bindparam("seen_at"))
)

# Hold everyone off.
BLOCK_UNTIL = rate_limits.update().where(_THIS_LIMIT).values(blocked_until=bindparam("until"))


class StoreRateLimit:
    """A `RateLimit` that lives in a store. Safe for threads.

    The store is asked for a second's worth of the budget at a time, so that all who share it make
    about one transaction a second between them, and more only where requests are larger than that.

    Args:
        url: Of the store, which is made or brought up to date at the first use.
        name: Equal for those who share the budget.
        per_minute: The budget. No minute has more than that, by the clocks of those who share it.
        clock: Seconds since the epoch: what different processes agree on.
        ticks: Monotonic seconds: what this process waits by.
    """

    def __init__(
        self,
        url: str,
        name: str,
        per_minute: float,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._name = name
        # What is kept for a moment may be used in the minute after that of its grant.
        self._full = TokenBucket.full(per_minute * 60 / (60 + KEPT_SECONDS), 0.0)
        self._clock = clock
        self._ticks = ticks
        self._using = threading.Lock()
        self._opened: Database | None = None
        self._in_hand = 0.0
        self._usable_at = ticks()
        self._closed_until = self._looked_at = -float("inf")

    def reserve(self, amount: float) -> float:
        """Take from the budget; return the seconds to wait before it may be used.

        Raises:
            StoreUnreachableError: The store is locked, damaged or gone.
        """
        with self._using:
            now = self._ticks()
            is_fresh = now < self._usable_at + KEPT_SECONDS
            if amount <= 0 or (is_fresh and amount <= self._in_hand):
                self._in_hand -= amount
                return max(0.0, self._usable_at - now)
            taken = max(amount, self._full.per_second * PORTION_SECONDS)
            wait = self._take(taken - self._in_hand)
            self._in_hand = taken - amount
            self._usable_at = self._ticks() + wait
            return wait

    def hold_off(self, seconds: float) -> None:
        """Let nobody go on for that long, but ten minutes at most.

        Raises:
            StoreUnreachableError: The store is locked, damaged or gone.
        """
        seconds = min(seconds, MOST_HOLD_SECONDS)
        with self._using:
            if self._closed_until >= self._ticks() + seconds:
                return
            database = self._database()
            with database.write() as connection:
                known = self._locked(connection, database).blocked_until
                until = database.after(seconds)
                if known < until or not _is_hold(known, database.now()):
                    connection.execute(BLOCK_UNTIL, {"of_name": self._name, "until": until})
                    known = until
            self._note(known, database.now())

    def wait_seconds(self) -> float:
        """Return for how long nobody may go on, by what was known half a second ago at the latest.

        Raises:
            StoreUnreachableError: The store is locked, damaged or gone.
        """
        with self._using:
            if self._ticks() - self._looked_at >= LOOK_SECONDS:
                database = self._database()
                with database.read() as connection:
                    found = connection.execute(BLOCKED_UNTIL, {"of_name": self._name}).scalar()
                self._note(found or 0, database.now())
            return max(0.0, self._closed_until - self._ticks())

    def _take(self, amount: float) -> float:
        database = self._database()
        with database.write() as connection:
            row = self._locked(connection, database)
            now = database.now()
            bucket, wait = self._bucket(row, now).reserve(amount, now / MICROSECONDS)
            taken = {
                "of_name": self._name,
                "left": bucket.level,
                "seen_at": int(bucket.at * MICROSECONDS),
            }
            connection.execute(SET_TOKENS, taken)
        self._note(row.blocked_until, now)
        return wait

    def _bucket(self, row: Row[Any], now: int) -> TokenBucket:
        is_sane = row.updated_at <= now + MOST_AHEAD_SECONDS * MICROSECONDS
        at = row.updated_at if is_sane else now
        per_minute = self._full.per_minute
        return TokenBucket(per_minute=per_minute, level=row.tokens, at=at / MICROSECONDS)

    def _locked(self, connection: Connection, database: Database) -> Row[Any]:
        which = {"of_name": self._name}
        found = connection.execute(LOCK_LIMIT, which).first()
        if found is not None:
            return found
        first = {
            "name": self._name,
            "tokens": self._full.level,
            "updated_at": database.now(),
            "blocked_until": 0,
        }
        connection.execute(database.insert_into(rate_limits).on_conflict_do_nothing(), first)
        return connection.execute(LOCK_LIMIT, which).one()

    def _note(self, blocked_until: int, now: int) -> None:
        self._looked_at = self._ticks()
        left = (blocked_until - now) / MICROSECONDS if _is_hold(blocked_until, now) else 0.0
        self._closed_until = self._looked_at + left

    def _database(self) -> Database:
        if self._opened is None:
            database, _ = opened(self._url, self._clock)
            weakref.finalize(self, database.close)
            self._opened = database
        return self._opened


def _is_hold(blocked_until: int, now: int) -> bool:
    return now < blocked_until <= now + MOST_HOLD_SECONDS * MICROSECONDS
