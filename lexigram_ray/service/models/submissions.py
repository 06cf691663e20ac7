"""What all submissions say beside what is submitted, and what they are answered."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, JsonValue

from lexigram_ray.service.models.common import (
    COLLECTION_PATTERN,
    INT32,
    LONGEST_COLLECTION,
    WHOLE,
    Asked,
    bounded_json,
)
from lexigram_ray.service.models.jobs import Job

LONGEST_METADATA = 65_536
LONGEST_WAIT_SECONDS = 315_576_000.0
"""Ten years."""

CollectionName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_COLLECTION,
        pattern=COLLECTION_PATTERN,
        description="The collection; made when it does not exist",
        examples=["papers"],
    ),
]


Metadata = Annotated[
    dict[str, JsonValue],
    Field(
        max_length=1_000,
        description="Kept with each passage, and found with it",
        examples=[{"author": "Ada"}],
    ),
    bounded_json("metadata has", LONGEST_METADATA),
]


def optional(schema: dict[str, Any]) -> None:
    """Leave a default out of a schema that stands for "not given"."""
    schema.pop("default", None)


class SubmissionRequest(Asked):
    """When a job is worked on, and on which collection."""

    collection: CollectionName
    priority: Annotated[int, Field(ge=-INT32, le=INT32 - 1), WHOLE] = Field(
        0, description="Higher is worked on earlier", examples=[5]
    )
    delay_seconds: float = Field(
        0.0,
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        allow_inf_nan=False,
        description="The job waits for so long before it begins",
        examples=[600],
    )
    deadline_seconds: float = Field(
        0.0,
        ge=1,
        le=LONGEST_WAIT_SECONDS,
        allow_inf_nan=False,
        description="From now; the job fails if it has not ended by then",
        examples=[7200],
        json_schema_extra=optional,
    )


ACCEPTED: dict[str, Any] = {
    "model": Job,
    "description": "Recorded. It is worked on whatever becomes of this connection",
    "headers": {
        "Location": {"description": "Of the job", "schema": {"type": "string"}},
        "Retry-After": {
            "description": "Seconds until it makes sense to ask for it",
            "schema": {"type": "integer"},
        },
        "Idempotent-Replayed": {
            "description": "`true` where the job was there before",
            "schema": {"type": "string"},
        },
    },
}
"""For `responses` of routes that submit."""
