"""Every error as an answer: problem+json (RFC 9457), or OpenAI's shape under its routes."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from lexigram_ray.core.errors import (
    CollectionMismatchError,
    CollectionNotFoundError,
    DiskFullError,
    EmbedderDiedError,
    EmbeddingServerError,
    PathNotAllowedError,
    TextsRefusedError,
    UnreachableError,
    UsageError,
    WorkerError,
)
from lexigram_ray.service.request_ids import request_id

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "urn:lexigram-ray:problem:"
OPENAI_PATHS = ("/v1/embeddings", "/v1/models")
RETRY_SECONDS = 5
MOST_ERRORS = 20
LONGEST_FIELD = 500

logger = logging.getLogger("lexigram_ray.service")

# The first that fits.
_STATUSES: tuple[tuple[type[WorkerError], int], ...] = (
    (CollectionNotFoundError, 404),
    (PathNotAllowedError, 403),
    (CollectionMismatchError, 409),
    (UsageError, 422),
    (TextsRefusedError, 422),
    (EmbedderDiedError, 503),
    (DiskFullError, 503),
    (EmbeddingServerError, 503),
    (UnreachableError, 503),
)


class Refusal(WorkerError):
    """A request that is not carried out.

    Args:
        status: Of HTTP.
        message: What is wrong, with what.
        code: Stable; the end of the problem's `type`.
        hint: The way out.
        param: Which part of the request it is, where it is one.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        hint: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.status = status
        self.param = param
        self.headers = dict(headers or {})


class NotFound(Refusal):
    """There is no such thing: a job, a dead letter, a schedule."""

    def __init__(self, what: str, name: str, *, hint: str | None = None) -> None:
        super().__init__(
            404,
            f"there is no {what} {name!r}",
            code=f"{what.replace(' ', '_')}_not_found",
            hint=hint,
        )


class Saturated(Refusal):
    """More is asked than can wait."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(
            429,
            message,
            code="saturated",
            hint=f"ask again in {retry_after_seconds} s",
            # The second is what OpenAI's client looks at first.
            headers={
                "Retry-After": str(retry_after_seconds),
                "retry-after-ms": str(1000 * retry_after_seconds),
            },
        )


def media_type(request: Request) -> str:
    """Return which media type a request says its body has, in lower case; empty if none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def wrong_media_type(given: str, *expected: str) -> Refusal:
    """Return the refusal of a body that has another media type than the expected ones."""
    return Refusal(
        415,
        f"the body is {given[:100]!r}, not {' or '.join(expected)}"
        if given
        else "the request does not say what its body is",
        code="unsupported_media_type",
        hint=f"send Content-Type: {expected[0]}",
        headers={"Accept": ", ".join(expected)},
    )


def not_ready(error: UsageError) -> Refusal:
    """Return the refusal of a request that is right, by a service whose configuration is not."""
    return Refusal(503, error.message, code=error.code, hint=error.hint)


def install_handlers(app: FastAPI) -> None:
    """Have every error of an application answered as a problem."""
    app.add_exception_handler(WorkerError, _of_worker_error)
    app.add_exception_handler(RequestValidationError, _of_invalid)
    app.add_exception_handler(HTTPException, _of_http)


def unforeseen(request: Request, error: BaseException) -> Response:
    """Log an error that nobody foresaw, and answer without its words."""
    logger.error(
        "%s %s failed: %s", request.method, request.url.path, type(error).__name__, exc_info=error
    )
    return answer(
        request,
        500,
        code="unexpected",
        detail="the service failed in a way that was not foreseen",
        hint="the log has the traceback under this request's id",
    )


def answer(
    request: Request,
    status: int,
    *,
    code: str,
    detail: str,
    hint: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, object]] = (),
) -> Response:
    """Return a problem as the answer to a request, in the shape of its route."""
    if request.url.path.startswith(OPENAI_PATHS):
        words = detail if hint is None else f"{detail}: {hint}"
        # OpenAI knows no 422, and neither do its clients.
        status = 400 if status == 422 else status
        return _openai(status, code=code, detail=words, param=param, headers=headers)
    body: dict[str, object] = {
        "type": f"{TYPE_PREFIX}{code}",
        "title": _phrase(status),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id(),
    }
    if hint is not None:
        body["hint"] = hint
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status, dict(headers or {}), media_type=PROBLEM_JSON)


def answer_to(request: Request, error: WorkerError) -> Response:
    """Return an error of ours as the answer to a request."""
    if isinstance(error, Refusal):
        return answer(
            request,
            error.status,
            code=error.code,
            detail=error.message,
            hint=error.hint,
            param=error.param,
            headers=error.headers,
        )
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status == 500:
        logger.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    retry = getattr(error, "retry_after", None) or RETRY_SECONDS
    headers = {"Retry-After": f"{retry:.0f}"} if status == 503 else None
    return answer(
        request, status, code=error.code, detail=error.message, hint=error.hint, headers=headers
    )


def _openai(
    status: int,
    *,
    code: str,
    detail: str,
    param: str | None,
    headers: Mapping[str, str] | None,
) -> Response:
    kinds = {
        401: "authentication_error",
        403: "permission_error",
        404: "invalid_request_error",
        429: "rate_limit_error",
    }
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": detail, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status, dict(headers or {}))


async def _of_worker_error(request: Request, error: Exception) -> Response:
    return answer_to(request, cast("WorkerError", error))


async def _of_invalid(request: Request, error: Exception) -> Response:
    raw = cast("RequestValidationError", error).errors()
    given = media_type(request)
    if not _is_json(given) and any(_is_whole_body(each) for each in raw):
        return answer_to(request, wrong_media_type(given, JSON))
    errors = [_field_error(each) for each in raw[:MOST_ERRORS]]
    first = errors[0] if errors else {"field": "body", "reason": "cannot be read"}
    return answer(
        request,
        422,
        code="invalid_request",
        detail=f"{first['field']}: {first['reason']}",
        hint="openapi.json says what this route takes",
        param=str(first["field"]).removeprefix("body.") or None,
        errors=errors,
    )


async def _of_http(request: Request, error: Exception) -> Response:
    found = cast("HTTPException", error)
    status = found.status_code
    detail = found.detail
    if detail == _phrase(status):
        detail = f"{request.method} {request.url.path}: {detail.lower()}"
    code = re.sub(r"\W+", "_", _phrase(status).lower())
    hint = "openapi.json says which routes there are" if status == 404 else None
    return answer(request, status, code=code, detail=detail, hint=hint, headers=found.headers)


def _is_whole_body(raw: Mapping[str, Any]) -> bool:
    # What is not said to be JSON is not read as such, and then it is no object.
    return tuple(raw["loc"]) == ("body",) and raw["type"] != "missing"


def _is_json(given: str) -> bool:
    return given == JSON or (given.startswith("application/") and given.endswith("+json"))


def _field_error(raw: Mapping[str, Any]) -> dict[str, object]:
    # A key that is not known is as long as its sender likes.
    field = ".".join(str(part) for part in raw["loc"])[:LONGEST_FIELD]
    # Neither the value nor the context: they may hold a secret, or a megabyte.
    return {"field": field, "reason": str(raw["msg"])[:500], "kind": str(raw["type"])}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
