"""Failures that outlived their jobs: seen, done again, set aside, deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.core.written_times import parse_past
from lexigram_ray.jobs.letter_actions import (
    ARCHIVE,
    DELETE,
    Action,
    choose,
    done_object,
    dry_run_object,
    plan_retry,
    redriven_object,
    statuses_named,
)
from lexigram_ray.jobs.letter_records import DeadLetter, LetterFilter, LetterStatus
from lexigram_ray.jobs.redriving import redrive
from lexigram_ray.jobs.retry_policy import RetryPolicy
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.answers import job_location, json_answer
from lexigram_ray.service.auth import Operator, Reader
from lexigram_ray.service.context import Context, ServiceContext
from lexigram_ray.service.models import dead_letters as models
from lexigram_ray.service.models.common import LONGEST_ID, IdInPath
from lexigram_ray.service.models.problem import problems
from lexigram_ray.service.problems import NotFound, Refusal

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])

_LOCATION = {
    "Location": {"description": "The job, where there is one", "schema": {"type": "string"}}
}


@router.get(
    "",
    summary="List dead letters, the newest failure first",
    response_model=models.LetterPage,
    responses=problems(),
)
def list_letters(
    _: Reader, context: Context, asked: Annotated[models.LettersQuery, Query()]
) -> Response:
    """Those that are open or being retried, unless `status` says otherwise."""
    which = _filter(asked, statuses_named(asked.status))
    page, following = context.store.dead_letters.page(which, limit=asked.limit, cursor=asked.cursor)
    items = [_shown(context.config, letter) for letter in page]
    return json_answer({"items": items, "next": following})


@router.get(
    "/{letter_id}",
    summary="Show a dead letter",
    response_model=models.DeadLetter,
    responses=problems(404),
)
def show_letter(_: Reader, context: Context, letter_id: IdInPath) -> Response:
    """Answer with what failed, and each of its failures."""
    return json_answer(_shown(context.config, _letter(context.store, letter_id)))


@router.post(
    "/retry",
    status_code=202,
    summary="Do many dead letters again",
    response_model=models.Retried,
    responses={
        200: {"model": models.WouldRetry, "description": "What would be done"},
        **problems(400, 404, 408, 415),
    },
)
def retry_letters(_: Operator, context: Context, asked: models.RetryLetters) -> Response:
    """Make jobs of those that are named, or of all that match; or say what that would do."""
    which = _chosen(context.store, asked)
    if asked.dry_run:
        planned = plan_retry(
            context.store, which, staged=context.config.paths.staged, limit=asked.limit
        )
        return json_answer(dry_run_object(planned.eligible, planned.refusals))
    return _retried(context, which, rate=asked.rate, limit=asked.limit)


@router.post(
    "/{letter_id}/retry",
    status_code=202,
    summary="Do a dead letter again",
    response_model=models.Retried,
    responses={202: {"headers": _LOCATION}, **problems(404, 409)},
)
def retry_letter(_: Operator, context: Context, letter_id: IdInPath) -> Response:
    """Make a job that tries it again."""
    return _retried(context, _only(context.store, letter_id), rate=None, limit=None)


@router.post(
    "/{letter_id}/archive",
    summary="Set a dead letter aside",
    response_model=models.Archived,
    responses=problems(404, 409),
)
def archive_letter(_: Operator, context: Context, letter_id: IdInPath) -> Response:
    """Close it without a retry; it is kept for a while."""
    return _done(context.store, letter_id, ARCHIVE)


@router.delete(
    "/{letter_id}",
    summary="Delete a dead letter",
    response_model=models.Deleted,
    responses=problems(404, 409),
)
def delete_letter(_: Operator, context: Context, letter_id: IdInPath) -> Response:
    """Delete it with all that is known of its failures; the document and its jobs stay."""
    return _done(context.store, letter_id, DELETE)


def _retried(
    context: ServiceContext, which: LetterFilter, *, rate: float | None, limit: int | None
) -> Response:
    done = redrive(
        context.store,
        which,
        staged=context.config.paths.staged,
        per_minute=rate,
        limit=limit,
    )
    is_one = which.ids is not None and len(which.ids) == 1
    if is_one and done.refused:
        raise _refused(str(done.refused[0][1]))
    headers = {"Location": job_location(done.jobs[0].id)} if len(done.jobs) == 1 else {}
    return json_answer(redriven_object(done), 202, headers)


def _done(store: Store, letter_id: str, action: Action) -> Response:
    chosen = choose(store.dead_letters, _only(store, letter_id), action, datetime.now(UTC))
    if chosen.refusals.total:
        raise _refused(chosen.refusals.commonest_first()[0][0])
    done = 0 if chosen.which is None else action.do(store.dead_letters, chosen.which)
    return json_answer(done_object(done, chosen, action))


def _refused(reason: str) -> Refusal:
    return Refusal(
        409,
        f"the dead letter stays as it is, because {reason}",
        code="dead_letter_unfit",
        hint="GET /v1/dead-letters/{id} shows how it stands",
    )


def _chosen(store: Store, asked: models.RetryLetters) -> LetterFilter:
    if asked.ids is None:
        return _filter(asked, statuses_named(None))
    for letter_id in asked.ids:
        _letter(store, letter_id)
    return LetterFilter(ids=tuple(dict.fromkeys(asked.ids)), statuses=statuses_named("all"))


def _filter(
    asked: models.LettersQuery | models.RetryLetters, statuses: tuple[LetterStatus, ...]
) -> LetterFilter:
    older_than = asked.older_than
    now = datetime.now(UTC)
    return LetterFilter(
        statuses=statuses,
        category=None if asked.category is None else FailureCategory(asked.category),
        collection=asked.collection,
        code=asked.code,
        fingerprint=asked.fingerprint,
        job_id=asked.job,
        older_than=None if older_than is None else _moment(older_than, now),
    )


def _moment(older_than: str, now: datetime) -> datetime:
    try:
        return parse_past("older_than", older_than, now)
    except UsageError as error:
        raise Refusal(
            422, error.message, code="invalid_age", hint=error.hint, param="older_than"
        ) from error


def _only(store: Store, letter_id: str) -> LetterFilter:
    letter = _letter(store, letter_id)
    return LetterFilter(ids=(letter.id,), statuses=statuses_named("all"))


def _letter(store: Store, letter_id: str) -> DeadLetter:
    letter = store.dead_letters.get(letter_id)
    if letter is None:
        shown = letter_id[:LONGEST_ID]
        raise NotFound("dead letter", shown, hint="GET /v1/dead-letters lists them")
    return letter


def _shown(config: WorkersConfig, letter: DeadLetter) -> dict[str, object]:
    return letter.to_dict(max_retries=RetryPolicy.of(config).max_retries(letter.category))
