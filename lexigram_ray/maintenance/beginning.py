"""A run that is asked for, up to where it is recorded: what is wrong with it is said before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.schedule_records import Run, Schedule
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.duties import DUTIES
from lexigram_ray.maintenance.duty import DutyContext
from lexigram_ray.maintenance.known_schedules import check_name, define_missing
from lexigram_ray.maintenance.options import settings_of

READY_LOOKED_AT = 1000

ABANDONED_AFTER = timedelta(seconds=60)
"""A run that nobody has begun in this time was left by a command that is gone."""


def begin_run(
    config: WorkersConfig,
    store: Store,
    name: str,
    options: dict[str, object],
    timeout_seconds: float | None,
    *,
    is_up: bool,
) -> tuple[Run, list[str]]:
    """Record the run; what is wrong with it is found before.

    Args:
        config: Has the schedules of the asker.
        store: Where it is recorded.
        name: Of the schedule.
        options: Of the task, over those of the schedule.
        timeout_seconds: In place of the schedule's.
        is_up: Whether `up` has started what works on runs.

    Returns:
        The run, and the ids of the jobs of earlier ones that were left unfinished, and are
        cancelled now.

    Raises:
        UsageError: There is no such schedule (code `NO_SCHEDULE`) or option, or an earlier run has
            not ended (code `RUN_UNFINISHED`).
    """
    check_name(config, store, name, is_up=is_up)
    define_missing(config, store, is_up=is_up)
    schedule = store.schedules.get(name)
    if schedule is not None:
        _check_options(config, store, schedule, options)
    ended = [] if is_up else _end_abandoned(config, store, name)
    return store.schedules.run_now(name, options, timeout_seconds=timeout_seconds), ended


def _check_options(
    config: WorkersConfig, store: Store, schedule: Schedule, options: dict[str, object]
) -> None:
    """Refuse options that a built-in duty does not have; those of other tasks are their own."""
    if schedule.task not in DUTIES:
        return
    context = DutyContext(
        config=config,
        store=store,
        options={**schedule.options, **options},
        now=lambda: datetime.now(UTC),
        tell=lambda _: None,
        should_stop=lambda: True,
        dry_run=True,
    )
    settings_of(context, getattr(config.maintenance, schedule.task))


def _end_abandoned(config: WorkersConfig, store: Store, name: str) -> list[str]:
    """Cancel an earlier run that a killed command has left: nobody would ever go on with it."""
    ended: list[str] = []
    free = {job.id for job in store.schedules.ready(READY_LOOKED_AT)}
    for job in store.schedules.unfinished(name):
        begun_or_old = job.attempt or datetime.now(UTC) - job.created_at > ABANDONED_AFTER
        if job.id in free and begun_or_old:
            store.cancel(job.id, Owner.current(), turn_seconds=config.jobs.lease_seconds)
            ended.append(job.id)
    return ended
