"""Jobs: listed, shown, waited for, cancelled, done again."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.ending import JOB_IS_FINAL
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.requests import NOT_REPEATABLE
from lexigram_ray.jobs.retrying import JOB_NOT_FINAL, NOTHING_TO_RETRY, retry
from lexigram_ray.jobs.schedule_records import MAINTENANCE
from lexigram_ray.service.answers import accepted, job_location, json_answer, refused_with
from lexigram_ray.service.auth import Reader, Submitter, require
from lexigram_ray.service.context import Context, ServiceContext
from lexigram_ray.service.job_watches import watches_of
from lexigram_ray.service.models.common import IdInPath
from lexigram_ray.service.models.jobs import Job, JobPage, JobQuery, JobsQuery, RetryJob
from lexigram_ray.service.models.jobs import ShownJob as ShownJobModel
from lexigram_ray.service.models.problem import problems
from lexigram_ray.service.shown_jobs import ShownJob, job_of, shown_job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

PRESENCE_SECONDS = 1.0
"""Between two looks whether a client that waits is still there."""

_ETAG = {"ETag": {"description": "Of the job as it is", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "The new job", "schema": {"type": "string"}}}


@router.get("", summary="List jobs, the newest first", response_model=JobPage, responses=problems())
def list_jobs(_: Reader, context: Context, asked: Annotated[JobsQuery, Query()]) -> Response:
    """Those of maintenance are listed only with `kind=maintenance`."""
    page, following = context.store.list_jobs(
        status=None if asked.status is None else JobStatus(asked.status),
        kind=asked.kind,
        collection=asked.collection,
        limit=asked.limit,
        cursor=asked.cursor,
    )
    return json_answer({"items": [job.to_dict() for job in page], "next": following})


@router.get(
    "/{job_id}",
    summary="Show a job, or wait until it changes",
    response_model=ShownJobModel,
    responses={
        200: {"headers": _ETAG},
        304: {"description": "It is as `If-None-Match` knows it", "headers": _ETAG},
        **problems(404),
    },
)
async def show_job(
    *,
    request: Request,
    _: Reader,
    context: Context,
    job_id: IdInPath,
    asked: Annotated[JobQuery, Query()],
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """Answer with the job, its attempts and what failed in it.

    With `wait` the answer comes when the job has ended, or is no longer what `If-None-Match` says.
    """
    shown = await run_in_threadpool(shown_job, context.store, job_id)
    if asked.wait and _is_awaited(shown, if_none_match):
        shown = await _awaited(request, context, job_id, asked.wait, if_none_match) or shown
    headers = {"ETag": shown.tag, "Cache-Control": "no-cache"}
    if if_none_match is not None and shown.is_known(if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(shown.body, headers=headers, media_type="application/json")


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    response_model=Job,
    responses=problems(404, 409),
)
def cancel_job(caller: Submitter, context: Context, job_id: IdInPath) -> Response:
    """End a job wherever it runs; what it has written stays.

    A job that is cancelled already is answered as it is; one that has completed or failed is not
    changed. One of maintenance is ended by whoever may start it.
    """
    if job_of(context.store, job_id).kind == MAINTENANCE:
        require(caller, "operate")
    with refused_with({JOB_IS_FINAL: 409}):
        job = context.store.cancel(
            job_id, Owner.current(), turn_seconds=context.config.jobs.lease_seconds
        )
    return json_answer(job.to_dict())


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Do a job again",
    response_model=Job,
    responses={202: {"headers": _LOCATION}, **problems(400, 404, 408, 409, 415)},
)
def retry_job(
    _: Submitter,
    context: Context,
    job_id: IdInPath,
    asked: Annotated[RetryJob | None, Body()] = None,
) -> Response:
    """Record a new job that does one that has ended once more, or only what failed in it.

    Unchanged documents are not read again, and rows that stand are not embedded again.
    """
    job = job_of(context.store, job_id)
    with refused_with({JOB_NOT_FINAL: 409, NOTHING_TO_RETRY: 409, NOT_REPEATABLE: 409}):
        (recorded,) = retry(
            context.store,
            [job],
            failed_only=asked is not None and asked.failed_only,
            staged=context.config.paths.staged,
        )
    return accepted(recorded.job.to_dict(), job_location(recorded.job.id))


def _is_awaited(shown: ShownJob, if_none_match: str | None) -> bool:
    """Whether there is nothing to answer yet."""
    if shown.is_final:
        return False
    return if_none_match is None or shown.is_known(if_none_match)


async def _awaited(
    request: Request,
    context: ServiceContext,
    job_id: str,
    seconds: float,
    if_none_match: str | None,
) -> ShownJob | None:
    """Return the job once there is something to answer, or the time is over.

    None where nothing new was seen until then.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    shown: ShownJob | None = None
    async with watches_of(request.app, context).watching(job_id) as watch:
        # What changed between the first look at the job and this is a change too.
        seen = 0
        while (left := until - loop.time()) > 0 and not watch.is_closing:
            now = await watch.changed(seen, min(left, PRESENCE_SECONDS))
            if now != seen:
                seen = now
                shown = await run_in_threadpool(shown_job, context.store, job_id)
                if not _is_awaited(shown, if_none_match):
                    break
            elif await request.is_disconnected():
                break
    return shown
