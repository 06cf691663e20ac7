"""Who a request comes from: what its token says, or that none is needed here."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar, TypeVarTuple
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from fastapi import Request

from lexigram_ray.core.environment_checks import is_loopback
from lexigram_ray.core.service_settings import ServiceSettings
from lexigram_ray.jobs.access_tokens import (
    SCOPES,
    AccessToken,
    AccessTokens,
    Scope,
    is_well_formed,
)
from lexigram_ray.service.problems import Refusal
from lexigram_ray.service.token_rates import TokenRates

REMEMBERED_SECONDS = 1.0
"""For so long a replica asks the store nothing about a token, even one that is being revoked."""

MOST_REMEMBERED = 1000

Asked = TypeVarTuple("Asked")
Answer = TypeVar("Answer")

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
"""By these a proxy tells whom it asks for."""

_HOW = "send the header `Authorization: Bearer TOKEN`; lexigram-ray tokens create NAME makes one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        token_id: Of the token; empty where none is needed.
        name: Of the token.
        scopes: What it allows.
    """

    token_id: str = ""
    name: str = "anonymous"
    scopes: frozenset[Scope] = frozenset(SCOPES)


@dataclass(frozen=True, slots=True)
class _Verified:
    token: AccessToken | None
    until: float


class Gate:
    """Knows callers by their tokens, and how much each has asked lately; one a replica.

    No token is needed where only this machine reaches the service and the store has never had one.

    Args:
        settings: Say where the service listens, and how much a token may ask.
        tokens: Of the store.
        ticks: Returns seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        tokens: AccessTokens,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_loopback = is_loopback(settings.host)
        self._tokens = tokens
        self._ticks = ticks
        self._rates = TokenRates(settings.requests_per_minute, ticks)
        self._asking = asyncio.Lock()
        # Not one of the threads that requests may all have taken.
        self._thread = CapacityLimiter(1)
        self._verified: dict[bytes, _Verified] = {}
        self._had_tokens = False
        self._had_none_until = 0.0

    async def admit(self, request: Request) -> Caller:
        """Return who asks.

        Raises:
            Refusal: Nobody that is known (401), or one who asks too much (429).
            StoreUnreachableError: Tokens cannot be looked up.
        """
        caller = await self._caller(request)
        wait = math.ceil(self._rates.take(caller.token_id))
        if wait:
            raise Refusal(
                429,
                f"{caller.name} has made too many requests",
                code="rate_limited",
                hint=f"ask again in {wait} s; service.requests_per_minute is the limit",
                headers={"Retry-After": str(wait)},
            )
        return caller

    async def _caller(self, request: Request) -> Caller:
        refusal = None
        if self._is_loopback and not await self._has_had_tokens():
            refusal = foreign(request)
            if refusal is None:
                return Caller()
        given = request.headers.getlist("authorization")
        if not given:
            raise refusal or _unauthorized("a token is needed, and none was given", _HOW)
        token = await self._token(given)
        return Caller(token_id=token.id, name=token.name, scopes=frozenset(token.scopes))

    async def _token(self, given: list[str]) -> AccessToken:
        scheme, _, secret = given[0].partition(" ")
        secret = secret.strip(" ")
        if len(given) > 1 or scheme.lower() != "bearer" or not is_well_formed(secret):
            raise _unauthorized("the header Authorization holds no token of ours", _HOW, given=True)
        token = await self._look_up(secret)
        if token is None or not token.is_valid_at(datetime.now(UTC)):
            raise _unauthorized(
                "the token is unknown, revoked or expired",
                "lexigram-ray tokens list; lexigram-ray tokens create NAME",
                given=True,
            )
        return token

    async def _look_up(self, secret: str) -> AccessToken | None:
        # What is remembered of a secret is of no use to whoever reads the memory.
        key = hashlib.sha256(secret.encode()).digest()
        known = self._verified.get(key)
        if known is not None and self._ticks() < known.until:
            return known.token
        # One asks, and those who come meanwhile hear the same.
        async with self._asking:
            known = self._verified.get(key)
            if known is None or self._ticks() >= known.until:
                until = self._ticks() + REMEMBERED_SECONDS
                token = await self._ask(self._tokens.verify, secret)
                if len(self._verified) >= MOST_REMEMBERED:
                    self._verified.clear()
                known = self._verified[key] = _Verified(token, until)
        return known.token

    async def _has_had_tokens(self) -> bool:
        if self._had_tokens or self._ticks() < self._had_none_until:
            return self._had_tokens
        async with self._asking:
            if not self._had_tokens and self._ticks() >= self._had_none_until:
                until = self._ticks() + REMEMBERED_SECONDS
                self._had_tokens = await self._ask(self._tokens.any_ever)
                self._had_none_until = until
        return self._had_tokens

    async def _ask(self, question: Callable[[*Asked], Answer], *asked: *Asked) -> Answer:
        return await to_thread.run_sync(question, *asked, limiter=self._thread)


def foreign(request: Request) -> Refusal | None:
    """Return why a request may not come from this machine, although its connection does.

    A page in a browser here can have a name of its own lead to this machine, and send forms to any
    address; a proxy here may serve the world, and tell it as its own.
    """
    for name in ("Host", "Origin"):
        # Every browser sends a Host; who sends none is no browser.
        given = request.headers.get(name)
        if given is not None and not is_loopback(_host_in(given)):
            return _unauthorized(
                f"the header {name} does not name this machine, so a token is needed", _HOW
            )
    for name in _FORWARDED:
        if name in request.headers:
            return _unauthorized(
                f"the header {name} says that a proxy sends this for others, so a token is needed",
                _HOW,
            )
    return None


def _host_in(header: str) -> str:
    try:
        return urlsplit(header if "://" in header else f"//{header}").hostname or ""
    except ValueError:
        return ""


def _unauthorized(message: str, hint: str, *, given: bool = False) -> Refusal:
    challenge = 'Bearer error="invalid_token"' if given else "Bearer"
    return Refusal(
        401,
        message,
        code="invalid_token" if given else "no_token",
        hint=hint,
        headers={"WWW-Authenticate": challenge},
    )
