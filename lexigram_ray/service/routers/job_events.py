"""What happened to a job: pages of its log, or the log as it grows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from pydantic import WithJsonSchema
from starlette.concurrency import run_in_threadpool

from lexigram_ray.jobs.following import events_object, events_page
from lexigram_ray.service.answers import json_answer
from lexigram_ray.service.auth import Reader
from lexigram_ray.service.context import Context
from lexigram_ray.service.job_watches import watches_of
from lexigram_ray.service.models.common import IdInPath
from lexigram_ray.service.models.jobs import EventPage, EventsQuery
from lexigram_ray.service.models.problem import problems
from lexigram_ray.service.shown_jobs import job_of
from lexigram_ray.service.streams import LAST_ID_PATTERN, JobStream, is_end, seq_of

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

EVENT_STREAM = "text/event-stream"


@router.get(
    "/{job_id}/events",
    summary="What happened to a job, and what happens to it now",
    response_model=EventPage,
    responses={
        200: {
            "description": "A page, or, for who accepts it, a stream",
            "content": {
                EVENT_STREAM: {
                    "schema": {"type": "string"},
                    "example": 'event: claimed\ndata: {"seq": 1}\nid: 1\n\n',
                }
            },
        },
        204: {"description": "`Last-Event-ID` is that of the last event there will ever be"},
        **problems(404),
    },
)
async def job_events(
    *,
    request: Request,
    _: Reader,
    context: Context,
    job_id: IdInPath,
    asked: Annotated[EventsQuery, Query()],
    last_event_id: Annotated[
        str | None,
        Header(pattern=LAST_ID_PATTERN, description="Where a stream was cut; over `after`"),
        # A header is there or not: it is never null.
        WithJsonSchema({"type": "string", "pattern": LAST_ID_PATTERN}),
    ] = None,
) -> Response:
    """Answer with a page of events, or with `Accept: text/event-stream` with all that come.

    The stream has an event for each of the log, with its number as id; `progress` whenever that has
    changed; and `end` with the job as it has ended, after which the server closes it. Resume it by
    `Last-Event-ID` or `after`: nothing is missed, and nothing comes twice.
    """
    job = await run_in_threadpool(job_of, context.store, job_id)
    after = asked.after if last_event_id is None else seq_of(last_event_id)
    if not _accepts_stream(request):
        page, following = await run_in_threadpool(
            events_page, context.store, job_id, after, asked.limit
        )
        return json_answer(events_object(job_id, page, following))
    if last_event_id is not None and is_end(last_event_id) and job.status.is_final:
        # What makes an EventSource of a browser stop asking.
        return Response(status_code=204)
    return JobStream(
        context.store,
        watches_of(request.app, context),
        job_id,
        after=after,
        heartbeat_seconds=context.config.service.heartbeat_seconds,
    )


def _accepts_stream(request: Request) -> bool:
    given = ",".join(request.headers.getlist("accept")).lower().split(",")
    return any(each.partition(";")[0].strip() == EVENT_STREAM for each in given)
