"""Dead letters as HTTP shows them, and what can be asked of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field, JsonValue, model_validator

from lexigram_ray.service.models.common import (
    WHOLE,
    Answer,
    Asked,
    AskedInQuery,
    Cursor,
    Id,
    Limit,
    Name,
    Next,
)
from lexigram_ray.service.models.jobs import Category, Job

LetterState = Literal["open", "retrying", "addressed", "archived"]

_AGE = (
    r"^([0-9]{1,9}(\.[0-9]{1,6})?[smhdwSMHDW])+$|^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$"
)
_FILTERS = ("category", "collection", "code", "job", "fingerprint", "older_than")

Age = Annotated[
    str,
    Field(
        min_length=2,
        max_length=40,
        pattern=_AGE,
        description="Only those that failed last longer ago than this (12h, 7d, 2w), or before a "
        "date",
        examples=["7d", "2026-11-01T00:00:00Z"],
    ),
]


class LetterAttempt(Answer):
    """One failure."""

    job_id: str
    at: str
    category: Category
    code: str
    error: str
    error_type: str
    traceback: str | None = Field(description="Without secrets")


class DeadLetter(Answer):
    """A failure that outlived its job."""

    id: str
    job_id: str = Field(description="The job in which it failed last")
    kind: str
    collection: str
    source: str
    category: Category
    code: str
    error: str
    retry_count: int = Field(ge=0)
    max_retries: int = Field(ge=0, description="How often it is retried by itself")
    next_retry_at: str | None
    status: LetterState
    retry_job_id: str | None = Field(description="The job that tries it again")
    fingerprint: str = Field(description="Equal for failures of the same cause")
    first_failed_at: str
    last_failed_at: str
    closed_at: str | None
    resolution: str | None
    attempts: list[LetterAttempt]


class LetterPage(Answer):
    """Dead letters, the newest failure first."""

    items: list[DeadLetter]
    next: Next


class LettersQuery(AskedInQuery):
    """Which dead letters are listed."""

    status: Literal["open", "retrying", "addressed", "archived", "all"] | None = Field(
        None, description="Only those in this state; else those that are open or being retried"
    )
    category: Category | None = Field(None, description="Only failures of this category")
    collection: Name | None = Field(None, description="Only failures in this collection")
    code: Name | None = Field(None, description="Only failures of this code")
    job: Id | None = Field(None, description="Only those that failed last in this job")
    fingerprint: Name | None = Field(None, description="Only those of one cause")
    older_than: Age | None = None
    limit: Limit = 20
    cursor: Cursor | None = None


def _said_once() -> list[dict[str, Any]]:
    """Say in JSON Schema what `RetryLetters` checks: ids alone, or filters, or all of them."""
    null = {"type": "null"}
    no_filters: dict[str, Any] = dict.fromkeys(_FILTERS, null)
    of_ids = {"ids": {"type": "array"}, "all": {"const": False}} | no_filters
    others: dict[str, Any] = {name: {"type": "string"} for name in _FILTERS}
    others["all"] = {"const": True}
    return [
        {"required": ["ids"], "properties": of_ids},
        *(
            {"required": [name], "properties": {"ids": null, name: given}}
            for name, given in others.items()
        ),
    ]


class RetryLetters(Asked):
    """Which dead letters are done again, and how fast."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"category": "transient", "limit": 3, "dry_run": True},
            "anyOf": cast("JsonValue", _said_once()),
        }
    )

    ids: list[Id] | None = Field(
        None, min_length=1, max_length=1000, description="These, and nothing else is given"
    )
    all: bool = Field(False, description="Say that all are meant, where no filter is given")
    category: Category | None = None
    collection: Name | None = None
    code: Name | None = None
    job: Id | None = None
    fingerprint: Name | None = None
    older_than: Age | None = None
    rate: float | None = Field(
        None,
        ge=1 / 1440,
        le=1_000_000,
        allow_inf_nan=False,
        description="So many a minute, done by `lexigram-ray up`; else all at once",
    )
    limit: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] | None = Field(
        None, description="So many at most, those that failed longest ago"
    )
    dry_run: bool = Field(False, description="Only say what would be done")

    @property
    def filters(self) -> dict[str, str]:
        """What the letters have in common, as far as it was said."""
        return {name: getattr(self, name) for name in _FILTERS if getattr(self, name) is not None}

    @model_validator(mode="after")
    def _is_clear(self) -> RetryLetters:
        if self.ids is not None and (self.all or self.filters):
            raise ValueError("ids are given, and something else beside them: give one of both")
        if self.ids is None and not (self.all or self.filters):
            raise ValueError("it was not said which ones: give ids, a filter, or `all`")
        return self


class Refused(Answer):
    """Dead letters that were left as they are, for one reason."""

    reason: str
    count: int = Field(ge=1)
    ids: list[str] = Field(description="The first ones")


class Retried(Answer):
    """What has become of dead letters."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"retried": 0, "scheduled": 12, "jobs": [], "refused": []}}
    )

    retried: int = Field(ge=0, description="That `jobs` try again")
    scheduled: int = Field(ge=0, description="That are retried at their times")
    jobs: list[Job]
    refused: list[Refused]


class WouldRetry(Answer):
    """What would become of dead letters."""

    dry_run: Literal[True]
    eligible: int = Field(ge=0)
    refused: list[Refused]


class Archived(Answer):
    """How many dead letters were set aside."""

    archived: int = Field(ge=0)
    refused: list[Refused]


class Deleted(Answer):
    """How many dead letters were deleted."""

    deleted: int = Field(ge=0)
    refused: list[Refused]
