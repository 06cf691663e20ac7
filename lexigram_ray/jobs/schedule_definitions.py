"""Schedules as they are defined: written by whoever knows them, switched on and off by users."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from lexigram_ray.jobs import schedules_sql
from lexigram_ray.jobs.database import Database, from_micros, storable
from lexigram_ray.jobs.intake import to_json
from lexigram_ray.jobs.schedule_records import (
    Missed,
    Overlap,
    Schedule,
    check_schedules,
    no_such_schedule,
)


class ScheduleDefinitions:
    """Writes and reads schedules. `Schedules` documents the promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def define(self, schedules: Sequence[Schedule], origins: Sequence[str]) -> None:
        """Make the schedules of some origins what they are said to be."""
        check_schedules(schedules)
        with self._database.read() as connection:
            if not any(self._changes(connection, schedules, origins)):
                return
        with self._database.write() as connection:
            # One at a time: two processes may begin with the same, new definitions.
            self._database.lock(connection, "schedules")
            written, removed = self._changes(connection, schedules, origins)
            for name in removed:
                connection.execute(schedules_sql.REMOVE, {"of_name": name})
            if written:
                connection.execute(schedules_sql.define(self._database.insert_into), written)

    def all(self) -> list[Schedule]:
        """Return all schedules, by name."""
        with self._database.read() as connection:
            return [schedule_of(row) for row in connection.execute(schedules_sql.ALL)]

    def get(self, name: str) -> Schedule | None:
        """Return one schedule."""
        with self._database.read() as connection:
            asked = {"of_name": storable(name)}
            row = connection.execute(schedules_sql.ONE, asked).one_or_none()
        return None if row is None else schedule_of(row)

    def enable(self, name: str, enabled: bool) -> Schedule:
        """Switch a schedule on or off."""
        with self._database.write() as connection:
            row = locked(connection, name)
            if bool(row.enabled) != enabled:
                switch = {"of_name": row.name, "on": int(enabled)}
                connection.execute(schedules_sql.ENABLE, switch)
                # What came due while it was off was not missed.
                until = {"of_name": row.name, "until": self._database.now()}
                if enabled:
                    connection.execute(schedules_sql.CONSIDER, until)
            return schedule_of(connection.execute(schedules_sql.ONE, {"of_name": row.name}).one())

    def _changes(
        self, connection: Connection, schedules: Sequence[Schedule], origins: Sequence[str]
    ) -> tuple[list[dict[str, object]], list[str]]:
        """Return the rows that are to be written, and the names of those that are to go."""
        rows = {row.name: row for row in connection.execute(schedules_sql.ALL)}
        now = self._database.now()
        wanted = sorted(schedules, key=lambda each: each.name)
        defined = [_defined(each, rows.get(each.name), now) for each in wanted]
        names = {each.name for each in schedules}
        removed = [row.name for row in rows.values() if row.origin in origins]
        return (
            [row for row in defined if row is not None],
            sorted(name for name in removed if name not in names),
        )


def locked(connection: Connection, name: str) -> Row[Any]:
    """Return a schedule's row, which stays as it is until the transaction ends.

    Raises:
        UsageError: There is no such schedule.
    """
    row = connection.execute(schedules_sql.LOCK, {"of_name": storable(name)}).one_or_none()
    if row is None:
        names = [each.name for each in connection.execute(schedules_sql.ALL)]
        raise no_such_schedule(name, names)
    return row


def schedule_of(row: Row[Any]) -> Schedule:
    """Return a row of `schedules` as a record."""
    return Schedule(
        name=row.name,
        task=row.task,
        cron=row.cron,
        interval_seconds=row.interval_seconds,
        timezone=row.timezone,
        jitter_seconds=row.jitter_seconds,
        missed=Missed(row.missed),
        overlap=Overlap(row.overlap),
        timeout_seconds=row.timeout_seconds,
        options=json.loads(row.options),
        enabled=bool(row.enabled),
        origin=row.origin,
        considered_until=from_micros(row.considered_until),
        created_at=from_micros(row.created_at),
        updated_at=from_micros(row.updated_at),
    )


def _defined(schedule: Schedule, row: Row[Any] | None, now: int) -> dict[str, object] | None:
    """Return the row that a definition asks for; None where it stands already."""
    new: dict[str, object] = {
        "name": storable(schedule.name),
        "task": storable(schedule.task),
        "cron": schedule.cron,
        "interval_seconds": schedule.interval_seconds,
        "timezone": schedule.timezone,
        "jitter_seconds": schedule.jitter_seconds,
        "missed": schedule.missed.value,
        "overlap": schedule.overlap.value,
        "timeout_seconds": schedule.timeout_seconds,
        "options": to_json(dict(schedule.options)),
        "defined_enabled": int(schedule.enabled),
        "origin": schedule.origin,
    }
    if row is None:
        return new | {
            "enabled": int(schedule.enabled),
            "considered_until": now,
            "created_at": now,
            "updated_at": now,
        }
    if all(getattr(row, name) == value for name, value in new.items()):
        return None
    # The user's switch stands until the definition itself is switched.
    is_switched = row.defined_enabled != new["defined_enabled"]
    enabled = new["defined_enabled"] if is_switched else row.enabled
    is_same = schedule_of(row).times == schedule.times and bool(row.enabled) >= bool(enabled)
    return new | {
        "enabled": enabled,
        "considered_until": row.considered_until if is_same else now,
        "created_at": row.created_at,
        "updated_at": now,
    }
