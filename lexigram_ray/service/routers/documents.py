"""`POST /v1/documents` and `/v1/documents/batch`: files by upload, by path or by URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from lexigram_ray.service import fetching
from lexigram_ray.service.auth import Submitter
from lexigram_ray.service.bodies import FORM, JSON, content_type, read_json, whole
from lexigram_ray.service.context import ServiceContext, context_of
from lexigram_ray.service.idempotency import IdempotencyKey, Sender
from lexigram_ray.service.models.documents import (
    DocumentFields,
    DocumentRequest,
    DocumentsFields,
    DocumentsRequest,
)
from lexigram_ray.service.models.problem import problems, schema_of
from lexigram_ray.service.models.submissions import ACCEPTED
from lexigram_ray.service.problems import Refusal
from lexigram_ray.service.submitting import submissions_of
from lexigram_ray.service.upload_form import UploadForm, receive

router = APIRouter(tags=["submissions"])
_ANY_FILE: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}
_FILE = _ANY_FILE | {"minLength": 1}
# An empty one is skipped, unless there are no others.
_FILES = {"type": "array", "items": _ANY_FILE, "contains": _FILE, "minItems": 1}


def _body(fields: type[BaseModel], request: type[BaseModel], **files: Any) -> dict[str, Any]:
    """Describe a body that is either a form with files, or JSON."""
    form = schema_of(fields)
    form["properties"] = files | form["properties"]
    form["required"] = [*files, *form["required"]]
    schemas = {FORM: form, JSON: schema_of(request)}
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/v1/documents",
    summary="Submit one document: upload it, or name its path or its URL",
    status_code=202,
    responses={**problems(408, 409, 415), 202: ACCEPTED},
    openapi_extra=_body(DocumentFields, DocumentRequest, file=_FILE),
)
async def submit_document(
    request: Request,
    caller: Submitter,
    key: IdempotencyKey = None,
) -> Response:
    """Record the ingestion of a document; it is durable before this answers.

    In a form, fields beside `file` are as in JSON: `collection` and `document_id` as they are, the
    others as JSON (`true`, `5`, `{"author": "Ada"}`). The job ends as its document does: `failed`
    where nothing could be made of it. An upload of the same bytes under the same name is the same
    document.
    """
    context, submissions = context_of(request), submissions_of(request)
    sender = Sender(caller=caller, key=key)
    if content_type(request, FORM, JSON) == FORM:
        async with _received(request, context, file_field="file", most_files=1) as form:

            def upload() -> Response:
                fields = form.read_fields(DocumentFields)
                return submissions.submit_file(fields, form.files[0], sender)

            return await run_in_threadpool(upload)
    body = await whole(request)

    def submit() -> Response:
        given = read_json(body, DocumentRequest)
        if given.path:
            return submissions.submit_path(given, given.path, sender)
        with _fetching(context) as fetcher:
            file = fetcher.fetch(given.url)
            url = fetching.without_query(given.url)
            return submissions.submit_file(given, file, sender, url=url)

    return await run_in_threadpool(submit)


@router.post(
    "/v1/documents/batch",
    summary="Submit many documents as one job: upload them, or name paths and URLs",
    status_code=202,
    responses={**problems(408, 409, 415), 202: ACCEPTED},
    openapi_extra=_body(DocumentsFields, DocumentsRequest, files=_FILES),
)
async def submit_documents(
    request: Request,
    caller: Submitter,
    key: IdempotencyKey = None,
) -> Response:
    """Record one job for all of them, or nothing where one cannot be taken.

    `paths` may be folders. A document that fails fails alone, and an empty file is skipped.
    """
    context, submissions = context_of(request), submissions_of(request)
    sender = Sender(caller=caller, key=key)
    most = context.config.service.max_files
    if content_type(request, FORM, JSON) == FORM:
        async with _received(request, context, file_field="files", most_files=most) as form:

            def upload() -> Response:
                fields = form.read_fields(DocumentsFields)
                return submissions.submit_many(fields, sender, files=form.files)

            return await run_in_threadpool(upload)
    body = await whole(request)

    def submit() -> Response:
        given = read_json(body, DocumentsRequest)
        _refuse_too_many(len(given.paths) + len(given.urls), most)
        if not given.urls:
            return submissions.submit_many(given, sender, paths=given.paths, prune=given.prune)
        for path in given.paths:
            submissions.allowed(path)
        with _fetching(context) as fetcher:
            files = [fetcher.fetch(url) for url in given.urls]
            return submissions.submit_many(
                given, sender, paths=given.paths, files=files, prune=given.prune
            )

    return await run_in_threadpool(submit)


@asynccontextmanager
async def _received(
    request: Request, context: ServiceContext, *, file_field: str, most_files: int
) -> AsyncGenerator[UploadForm]:
    """Read the form; files that have no place at the end of the block are removed."""
    form = UploadForm(
        context.config,
        request.headers["content-type"],
        file_field=file_field,
        most_files=most_files,
    )
    try:
        await receive(request, form)
        yield form
    finally:
        form.discard()


@contextmanager
def _fetching(context: ServiceContext) -> Generator[fetching.Fetcher]:
    """Let files be fetched; those that have no place at the end of the block are removed."""
    fetcher = fetching.Fetcher(context.config, is_allowed=fetching.is_public)
    try:
        yield fetcher
    finally:
        fetcher.discard()


def _refuse_too_many(sources: int, most: int) -> None:
    if sources > most:
        raise Refusal(
            422,
            f"{sources} paths and URLs are more than {most}",
            code="too_many_sources",
            hint="send several requests, name a folder, or have service.max_files raised",
        )
