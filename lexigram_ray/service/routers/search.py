"""Search in a collection, with the model that it was made with."""

from __future__ import annotations

import time
from typing import cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from lexigram_ray.jobs.searching import check_query, search_table
from lexigram_ray.service.answers import json_answer
from lexigram_ray.service.auth import Reader
from lexigram_ray.service.conditions import check_condition
from lexigram_ray.service.context import Context, ServedModel, ServiceContext
from lexigram_ray.service.models.collections import Found, Search
from lexigram_ray.service.models.common import CollectionInPath
from lexigram_ray.service.models.problem import problems
from lexigram_ray.service.served_models import model_of_collection
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.opened import OpenedCollections

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.post(
    "/{name}/search",
    summary="Find the passages that answer a question",
    response_model=Found,
    responses=problems(400, 404, 408, 409, 415),
)
async def search(
    *, request: Request, _: Reader, context: Context, name: CollectionInPath, asked: Search
) -> Response:
    """Search by meaning, by words, or by both; the query is embedded by the collection's model."""
    check_query(asked.query)
    check_condition(asked.where)
    opened = opened_of(request.app, context)
    table, model = await run_in_threadpool(_opened, opened, context, name, asked.mode)
    began = time.perf_counter()
    vector = None
    if model is not None:
        embedded = await context.embedders.embed(model, [asked.query], as_query=True)
        vector = embedded.vectors[0]
    report = await run_in_threadpool(
        search_table,
        table,
        asked.query,
        vector=vector,
        limit=asked.limit,
        mode=asked.mode,
        where=asked.where,
        began=began,
    )
    return json_answer(report.to_dict())


def opened_of(app: FastAPI, context: ServiceContext) -> OpenedCollections:
    """Return the collections that an application holds open."""
    if not hasattr(app.state, "opened"):
        app.state.opened = OpenedCollections(context.config.paths.lancedb)
    return cast("OpenedCollections", app.state.opened)


def _opened(
    opened: OpenedCollections, context: ServiceContext, name: str, mode: str
) -> tuple[Collection, ServedModel | None]:
    table = opened.newest(name)
    if mode == "text":
        return table, None
    return table, model_of_collection(context.config, name, table.settings)
