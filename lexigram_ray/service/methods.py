"""Methods that a path does not have: 405, with all that it has in `Allow`.

The framework's own answer names the methods of one route, although a path may have several, and
takes the last part of a path that is written out for the id of another route.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from lexigram_ray.service.problems import answer


@dataclass(frozen=True, slots=True)
class _Path:
    pattern: re.Pattern[str]
    methods: set[str] = field(default_factory=set[str])


class Methods:
    """Refuses methods that a path does not have; of unknown paths it says nothing.

    Args:
        routes: All routes of the application.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[APIRoute]) -> None:
        self._app = app
        self._written_out: dict[str, set[str]] = {}
        self._patterns: dict[str, _Path] = {}
        for route in routes:
            methods = route.methods or set()
            if route.param_convertors:
                path = self._patterns.setdefault(route.path, _Path(route.path_regex))
                path.methods.update(methods)
            else:
                self._written_out.setdefault(route.path, set()).update(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it."""
        if scope["type"] == "http":
            allowed = self._allowed(str(scope["path"]))
            if allowed and scope["method"] not in allowed:
                await _refused(Request(scope), allowed)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _allowed(self, path: str) -> set[str]:
        found = self._written_out.get(path)
        if found is not None:
            return found
        fitting = (each.methods for each in self._patterns.values() if each.pattern.match(path))
        return next(fitting, set())


def _refused(request: Request, allowed: Iterable[str]) -> Response:
    methods = ", ".join(sorted(allowed))
    return answer(
        request,
        405,
        code="method_not_allowed",
        detail=f"{request.url.path} does not have the method {request.method}",
        hint=f"it has {methods}",
        headers={"Allow": methods},
    )
