"""What a caller may do: a scope for each route, and nothing under `/v1` for anybody unknown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.environment_checks import is_loopback
from lexigram_ray.core.errors import UsageError, WorkerError
from lexigram_ray.jobs.access_tokens import SCOPES, Scope
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.gate import Caller, Gate
from lexigram_ray.service.problems import Refusal, answer_to

GUARDED = "/v1/"
"""Below this, nothing is answered to anybody unknown."""

_CALLER = "lexigram_ray.caller"
_BEARER = HTTPBearer(
    bearerFormat="lxr_<id>_<secret>",
    description="Made by `lexigram-ray tokens create NAME`; needed unless the service is for its "
    "own machine alone and its store has never had a token.",
    auto_error=False,
)


def check_may_start(config: WorkersConfig, store: Store) -> None:
    """Check that not everyone would be let in, or nobody.

    Raises:
        UsageError: Other machines reach the service, and no token is valid.
    """
    host = config.service.host
    if not is_loopback(host) and not store.tokens.any_valid():
        raise UsageError(
            f"{host} can be reached from other machines, and there is no valid token",
            hint="lexigram-ray tokens create NAME --scope operate, or set service.host to "
            "127.0.0.1",
        )


async def admit(request: Request) -> Caller:
    """Return who asks; a request is looked at, and counted, once.

    Raises:
        Refusal: Nobody that is known, or one who asks too much.
        StoreUnreachableError: Tokens cannot be looked up.
    """
    if _CALLER not in request.scope:
        gate = cast("Gate", request.app.state.gate)
        request.scope[_CALLER] = await gate.admit(request)
    return cast("Caller", request.scope[_CALLER])


def require(caller: Caller, scope: Scope) -> None:
    """Refuse a caller without a scope.

    Raises:
        Refusal: 403, naming the scope.
    """
    if scope in caller.scopes:
        return
    allowed = ", ".join(each for each in SCOPES if each in caller.scopes)
    raise Refusal(
        403,
        f"this needs the scope {scope}, and the token {caller.name!r} has only {allowed}",
        code="insufficient_scope",
        hint=f"lexigram-ray tokens create NAME --scope {scope}",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
    )


class Admission:
    """Refuses whoever is not known, before the body is read: that may be a gigabyte."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it."""
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            request = Request(scope)
            try:
                await admit(request)
            except WorkerError as error:
                await answer_to(request, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _allowed(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    async def check(
        request: Request,
        # Read by `admit`; here it is for openapi.json.
        _given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    ) -> Caller:
        caller = await admit(request)
        require(caller, scope)
        return caller

    return check


Reader = Annotated[Caller, Depends(_allowed("read"))]
Submitter = Annotated[Caller, Depends(_allowed("submit"))]
Operator = Annotated[Caller, Depends(_allowed("operate"))]
