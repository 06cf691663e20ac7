"""Limits on what a request may send, held while it is read: a declared length may be wrong.

The framework's own limiter answers in plain text, which is no problem+json.
"""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lexigram_ray.core.service_settings import MEGABYTE, ServiceSettings
from lexigram_ray.service.problems import Refusal, answer

UPLOADS = ("/v1/documents", "/v1/documents/batch")


class BodyLimit:
    """Refuses bodies over a limit with 413; files may be larger than JSON.

    Args:
        settings: Have the limits.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app = app
        self._usual = int(settings.max_body_mb * MEGABYTE)
        self._upload = int(settings.max_upload_mb * MEGABYTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, unless it says itself that it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        limit = self._limit_of(request)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            await _refused(request, limit)(scope, receive, send)
            return
        await self._app(scope, _counted(receive, limit), send)

    def _limit_of(self, request: Request) -> int:
        is_form = request.headers.get("content-type", "").startswith("multipart/form-data")
        return self._upload if is_form and request.url.path in UPLOADS else self._usual


def _counted(receive: Receive, limit: int) -> Receive:
    read = 0

    async def counting() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise Refusal(413, _words(limit), code="content_too_large", hint=_HINT)
        return message

    return counting


_HINT = "send less at once; service.max_body_mb and service.max_upload_mb are the limits"


def _refused(request: Request, limit: int) -> Response:
    return answer(request, 413, code="content_too_large", detail=_words(limit), hint=_HINT)


def _words(limit: int) -> str:
    return f"the body is larger than {limit / MEGABYTE:g} MB"
