"""Bodies of requests as they come in: as JSON of a model, or piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from lexigram_ray.service.problems import JSON, Refusal, media_type, wrong_media_type

__all__ = ["FORM", "JSON", "content_type", "invalid", "pieces", "read_json", "whole"]

FORM = "multipart/form-data"
_PIECE_BYTES = 1 << 20

Model = TypeVar("Model", bound=BaseModel)


def content_type(request: Request, *expected: str) -> str:
    """Return which of the expected media types a request's body has.

    Raises:
        Refusal: 415, it has another one.
    """
    given = media_type(request)
    if given in expected:
        return given
    raise wrong_media_type(given, *expected)


async def pieces(request: Request, *, at_once: int = _PIECE_BYTES) -> AsyncGenerator[bytes]:
    """Yield a body in pieces of about one size, so that each is worth the way to a thread.

    Raises:
        Refusal: 408, its sender has gone or is silent; 413, there is too much of it.
    """
    gathered = bytearray()
    try:
        async for piece in request.stream():
            gathered += piece
            if len(gathered) >= at_once:
                yield bytes(gathered)
                gathered.clear()
    except ClientDisconnect as error:
        # For the log and the audit alone: nobody is there any more.
        raise Refusal(
            408,
            "the body ended before it was whole, and its sender is gone",
            code="request_timeout",
            hint="send it again",
        ) from error
    if gathered:
        yield bytes(gathered)


async def whole(request: Request) -> bytes:
    """Return a body that is small enough to be held.

    Raises:
        Refusal: As of `pieces`.
    """
    return b"".join([piece async for piece in pieces(request)])


def read_json(body: bytes, model: type[Model]) -> Model:
    """Read a body of JSON. It takes a while for a large one: not on the event loop.

    Raises:
        RequestValidationError: It does not fit.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError) -> RequestValidationError:
    """Return a model's complaints as those about a request's body."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found])
