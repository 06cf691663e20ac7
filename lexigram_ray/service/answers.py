"""Answers in JSON: the very objects of the command line's `--json`."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from fastapi.responses import Response

from lexigram_ray.core.errors import UsageError
from lexigram_ray.service.problems import Refusal

POLL_SECONDS = 1
"""After which whoever was given a job may look at it for the first time."""


def json_answer(
    body: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an object as an answer."""
    return Response(json_bytes(body), status, headers, media_type="application/json")


def json_bytes(body: object) -> bytes:
    """Return JSON; in ASCII, as names of files may hold what is no character."""
    return json.dumps(body, separators=(",", ":")).encode("ascii")


def accepted(body: Mapping[str, object], location: str) -> Response:
    """Return the answer to what was recorded, and will be worked on.

    Args:
        body: What was recorded.
        location: Where to look at it.
    """
    return json_answer(body, 202, {"Location": location, "Retry-After": str(POLL_SECONDS)})


def job_location(job_id: str) -> str:
    """Return where a job is."""
    return f"/v1/jobs/{job_id}"


@contextmanager
def refused_with(statuses: Mapping[str, int]) -> Generator[None]:
    """Have errors of some codes answered with a status of their own, in place of 422.

    Args:
        statuses: Of HTTP, by the error's code.

    Raises:
        Refusal: For such an error.
    """
    try:
        yield
    except UsageError as error:
        if error.code not in statuses:
            raise
        raise Refusal(
            statuses[error.code], error.message, code=error.code, hint=error.hint
        ) from error
