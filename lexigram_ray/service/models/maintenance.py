"""Schedules and runs of maintenance as HTTP shows them, and what can be asked of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from lexigram_ray.service.models.common import (
    Answer,
    Asked,
    AskedInQuery,
    Cursor,
    Limit,
    Name,
    Next,
    bounded_json,
)

RunState = Literal["pending", "running", "completed", "failed", "skipped"]
LONGEST_OPTIONS = 16_384
LONGEST_RUN_SECONDS = 31_536_000.0
"""A year."""


class Fault(Answer):
    """What a run found to be wrong."""

    model_config = ConfigDict(extra="allow")

    name: str
    detail: str
    fix: str | None = Field(None, description="The way out")


class Run(Answer):
    """One time of a schedule."""

    id: str
    name: str = Field(description="Of the schedule")
    task: str
    due_at: str
    trigger: Literal["schedule", "missed", "manual"]
    status: RunState
    job_id: str | None = Field(description="Null where it was skipped")
    created_at: str
    started_at: str | None
    finished_at: str | None
    duration_seconds: float | None
    reason: str = Field(description="Why it was skipped, or failed")
    error_code: str | None
    faults: list[Fault]
    result: dict[str, Any]


class Schedule(Answer):
    """When a task runs, and how."""

    name: str
    task: str
    cron: str | None
    interval_seconds: float | None
    timezone: str
    jitter_seconds: float
    missed: Literal["none", "latest", "all"]
    overlap: Literal["skip", "queue", "replace"]
    timeout_seconds: float
    options: dict[str, Any]
    enabled: bool
    origin: str = Field(description="Who has defined it: `builtin`, `config` or `api`")
    considered_until: str | None
    created_at: str | None
    updated_at: str | None


class Task(Schedule):
    """A schedule with its last and its next run."""

    next_run_at: str | None = Field(description="Null where it is off")
    last_run: Run | None


class TaskList(Answer):
    """All schedules."""

    items: list[Task]
    next: None


class RunPage(Answer):
    """Runs, the latest first."""

    items: list[Run]
    next: Next


class RunsQuery(AskedInQuery):
    """Which runs are listed."""

    name: Name | None = Field(None, description="Only runs of this schedule")
    status: RunState | None = Field(None, description="Only runs in this state")
    limit: Limit = 20
    cursor: Cursor | None = None


class RunTask(Asked):
    """How a task is run now."""

    model_config = ConfigDict(json_schema_extra={"example": {"dry_run": True}})

    options: Annotated[
        dict[str, JsonValue],
        Field(
            max_length=100,
            description="Fields of the task's section of `maintenance:` in the configuration, "
            "for this run",
        ),
        bounded_json("options have", LONGEST_OPTIONS),
    ] = Field(default_factory=dict)
    timeout_seconds: float | None = Field(
        None,
        gt=0,
        le=LONGEST_RUN_SECONDS,
        allow_inf_nan=False,
        description="The run is ended after so long; else as its schedule says",
    )
    dry_run: bool = Field(False, description="Only say what would be done")
