"""Jobs as HTTP shows them, and what can be asked of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from lexigram_ray.service.models.common import (
    EXAMPLE_ID,
    Answer,
    Asked,
    AskedInQuery,
    Cursor,
    Limit,
    Name,
    Next,
)

JobState = Literal["pending", "running", "completed", "failed", "cancelled"]
Category = Literal["transient", "permanent", "throttled", "invalid_input", "unknown"]

_JOB: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "kind": "ingest",
    "status": "running",
    "priority": 0,
    "collection": "papers",
    "progress": {"total": 120, "done": 30, "failed": 1, "percent": 25.0},
    "attempt": 1,
    "retry_of": None,
    "created_at": "2026-11-24T13:00:00+00:00",
    "started_at": "2026-11-24T13:00:01+00:00",
    "finished_at": None,
    "error": None,
}
_SHOWN_JOB: dict[str, Any] = _JOB | {
    "error_code": None,
    "seconds_remaining": 90.0,
    "run_after": None,
    "deadline": None,
    "attempts": [],
    "spec": {"paths": ["/papers"]},
    "problems": [],
}


class Progress(Answer):
    """How far a job is, in documents or texts."""

    total: int = Field(ge=0, description="0 while unknown")
    done: int = Field(ge=0, description="Whatever ended, failures among it")
    failed: int = Field(ge=0)
    percent: float = Field(ge=0, le=100)


class Job(Answer):
    """A job; what is final never changes."""

    model_config = ConfigDict(json_schema_extra={"example": _JOB})

    id: str
    kind: str = Field(description="`ingest`, `embed` or `maintenance`")
    status: JobState
    priority: int = Field(description="Higher is worked on earlier")
    collection: str
    progress: Progress
    attempt: int = Field(ge=0, description="How many times it was begun")
    retry_of: str | None = Field(description="The job that this one repeats")
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: str | None = Field(description="Why it failed")


class Attempt(Answer):
    """One time that a job was worked on."""

    number: int
    node: str
    pid: int
    actor: str
    started_at: str
    ended_at: str | None
    duration_seconds: float | None
    outcome: str | None = Field(description="Null while it runs")
    category: Category | None
    error: str | None
    traceback: str | None = Field(description="Without secrets")


class ShownJob(Job):
    """A job in full."""

    model_config = ConfigDict(json_schema_extra={"example": _SHOWN_JOB})

    error_code: str | None
    seconds_remaining: float | None = Field(description="Null while unknown")
    run_after: str | None = Field(description="It is not begun before")
    deadline: str | None = Field(description="It fails if it has not ended by then")
    attempts: list[Attempt]
    spec: dict[str, Any] = Field(description="What was asked, without secrets")
    problems: list[dict[str, Any]] = Field(
        description="Documents that were skipped or failed: source, outcome, category, code, reason"
    )


class JobPage(Answer):
    """Jobs, the newest first."""

    items: list[Job]
    next: Next


class JobsQuery(AskedInQuery):
    """Which jobs are listed."""

    status: JobState | None = Field(None, description="Only jobs in this state")
    kind: Literal["ingest", "embed", "maintenance"] | None = Field(
        None, description="Only jobs of this kind; those of maintenance are listed only so"
    )
    collection: Name | None = Field(None, description="Only jobs of this collection")
    limit: Limit = 20
    cursor: Cursor | None = None


class JobQuery(AskedInQuery):
    """How long an answer may wait for something new."""

    wait: float = Field(
        0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="Seconds: the answer comes once the job has ended, or is no longer as "
        "`If-None-Match` knows it, or when this time is over",
    )


class EventsQuery(AskedInQuery):
    """Which events are answered."""

    after: int = Field(
        -1, ge=-1, le=999_999_999, description="The last `seq` that is known; -1 begins at first"
    )
    limit: int = Field(200, ge=1, le=10_000, description="Most events of a page, not of a stream")


class RetryJob(Asked):
    """What of a job is done again."""

    model_config = ConfigDict(json_schema_extra={"example": {"failed_only": True}})

    failed_only: bool = Field(False, description="Only the documents that failed")


class JobEvent(Answer):
    """One thing that happened to a job."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "job_id": EXAMPLE_ID,
                "seq": 1,
                "at": "2026-11-24T13:00:01+00:00",
                "type": "claimed",
                "data": {"attempt": 1, "node": "node-1", "pid": 4711},
            }
        }
    )

    job_id: str
    seq: int = Field(ge=0, description="Position among the job's events, without gaps")
    at: str
    type: str
    data: dict[str, Any] = Field(description="What belongs to the type")


class EventPage(Answer):
    """Events of a job, in their order."""

    job_id: str
    items: list[JobEvent]
    next: int | None = Field(description="The next page's `after`; null on the last one")
