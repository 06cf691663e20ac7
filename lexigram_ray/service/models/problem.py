"""What an error looks like, and which ones a route may answer with."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lexigram_ray.service.problems import PROBLEM_JSON

ALWAYS = (401, 403, 413, 422, 429, 500, 502, 503, 504)
"""What any route under `/v1` may answer."""


class FieldError(BaseModel):
    """What is wrong with one part of a request."""

    field: str = Field(description="Where it is, such as `body.collection`")
    reason: str
    kind: str = Field(description="Stable, for programs")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:lexigram-ray:problem:collection_not_found",
                "title": "Not Found",
                "status": 404,
                "detail": "there is no collection papers",
                "code": "collection_not_found",
                "request_id": "9f2c64b0d1ff4d52a0f6b9d1d8a1c7aa",
                "hint": "lexigram-ray collections list",
            }
        }
    )

    type: str = Field(description="Stable: `urn:lexigram-ray:problem:` and the code")
    title: str = Field(description="The status in words")
    status: int
    detail: str = Field(description="What is wrong, with what")
    code: str = Field(description="Stable, for programs")
    request_id: str = Field(description="As in the header X-Request-ID, and in the log")
    hint: str | None = Field(None, description="The way out")
    errors: list[FieldError] | None = Field(None, description="Each part that is wrong")


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's schema for openapi.json; its `$defs` belong under `components/schemas`."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer with, for its `responses`: these and `ALWAYS`."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*ALWAYS, *statuses})
    }
