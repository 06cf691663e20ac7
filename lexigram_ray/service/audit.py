"""Every change through the service leaves a row: written before it, completed after."""

from __future__ import annotations

import logging
import re

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.jobs.audit_log import AuditLog, Change
from lexigram_ray.service.audit_writing import AuditWriter
from lexigram_ray.service.auth import GUARDED, admit
from lexigram_ray.service.problems import answer_to
from lexigram_ray.service.request_ids import request_id

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ASKING = re.compile(r"/v1/embeddings/?|/v1/collections/[^/]+/search/?")
"""Routes where POST changes nothing."""

logger = logging.getLogger("lexigram_ray.service")


class Audit:
    """Notes who asks for a change, and how it was answered.

    A change that cannot be noted is refused.

    Args:
        log: Where it is noted.
    """

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self._app = app
        self._writer = AuditWriter(log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if not _is_change(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            entry_id = await self._begin(request)
        except WorkerError as error:
            await answer_to(request, error)(scope, receive, send)
            return
        status = 0

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watching)
        except Exception:
            status = status or 500
            raise
        finally:
            # Without a status it was broken off: whether it was done is not known.
            if status:
                await self._end(entry_id, status)

    async def _begin(self, request: Request) -> str:
        caller = await admit(request)
        return await self._writer.begin(
            Change(
                token_id=caller.token_id,
                token_name=caller.name,
                request_id=request_id(),
                method=request.method,
                path=str(request.scope["path"]),
                client=request.client.host if request.client is not None else "",
            )
        )

    async def _end(self, entry_id: str, status: int) -> None:
        try:
            await self._writer.end(entry_id, status)
        except WorkerError as error:
            # It has been answered by now.
            logger.warning("how request %s ended is not noted: %s", request_id(), error)


def _is_change(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] in CHANGING
        and scope["path"].startswith(GUARDED)
        and not (scope["method"] == "POST" and _ASKING.fullmatch(scope["path"]))
    )
