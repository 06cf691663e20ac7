"""An id for each request: in its answer, in problems, and in every log line about it."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
_GIVEN = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_CURRENT: ContextVar[str] = ContextVar("request_id", default="")

logger = logging.getLogger("lexigram_ray.service")


def request_id() -> str:
    """Return the id of the request that this is about; empty outside of one."""
    return _CURRENT.get()


class RequestIds:
    """Gives each request its id, logs how it ended, and answers what nobody has caught.

    Args:
        on_error: Makes the answer to an error that is not foreseen.
    """

    def __init__(
        self, app: ASGIApp, on_error: Callable[[Request, BaseException], Response]
    ) -> None:
        self._app = app
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Request(scope).headers.get(HEADER, "")
        current = given if _GIVEN.fullmatch(given) else uuid.uuid4().hex
        token = _CURRENT.set(current)
        began, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [
                    *message.get("headers", ()),
                    (HEADER.lower().encode(), current.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the service's one error edge
            response = self._on_error(Request(scope), error)
            if status == 0:
                await response(scope, receive, send_with_id)
        finally:
            milliseconds = 1000 * (time.perf_counter() - began)
            facts = {
                "request_id": current,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(milliseconds, 1),
            }
            logger.info(
                "%s %r: %d in %.0f ms",
                scope["method"],
                scope["path"],
                status,
                milliseconds,
                extra={"facts": facts},
            )
            _CURRENT.reset(token)
