"""Schedules as whoever asks sees them: those of the store, and those of this configuration.

`up` writes the schedules of its own configuration into the store. Without it, those of the asker's
configuration count; it then adds what it needs, and removes nothing that another one has defined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.schedule_records import Run, Schedule, no_such_schedule
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.definitions import configured_schedules
from lexigram_ray.maintenance.fire_times import next_due


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A schedule in the list.

    Attributes:
        last_run: The one that was due last; None where there is none.
        next_due: None where it is switched off, or never due.
    """

    schedule: Schedule
    last_run: Run | None
    next_due: datetime | None

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object."""
        return {
            **self.schedule.to_dict(),
            "next_run_at": None if self.next_due is None else self.next_due.isoformat(),
            "last_run": None if self.last_run is None else self.last_run.to_dict(),
        }


def listed_schedules(
    config: WorkersConfig, store: Store | None, now: datetime, *, is_up: bool
) -> list[Listed]:
    """Return all schedules with their last runs and next times; nothing is written.

    Args:
        config: Has the schedules of the asker.
        store: None where there is none yet.
        now: Aware.
        is_up: Whether `up` has started what works on them.

    Raises:
        ConfigError: A schedule of the configuration is wrong.
    """
    if store is None:
        return [_listed(each, None, now) for each in configured_schedules(config)]
    known = known_schedules(config, store, is_up=is_up)
    return [_listed(each, last_run(store, each.name), now) for each in known]


def known_schedules(config: WorkersConfig, store: Store, *, is_up: bool) -> list[Schedule]:
    """Return the schedules that there are: those of this configuration first, in its order."""
    stored = {each.name: each for each in store.schedules.list()}
    counts_as_stored = bool(stored) and is_up
    found: dict[str, Schedule] = {}
    for each in configured_schedules(config):
        known = stored.get(each.name)
        if counts_as_stored and known is not None:
            found[each.name] = known
        elif not counts_as_stored:
            # What a user has switched stays so.
            found[each.name] = each if known is None else replace(each, enabled=known.enabled)
    return [*found.values(), *(each for name, each in stored.items() if name not in found)]


def define_missing(config: WorkersConfig, store: Store, *, is_up: bool) -> None:
    """Write the schedules of this configuration that the store does not have as they are here.

    Where `up` runs, its configuration counts, and only those that it does not know are written.
    """
    known = {each.name for each in store.schedules.list()} if is_up else set[str]()
    wanted = [each for each in configured_schedules(config) if each.name not in known]
    store.schedules.define(wanted, origins=())


def check_name(config: WorkersConfig, store: Store, name: str, *, is_up: bool) -> None:
    """Refuse a name that no schedule has.

    Raises:
        UsageError: Naming the nearest one; its code is `NO_SCHEDULE`.
    """
    names = [each.name for each in known_schedules(config, store, is_up=is_up)]
    if name not in names:
        raise no_such_schedule(name, names)


def last_run(store: Store, name: str) -> Run | None:
    """Return the run of a schedule that was due last."""
    return next(iter(store.schedules.runs(name, limit=1)[0]), None)


def _listed(schedule: Schedule, last: Run | None, now: datetime) -> Listed:
    due = next_due(schedule, now) if schedule.enabled else None
    return Listed(schedule=schedule, last_run=last, next_due=due)
