"""Which schedules a configuration makes, and what of it is refused."""

from __future__ import annotations

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import ConfigError, MaintenanceError
from lexigram_ray.core.types import MaintenanceTaskType
from lexigram_ray.jobs.schedule_records import Missed, Overlap, Schedule
from lexigram_ray.maintenance.definitions import configured_schedules
from lexigram_ray.maintenance.duties import DUTIES
from lexigram_ray.maintenance.duty import DutyReport
from lexigram_ray.maintenance.user_tasks import as_duty, load_function, report_of


def configured(**maintenance: object) -> WorkersConfig:
    return load_config(maintenance=maintenance)


def schedules(**maintenance: object) -> dict[str, Schedule]:
    return {each.name: each for each in configured_schedules(configured(**maintenance))}


def test_the_built_in_duties_run_without_being_configured() -> None:
    found = schedules()

    assert list(found) == list(DUTIES)
    assert {task.value for task in MaintenanceTaskType} <= set(found)
    assert all(each.enabled and each.origin == "builtin" for each in found.values())
    assert found["health_check"].interval_seconds == 300
    assert found["cache_cleanup"].cron == "23 3 * * *"


@pytest.mark.parametrize("name", DUTIES)
def test_each_duty_has_its_module_and_its_section(name: str) -> None:
    assert callable(DUTIES[name].load())
    assert hasattr(configured().maintenance, name)


def test_a_built_in_schedule_changes_only_in_what_is_configured() -> None:
    override = {"cron": "@daily", "timezone": "Europe/Berlin", "enabled": False, "missed": "none"}
    found = schedules(schedules={"health_check": override})["health_check"]

    assert (found.cron, found.interval_seconds) == ("0 0 * * *", None)
    assert (found.timezone, found.enabled, found.missed) == ("Europe/Berlin", False, Missed.NONE)
    assert found.timeout_seconds == DUTIES["health_check"].timeout_seconds


def test_a_task_of_the_users_own_is_a_schedule_like_others() -> None:
    task = {
        "task": "my.tasks:nightly",
        "interval_seconds": 60,
        "overlap": "queue",
        "options": {"deep": True},
    }
    found = schedules(timezone="America/New_York", tasks={"nightly": task})["nightly"]

    assert (found.task, found.origin) == ("my.tasks:nightly", "config")
    assert (found.interval_seconds, found.overlap) == (60, Overlap.QUEUE)
    assert (found.timezone, found.options) == ("America/New_York", {"deep": True})


@pytest.mark.parametrize(
    ("maintenance", "told", "hint"),
    [
        ({"timezone": "Europe/Berlni"}, "maintenance.timezone: there is no", "Europe/Berlin"),
        (
            {"schedules": {"health_chek": {"cron": "@daily"}}},
            "maintenance.schedules.health_chek",
            "health_check",
        ),
        (
            {"schedules": {"health_check": {"cron": "61 * * * *"}}},
            "maintenance.schedules.health_check.cron: .*minute cannot be '61'",
            "minute hour day",
        ),
        (
            {"tasks": {"a": {"task": "nothing", "cron": "@daily"}}},
            "maintenance.tasks.a.task: the task 'nothing' names no function",
            "package.module:name",
        ),
        (
            {"tasks": {"health_check": {"task": "a:b", "cron": "@daily"}}},
            "maintenance.tasks.health_check: a built-in duty is called so",
            "another name",
        ),
    ],
)
def test_what_cannot_run_is_refused_by_the_name_of_its_setting(
    maintenance: dict[str, object], told: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        schedules(**maintenance)

    assert hint in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("maintenance", "told"),
    [
        ({"tasks": {"a": {"task": "a:b", "crom": "@daily"}}}, "did you mean cron?"),
        ({"tasks": {"a": {"task": "a:b"}}}, "give either cron or interval_seconds"),
        ({"schedules": {"health_check": {"timeuot_seconds": 1}}}, "did you mean timeout_seconds?"),
    ],
)
def test_a_misspelt_setting_of_a_schedule_names_the_nearest(
    maintenance: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=r".*") as raised:
        configured(**maintenance)

    assert told in raised.value.message


async def _figures_later() -> dict[str, object]:
    return {"rows": 3}


def _options_of(context: object) -> DutyReport:
    return DutyReport(figures={"given": str(context)}, lines=["done"])


def test_functions_may_be_plain_or_async_and_take_the_context_or_nothing() -> None:
    context = "context"

    def run(function: object) -> DutyReport:
        return as_duty(function)(context)  # pyright: ignore[reportArgumentType]

    assert run(_figures_later).figures == {"rows": 3}
    assert run(_options_of) == DutyReport(figures={"given": "context"}, lines=["done"])
    assert run(lambda: None) == DutyReport(figures={})


@pytest.mark.parametrize("answer", ["text", {"when": object()}, {"share": float("nan")}])
def test_an_answer_that_cannot_be_kept_is_an_error(answer: object) -> None:
    with pytest.raises(MaintenanceError) as raised:
        report_of(answer)

    assert raised.value.hint


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("no.such.module:run", "cannot be imported"),
        ("json:no_such_name", "cannot be imported"),
        ("json:__name__", "is no function"),
    ],
)
def test_a_function_that_is_not_there_is_an_error_with_the_way_out(path: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        load_function(path)

    assert "PYTHONPATH" in (raised.value.hint or "")
