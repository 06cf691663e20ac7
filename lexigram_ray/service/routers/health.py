"""Whether the service is there, and whether more requests should come."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.service.context import ServiceContext, context_of

router = APIRouter(tags=["health"])
Context = Annotated[ServiceContext, Depends(context_of)]


class Health(BaseModel):
    """Whether it is up; without a token nothing else is told."""

    status: Literal["up", "down"]


@router.get("/livez", summary="Whether the process answers")
async def livez() -> Health:
    """Answer."""
    return Health(status="up")


@router.get(
    "/readyz",
    summary="Whether more requests should come here",
    responses={503: {"model": Health, "description": "Draining, or the store is away"}},
)
def readyz(context: Context, response: Response) -> Health:
    """Say `down` while draining, and where the store does not answer."""
    return _health(context, response, ready=not context.is_draining())


@router.get(
    "/health",
    summary="Whether the service can do its work",
    responses={503: {"model": Health, "description": "The store is away"}},
)
def health(context: Context, response: Response) -> Health:
    """Ask the store."""
    return _health(context, response, ready=True)


def _health(context: ServiceContext, response: Response, *, ready: bool) -> Health:
    if ready:
        try:
            context.store.counts()
            return Health(status="up")
        except WorkerError:
            pass
    response.status_code = 503
    return Health(status="down")
