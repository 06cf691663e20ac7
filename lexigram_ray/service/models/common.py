"""What several resources have in common: ids, pages, and the base of all answers."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
)

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
COLLECTION_PATTERN = r"^[A-Za-z0-9_](\.?[A-Za-z0-9_-])*\.?$"
LONGEST_COLLECTION = 249
LONGEST_ID = 36
LONGEST_NAME = 255
MOST_LISTED = 1000
INT32 = 2**31

EXAMPLE_ID = "0193579e-1c2d-7abc-8def-0123456789ab"


class Answer(BaseModel):
    """What is answered: these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class Asked(BaseModel):
    """What is asked: these fields and no others, and nothing that only looks like them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AskedInQuery(BaseModel):
    """What is asked by parameters of the URL, which are all texts there."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def whole(value: object) -> object:
    """Return a number without a fraction as an `int`: to JSON, 5 and 5.0 are the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def bounded_json(name_has: str, most: int) -> AfterValidator:
    """Return the check that an object is JSON, and at most so long.

    Args:
        name_has: How the refusal begins, such as `metadata has`.
        most: Characters.
    """

    def check(given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        try:
            size = len(json.dumps(given, allow_nan=False))
        except ValueError:
            raise ValueError("NaN and infinity are no JSON") from None
        if size > most:
            raise ValueError(f"{name_has} at most {most} characters as JSON")
        return given

    return AfterValidator(check)


WHOLE = BeforeValidator(whole)
"""For an `int` of a JSON body, behind its limits: else they are not in the schema."""
Id = Annotated[str, Field(pattern=UUID_PATTERN, examples=[EXAMPLE_ID])]
IdInPath = Annotated[
    str,
    # Only said, not checked: what looks otherwise is no id of anything, and not found.
    Path(
        description="The whole id",
        examples=[EXAMPLE_ID],
        json_schema_extra={"pattern": UUID_PATTERN},
    ),
]
CollectionInPath = Annotated[
    str,
    Path(
        max_length=LONGEST_COLLECTION,
        pattern=COLLECTION_PATTERN,
        description="The collection's name",
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Cursor = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,18}\.[0-9A-Za-z_-]{1,64}$",
        description="`next` of the page before",
        examples=[f"1795525200000000.{EXAMPLE_ID}"],
    ),
]
Limit = Annotated[int, Field(ge=1, le=MOST_LISTED, description="Most items of the page")]
Next = Annotated[str | None, Field(description="The next page's `cursor`; null on the last one")]
