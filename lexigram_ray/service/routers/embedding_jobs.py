"""`POST /v1/embedding-jobs`: texts for a collection."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from lexigram_ray.service.auth import Submitter
from lexigram_ray.service.bodies import JSON, content_type, read_json, whole
from lexigram_ray.service.idempotency import IdempotencyKey, Sender
from lexigram_ray.service.models.embedding_jobs import EmbeddingJobRequest
from lexigram_ray.service.models.problem import problems, schema_of
from lexigram_ray.service.models.submissions import ACCEPTED
from lexigram_ray.service.submitting import submissions_of

router = APIRouter(tags=["submissions"])


@router.post(
    "/v1/embedding-jobs",
    summary="Submit texts to be embedded into a collection",
    status_code=202,
    responses={**problems(408, 409, 415), 202: ACCEPTED},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": schema_of(EmbeddingJobRequest)}},
        }
    },
)
async def submit_texts(request: Request, caller: Submitter, key: IdempotencyKey = None) -> Response:
    """Record a job; it is durable before this answers, and its texts are needed no more.

    A text becomes one passage, its `id` the row's id. Equal texts are embedded once, and a text
    that cannot be embedded fails alone.
    """
    submissions = submissions_of(request)
    content_type(request, JSON)
    body = await whole(request)
    sender = Sender(caller=caller, key=key)

    def submit() -> Response:
        return submissions.submit_texts(read_json(body, EmbeddingJobRequest), sender)

    return await run_in_threadpool(submit)
