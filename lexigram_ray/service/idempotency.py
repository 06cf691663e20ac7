"""One job for each idempotency key, however often, and from however many at once, it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Header
from fastapi.responses import Response

from lexigram_ray.core.errors import ConflictError
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.submitting import SubmitOptions
from lexigram_ray.service.answers import accepted, job_location
from lexigram_ray.service.auth import Caller
from lexigram_ray.service.models.submissions import SubmissionRequest
from lexigram_ray.service.problems import Refusal

EXAMPLE_KEY = "2026-05-04-papers"
REPLAYED = "Idempotent-Replayed"

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="The same key and request are answered with the same job; each token has keys "
        "of its own",
        examples=[EXAMPLE_KEY],
    ),
]
Record = Callable[[SubmitOptions], tuple[Job, bool]]
"""Records a job in the store, and tells whether it was made now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who submits, and under which key.

    Attributes:
        key: Of the header; each token has keys of its own.
    """

    caller: Caller
    key: str | None

    @property
    def unique_key(self) -> str | None:
        """The key as the store has it."""
        return None if self.key is None else f"http:{self.caller.token_id}:{self.key}"


def answer_once(
    store: Store, record: Record, request: SubmissionRequest, sender: Sender
) -> Response:
    """Record a job, or find the one that this repeats, and answer with it.

    Raises:
        Refusal: 422, the key belongs to another request; 409, the same is submitted under another
            key, and has not ended.
    """
    options = _options(request, sender)
    try:
        job, is_new = _recorded(record, options)
    except ConflictError as conflict:
        raise _refusal_of(store, conflict, options) from conflict
    response = accepted(job.to_dict(), job_location(job.id))
    if sender.key is not None and not is_new:
        response.headers[REPLAYED] = "true"
    return response


def _recorded(record: Record, options: SubmitOptions) -> tuple[Job, bool]:
    try:
        return record(options)
    except ConflictError:
        # Of two that come at the same moment, the later one finds the earlier one's job now.
        return record(options)


def _refusal_of(store: Store, conflict: ConflictError, options: SubmitOptions) -> Refusal:
    # The store's own words name the key, which may be another token's.
    if store.of_unique_key(options.unique_key or "") is not None:
        return Refusal(
            422,
            "this Idempotency-Key belongs to another request",
            code="idempotency_key_reused",
            hint="use a key of its own for each request, and repeat a request as it was",
            param="Idempotency-Key",
        )
    job_id = str(conflict.details.get("job_id", ""))
    return Refusal(
        409,
        f"job {job_id} asks for the same, has not ended, and was submitted with another key",
        code="already_submitted",
        hint="wait for that job, repeat its key, or leave the key out to be answered with it",
        headers={"Location": job_location(job_id)},
    )


def _options(request: SubmissionRequest, sender: Sender) -> SubmitOptions:
    now = datetime.now(UTC)
    delay, deadline = request.delay_seconds, request.deadline_seconds
    return SubmitOptions(
        priority=request.priority,
        unique_key=sender.unique_key,
        run_after=now + timedelta(seconds=delay) if delay else None,
        deadline=now + timedelta(seconds=deadline) if deadline else None,
    )
