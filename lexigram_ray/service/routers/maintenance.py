"""Maintenance: what runs when, what it has found, and a run now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import Response

from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.jobs.schedule_records import NO_SCHEDULE, RUN_UNFINISHED
from lexigram_ray.maintenance.beginning import begin_run
from lexigram_ray.maintenance.known_schedules import check_name, define_missing, listed_schedules
from lexigram_ray.runtime.cluster_file import is_up
from lexigram_ray.service.answers import accepted, job_location, json_answer, refused_with
from lexigram_ray.service.auth import Operator, Reader
from lexigram_ray.service.context import Context, ServiceContext
from lexigram_ray.service.models.common import LONGEST_NAME
from lexigram_ray.service.models.maintenance import (
    Run,
    RunPage,
    RunsQuery,
    RunTask,
    Schedule,
    TaskList,
)
from lexigram_ray.service.models.problem import problems

router = APIRouter(prefix="/v1/maintenance", tags=["maintenance"])

ScheduleInPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=LONGEST_NAME,
        description="Name of the schedule",
        examples=["health_check"],
    ),
]

_STATUSES = {NO_SCHEDULE: 404, RUN_UNFINISHED: 409}
_LOCATION = {"Location": {"description": "The run's job", "schema": {"type": "string"}}}


@router.get(
    "/tasks",
    summary="List what runs by itself",
    response_model=TaskList,
    responses=problems(),
)
def list_tasks(_: Reader, context: Context) -> Response:
    """Say of each schedule when it runs, how it ended last, and when it is due next."""
    now, config = datetime.now(UTC), context.config
    listed = listed_schedules(config, context.store, now, is_up=is_up(config))
    return json_answer({"items": [each.to_dict() for each in listed], "next": None})


@router.get(
    "/runs", summary="List runs, the latest first", response_model=RunPage, responses=problems(404)
)
def list_runs(_: Reader, context: Context, asked: Annotated[RunsQuery, Query()]) -> Response:
    """Also those that were skipped, with the reason."""
    status = None if asked.status is None else MaintenanceStatus(asked.status)
    page, following = context.store.schedules.runs(
        asked.name, status=status, limit=asked.limit, cursor=asked.cursor
    )
    if asked.name is not None and not page:
        # Of a schedule that is gone there may be runs; of one that never was there are none.
        with refused_with(_STATUSES):
            check_name(context.config, context.store, asked.name, is_up=is_up(context.config))
    return json_answer({"items": [run.to_dict() for run in page], "next": following})


@router.post(
    "/tasks/{name}/run",
    status_code=202,
    summary="Run a task now",
    response_model=Run,
    responses={202: {"headers": _LOCATION}, **problems(400, 404, 408, 409, 415)},
)
def run_task(
    _: Operator,
    context: Context,
    name: ScheduleInPath,
    asked: Annotated[RunTask | None, Body()] = None,
) -> Response:
    """Record a run, be its schedule enabled or not; `lexigram-ray up` works on it."""
    given = asked or RunTask.model_validate({})
    options: dict[str, object] = dict(given.options)
    if given.dry_run:
        options["dry_run"] = True
    config = context.config
    with refused_with(_STATUSES):
        run, _ended = begin_run(
            config, context.store, name, options, given.timeout_seconds, is_up=is_up(config)
        )
    return accepted(run.to_dict(), job_location(run.job_id or ""))


@router.post(
    "/tasks/{name}/enable",
    summary="Let a task run by itself",
    response_model=Schedule,
    responses=problems(404),
)
def enable_task(_: Operator, context: Context, name: ScheduleInPath) -> Response:
    """Have it run from now on; what came due while it was off is not made up for."""
    return _switched(context, name, enabled=True)


@router.post(
    "/tasks/{name}/disable",
    summary="Keep a task from running by itself",
    response_model=Schedule,
    responses=problems(404),
)
def disable_task(_: Operator, context: Context, name: ScheduleInPath) -> Response:
    """Have it run only when it is asked for."""
    return _switched(context, name, enabled=False)


def _switched(context: ServiceContext, name: str, *, enabled: bool) -> Response:
    config, store = context.config, context.store
    up = is_up(config)
    with refused_with(_STATUSES):
        check_name(config, store, name, is_up=up)
    define_missing(config, store, is_up=up)
    return json_answer(store.schedules.enable(name, enabled).to_dict())
