"""Collections: what there is, and how to be rid of it."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from lexigram_ray.jobs.dropping import drop_collection, dropped_object, rows_of
from lexigram_ray.service.answers import json_answer
from lexigram_ray.service.auth import Operator, Reader
from lexigram_ray.service.context import Context
from lexigram_ray.service.models.collections import Collection, CollectionList, Dropped
from lexigram_ray.service.models.common import CollectionInPath
from lexigram_ray.service.models.problem import problems

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("", summary="List the collections", response_model=CollectionList, responses=problems())
def list_collections(_: Reader, context: Context) -> Response:
    """Say of each how large it is, and which model it was made with."""
    items = [info.to_dict() for info in context.collections.list_infos()]
    return json_answer({"items": items, "next": None})


@router.get(
    "/{name}", summary="Show a collection", response_model=Collection, responses=problems(404)
)
def show_collection(_: Reader, context: Context, name: CollectionInPath) -> Response:
    """Answer with its size, its model, how it was cut, and its indexes."""
    return json_answer(context.collections.info(name).to_dict())


@router.delete(
    "/{name}", summary="Drop a collection", response_model=Dropped, responses=problems(404)
)
def drop(_: Operator, context: Context, name: CollectionInPath) -> Response:
    """Delete its rows, and forget which documents are in it; the embedding cache stays."""
    rows = rows_of(context.collections, name)
    drop_collection(context.config, context.store, name)
    return json_answer(dropped_object(name, rows))
