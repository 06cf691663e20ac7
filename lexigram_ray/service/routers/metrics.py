"""Figures for Prometheus."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lexigram_ray.core.environment_checks import is_loopback
from lexigram_ray.service.auth import admit
from lexigram_ray.service.context import Context
from lexigram_ray.service.figures import Figures
from lexigram_ray.service.gate import Caller, foreign
from lexigram_ray.service.models.problem import problems

router = APIRouter(tags=["health"])

TEXT = "text/plain; version=0.0.4; charset=utf-8"


async def _scraper(request: Request, context: Context) -> Caller | None:
    """Let in who has a token, of any scope; on loopback, anybody on this machine."""
    is_from_here = is_loopback(context.config.service.host) and foreign(request) is None
    return None if is_from_here else await admit(request)


@router.get(
    "/metrics",
    summary="Figures of the work, for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(),
    },
)
def metrics(
    request: Request, context: Context, _: Annotated[Caller | None, Depends(_scraper)]
) -> Response:
    """What the store knows, alike from every replica; what a process counts, Ray's metrics have."""
    state = request.app.state
    if not hasattr(state, "figures"):
        state.figures = Figures(context.store, context.config.paths.lancedb)
    return Response(cast("Figures", state.figures).text(), media_type=TEXT)
