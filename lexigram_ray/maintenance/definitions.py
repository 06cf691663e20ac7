"""Which schedules there are: the built-in duties, changed as configured, and the user's tasks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import ConfigError
from lexigram_ray.core.maintenance_settings import (
    MaintenanceSettings,
    ScheduleOverride,
    TaskSettings,
)
from lexigram_ray.jobs.schedule_records import Missed, Overlap, Schedule
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.cron_expressions import cron_of
from lexigram_ray.maintenance.duties import DUTIES, BuiltIn
from lexigram_ray.maintenance.user_tasks import check_path
from lexigram_ray.maintenance.zones import zone_of

BUILT_IN = "builtin"
CONFIGURED = "config"

_NO_CHANGE = ScheduleOverride.model_validate({})


def define_schedules(config: WorkersConfig, store: Store) -> None:
    """Write the schedules of this configuration into the store.

    Raises:
        ConfigError: See `configured_schedules`.
    """
    store.schedules.define(configured_schedules(config), origins=(BUILT_IN, CONFIGURED))


def configured_schedules(config: WorkersConfig) -> list[Schedule]:
    """Return the schedules of the built-in duties, and those of the user's tasks.

    Raises:
        ConfigError: A cron expression, a zone or a task's path is wrong, a change is for a duty
            that there is not, or a task is called as a duty is.
    """
    settings = config.maintenance
    _refuse_unknown(settings.schedules)
    for name in settings.tasks:
        if name in DUTIES:
            raise ConfigError(
                f"setting maintenance.tasks.{name}: a built-in duty is called so",
                hint="give the task another name; maintenance.schedules changes when a duty runs",
            )
    schedules = [
        _built_in(duty, settings.schedules.get(duty.name, _NO_CHANGE), settings)
        for duty in DUTIES.values()
    ]
    schedules += [_task(name, task, settings) for name, task in settings.tasks.items()]
    return schedules


def _built_in(duty: BuiltIn, override: ScheduleOverride, settings: MaintenanceSettings) -> Schedule:
    cron, interval = override.cron, override.interval_seconds
    if cron is None and interval is None:
        cron, interval = duty.cron, duty.interval_seconds
    where = f"maintenance.schedules.{duty.name}"
    return Schedule(
        name=duty.name,
        task=duty.name,
        cron=_checked_cron(cron, where),
        interval_seconds=interval,
        timezone=_checked_zone(override.timezone, where, settings),
        jitter_seconds=override.jitter_seconds or 0.0,
        missed=Missed(override.missed or Missed.LATEST),
        overlap=Overlap(override.overlap or Overlap.SKIP),
        timeout_seconds=override.timeout_seconds or duty.timeout_seconds,
        options=override.options,
        enabled=True if override.enabled is None else override.enabled,
        origin=BUILT_IN,
    )


def _task(name: str, task: TaskSettings, settings: MaintenanceSettings) -> Schedule:
    where = f"maintenance.tasks.{name}"
    try:
        check_path(task.task)
    except ConfigError as error:
        raise _of_setting(f"{where}.task", error) from error
    return Schedule(
        name=name,
        task=task.task,
        cron=_checked_cron(task.cron, where),
        interval_seconds=task.interval_seconds,
        timezone=_checked_zone(task.timezone, where, settings),
        jitter_seconds=task.jitter_seconds,
        missed=Missed(task.missed),
        overlap=Overlap(task.overlap),
        timeout_seconds=task.timeout_seconds,
        options=task.options,
        enabled=task.enabled,
        origin=CONFIGURED,
    )


def _checked_cron(cron: str | None, where: str) -> str | None:
    if cron is None:
        return None
    try:
        return cron_of(cron).text
    except ConfigError as error:
        raise _of_setting(f"{where}.cron", error) from error


def _checked_zone(zone: str | None, where: str, settings: MaintenanceSettings) -> str:
    setting = "maintenance.timezone" if zone is None else f"{where}.timezone"
    name = settings.timezone if zone is None else zone
    try:
        zone_of(name)
    except ConfigError as error:
        raise _of_setting(setting, error) from error
    return name


def _of_setting(where: str, error: ConfigError) -> ConfigError:
    return ConfigError(f"setting {where}: {error.message}", hint=error.hint)


def _refuse_unknown(overrides: Mapping[str, ScheduleOverride]) -> None:
    for name in overrides:
        if name not in DUTIES:
            raise ConfigError(
                f"setting maintenance.schedules.{name}: there is no built-in duty of that name",
                hint=_nearest(name, DUTIES),
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"the duties are {', '.join(known)}; tasks of your own go under maintenance.tasks"
