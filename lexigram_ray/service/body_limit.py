"""Limits on what a request may send, held while it is read: headers, size, coding, and silence.

A declared length may be wrong, and the framework's own limiter answers in plain text, which is no
problem+json. Whoever reads a body may turn an error in it into one of its own, so what is refused
here is also answered here.
"""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lexigram_ray.core.service_settings import MEGABYTE, ServiceSettings
from lexigram_ray.service.bodies import FORM
from lexigram_ray.service.problems import Refusal, answer_to, media_type

UPLOADS = ("/v1/documents", "/v1/documents/batch")
MOST_HEADER_BYTES = 65_536
IDLE_SECONDS = 60.0
"""A sender that is silent for so long in the middle of its body has gone, or wants to hold us."""


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
        # The server that parses them may have no limit.
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
            await answer_to(request, _too_long())(scope, receive, send)
            return
        limit = self._limit_of(request)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            await answer_to(request, _too_large(limit))(scope, receive, send)
            return
        body = _Body(receive, limit, request.headers.get("content-encoding", ""))
        has_started = False

        async def unless_refused(message: Message) -> None:
            nonlocal has_started
            if has_started or body.refusal is None:
                has_started = True
                await send(message)

        try:
            await self._app(scope, body.receive, unless_refused)
        except Refusal as refusal:
            if refusal is not body.refusal:
                raise
        if body.refusal is not None and not has_started:
            await answer_to(request, body.refusal)(scope, receive, send)

    def _limit_of(self, request: Request) -> int:
        is_form = media_type(request) == FORM
        return self._upload if is_form and request.url.path in UPLOADS else self._usual


class _Body:
    """What comes of one request, until there is something wrong with it.

    Attributes:
        refusal: What is wrong.
    """

    def __init__(self, receive: Receive, limit: int, coding: str) -> None:
        self.refusal: Refusal | None = None
        self._receive = receive
        self._limit = limit
        self._coding = coding.strip().lower()
        self._read = 0
        self._is_whole = False

    async def receive(self) -> Message:
        """Return what comes next.

        Raises:
            Refusal: There is too much of it, it is coded, or nothing comes any more.
        """
        if self.refusal is not None:
            raise self.refusal
        try:
            async with asyncio.timeout(None if self._is_whole else IDLE_SECONDS):
                message = await self._receive()
        except TimeoutError:
            raise self._refused(_silent()) from None
        self._is_whole = not message.get("more_body", False)
        self._read += len(message.get("body", b""))
        if self._read > self._limit:
            raise self._refused(_too_large(self._limit))
        if self._read and self._coding not in ("", "identity"):
            raise self._refused(_coded(self._coding))
        return message

    def _refused(self, refusal: Refusal) -> Refusal:
        self.refusal = refusal
        return refusal


def _too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        f"the body is larger than {limit / MEGABYTE:g} MB",
        code="content_too_large",
        hint="send less at once; service.max_body_mb and service.max_upload_mb are the limits",
    )


def _too_long() -> Refusal:
    return Refusal(
        431,
        f"the headers have more than {MOST_HEADER_BYTES} bytes",
        code="headers_too_large",
        hint="send fewer headers, or shorter ones",
    )


def _coded(coding: str) -> Refusal:
    # What is small as it comes may be huge as it is meant.
    return Refusal(
        415,
        f"the body is coded as {coding[:40]!r}",
        code="unsupported_content_encoding",
        hint="send it as it is, without Content-Encoding",
        headers={"Accept-Encoding": "identity"},
    )


def _silent() -> Refusal:
    return Refusal(
        408,
        "the body ended before it was whole",
        code="request_timeout",
        hint=f"send it again; between two of its parts lie at most {IDLE_SECONDS:.0f} s",
        headers={"Connection": "close"},
    )
