"""Schedules and their runs as users name them on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.id_prefixes import find_by_id
from lexigram_ray.cli.job_next import is_up

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.schedule_records import Run
    from lexigram_ray.jobs.store import Store
    from lexigram_ray.maintenance.known_schedules import Listed

RUNS_AT_ONCE = 500


def listed_schedules(config: WorkersConfig, now: datetime) -> list[Listed]:
    """Return all schedules with their last runs and next times; nothing is written.

    Raises:
        ConfigError: A schedule of the configuration is wrong.
    """
    from lexigram_ray.jobs.store import Store
    from lexigram_ray.maintenance import known_schedules

    with Store.open_existing(config.paths.store_url) or nullcontext() as store:
        return known_schedules.listed_schedules(config, store, now, is_up=is_up(config))


def find_run(store: Store, given: str) -> Run:
    """Return the one run whose id, or whose job's id, begins so; of a schedule's name, its last.

    Raises:
        UsageError: It names no run, or more than one.
    """
    from lexigram_ray.maintenance.known_schedules import last_run

    last = last_run(store, given)
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


def _all_runs(store: Store) -> Iterator[Run]:
    page, cursor = store.schedules.runs(limit=RUNS_AT_ONCE)
    yield from page
    while cursor is not None:
        page, cursor = store.schedules.runs(limit=RUNS_AT_ONCE, cursor=cursor)
        yield from page
