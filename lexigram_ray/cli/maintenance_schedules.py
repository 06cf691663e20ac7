"""Schedules as the command line sees them: those of the store, and those of this configuration.

`up` writes the schedules of its own configuration into the store. Without it, those of the
command's configuration count; it then adds what it needs, and removes nothing that another one has
defined.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.id_prefixes import find_by_id
from lexigram_ray.cli.job_next import is_up
from lexigram_ray.cli.maintenance_table import Listed
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.schedule_records import Run, Schedule
    from lexigram_ray.jobs.store import Store

RUNS_AT_ONCE = 500


def listed_schedules(config: WorkersConfig, now: datetime) -> list[Listed]:
    """Return all schedules with their last runs and next times; nothing is written.

    Raises:
        ConfigError: A schedule of the configuration is wrong.
    """
    from lexigram_ray.jobs.store import Store
    from lexigram_ray.maintenance.definitions import configured_schedules

    store = Store.open_existing(config.paths.store_url)
    if store is None:
        return [_listed(each, None, now) for each in configured_schedules(config)]
    with store:
        return [
            _listed(each, _last_run(store, each.name), now) for each in _schedules(config, store)
        ]


def define_missing(config: WorkersConfig, store: Store) -> None:
    """Write the schedules of this configuration that the store does not have as they are here.

    Where `up` runs, its configuration counts, and only those that it does not know are written.
    """
    from lexigram_ray.maintenance.definitions import configured_schedules

    known = {each.name for each in store.schedules.list()} if is_up(config) else set[str]()
    wanted = [each for each in configured_schedules(config) if each.name not in known]
    store.schedules.define(wanted, origins=())


def check_name(config: WorkersConfig, store: Store, name: str) -> None:
    """Refuse a name that no schedule has.

    Raises:
        UsageError: Naming the nearest one.
    """
    names = [each.name for each in _schedules(config, store)]
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    raise UsageError(
        f"no schedule {name!r}",
        hint=f"did you mean {near[0]}?" if near else "`lexigram-ray maintenance list` shows them",
    )


def find_run(store: Store, given: str) -> Run:
    """Return the one run whose id, or whose job's id, begins so; of a schedule's name, its last.

    Raises:
        UsageError: It names no run, or more than one.
    """
    last = _last_run(store, given)
    if last is not None:
        return last
    of_job = store.schedules.run_of_job(given)
    if of_job is not None:
        return of_job
    return find_by_id(
        given,
        noun="run",
        listed_by="maintenance runs",
        get=lambda run_id: next((run for run in _all_runs(store) if run.id == run_id), None),
        beginning=lambda prefix: [run for run in _all_runs(store) if run.id.startswith(prefix)],
    )


def _schedules(config: WorkersConfig, store: Store) -> list[Schedule]:
    """Return the schedules that there are: those of this configuration first, in its order."""
    from dataclasses import replace

    from lexigram_ray.maintenance.definitions import configured_schedules

    stored = {each.name: each for each in store.schedules.list()}
    counts_as_stored = bool(stored) and is_up(config)
    found: dict[str, Schedule] = {}
    for each in configured_schedules(config):
        known = stored.get(each.name)
        if counts_as_stored and known is not None:
            found[each.name] = known
        elif not counts_as_stored:
            # What a user has switched stays so.
            found[each.name] = each if known is None else replace(each, enabled=known.enabled)
    return [*found.values(), *(each for name, each in stored.items() if name not in found)]


def _listed(schedule: Schedule, last_run: Run | None, now: datetime) -> Listed:
    from lexigram_ray.maintenance.fire_times import next_due

    due = next_due(schedule, now) if schedule.enabled else None
    return Listed(schedule=schedule, last_run=last_run, next_due=due)


def _last_run(store: Store, name: str) -> Run | None:
    return next(iter(store.schedules.runs(name, limit=1)[0]), None)


def _all_runs(store: Store) -> Iterator[Run]:
    page, cursor = store.schedules.runs(limit=RUNS_AT_ONCE)
    yield from page
    while cursor is not None:
        page, cursor = store.schedules.runs(limit=RUNS_AT_ONCE, cursor=cursor)
        yield from page
