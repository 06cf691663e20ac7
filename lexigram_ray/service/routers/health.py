"""Whether the service is there, and whether more requests should come."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from lexigram_ray.core.errors import UnreachableError, WorkerError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import LetterStatus
from lexigram_ray.service.auth import admit
from lexigram_ray.service.context import Context, ServiceContext
from lexigram_ray.service.models.problem import problems

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Whether it is up; without a token nothing else is told."""

    status: Literal["up", "down"]
    jobs: dict[JobStatus, int] | None = Field(
        default=None,
        description="Jobs in each state, for whoever shows a token",
    )
    dead_letters: int | None = Field(
        default=None, description="Open dead letters, for whoever shows a token"
    )


@router.get("/livez", summary="Whether the process answers", response_model_exclude_none=True)
async def livez() -> Health:
    """Answer."""
    return Health(status="up")


@router.get(
    "/readyz",
    summary="Whether more requests should come here",
    response_model_exclude_none=True,
    responses={503: {"model": Health, "description": "Draining, or the store is away"}},
)
def readyz(context: Context, response: Response) -> Health:
    """Say `down` while draining, and where the store does not answer."""
    return _health(context, response, ready=not context.is_draining())


@router.get(
    "/health",
    summary="Whether the service can do its work",
    response_model_exclude_none=True,
    responses={
        **problems(401, 429),
        503: {"model": Health, "description": "The store is away"},
    },
)
async def health(request: Request, context: Context, response: Response) -> Health:
    """Ask the store; whoever shows a token hears what it holds, too."""
    try:
        is_known = "authorization" in request.headers and bool((await admit(request)).token_id)
    except UnreachableError:
        is_known = False
    return await run_in_threadpool(_health, context, response, ready=True, in_full=is_known)


def _health(
    context: ServiceContext, response: Response, *, ready: bool, in_full: bool = False
) -> Health:
    if ready:
        try:
            jobs = context.store.counts()
            if not in_full:
                return Health(status="up")
            letters = context.store.dead_letters.counts()
            return Health(status="up", jobs=jobs, dead_letters=letters[LetterStatus.OPEN])
        except WorkerError:
            pass
    response.status_code = 503
    return Health(status="down")
