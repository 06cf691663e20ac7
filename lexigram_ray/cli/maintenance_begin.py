"""A run that is asked for, up to where it is recorded: what is wrong with it is said before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lexigram_ray.cli.output import say
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.schedule_records import Run, Schedule
    from lexigram_ray.jobs.store import Store

READY_LOOKED_AT = 1000

ABANDONED_AFTER = timedelta(seconds=60)
"""A run that nobody has begun in this time was left by a command that is gone."""


def begin_run(
    config: WorkersConfig,
    store: Store,
    name: str,
    options: dict[str, object],
    timeout_seconds: float | None,
) -> Run:
    """Record the run; what is wrong with it is found before.

    Raises:
        UsageError: There is no such schedule or option, or an earlier run has not ended.
    """
    from lexigram_ray.cli.maintenance_schedules import check_name, define_missing

    check_name(config, store, name)
    define_missing(config, store)
    schedule = store.schedules.get(name)
    if schedule is not None:
        _check_options(config, store, schedule, options)
    _end_abandoned(config, store, name)
    return store.schedules.run_now(name, options, timeout_seconds=timeout_seconds)


def _check_options(
    config: WorkersConfig, store: Store, schedule: Schedule, options: dict[str, object]
) -> None:
    """Refuse options that a built-in duty does not have; those of other tasks are their own."""
    from lexigram_ray.maintenance.duties import DUTIES
    from lexigram_ray.maintenance.duty import DutyContext
    from lexigram_ray.maintenance.options import settings_of

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


def _end_abandoned(config: WorkersConfig, store: Store, name: str) -> None:
    """Cancel an earlier run that a killed command has left: nobody would ever go on with it."""
    from lexigram_ray.cli.job_next import is_up
    from lexigram_ray.jobs.owner import Owner

    if is_up(config):
        return
    free = {job.id for job in store.schedules.ready(READY_LOOKED_AT)}
    for job in store.schedules.unfinished(name):
        begun_or_old = job.attempt or datetime.now(UTC) - job.created_at > ABANDONED_AFTER
        if job.id in free and begun_or_old:
            store.cancel(job.id, Owner.current(), turn_seconds=config.jobs.lease_seconds)
            say(f"an earlier run was left unfinished, and is cancelled: {job.id}", label="note")


def refuse_without_workers(config: WorkersConfig, invocation: Invocation) -> None:
    """Refuse a run for which nobody is there.

    Raises:
        UsageError: Nothing works on maintenance here.
    """
    if not has_workers(config):
        raise UsageError(
            "--no-wait needs `lexigram-ray up`: nothing works on maintenance here yet",
            hint=f"{invocation.suggest('up')}, or leave --no-wait out",
        )


def has_workers(config: WorkersConfig) -> bool:
    """Whether `up` has started what works on maintenance here."""
    from lexigram_ray.cli.job_next import is_up

    return config.enable_maintenance and is_up(config)
