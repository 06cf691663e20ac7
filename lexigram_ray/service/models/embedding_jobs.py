"""Texts that are submitted to be embedded into a collection."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from lexigram_ray.service.models.common import Asked
from lexigram_ray.service.models.submissions import Metadata, SubmissionRequest, optional

MOST_TEXTS = 10_000
LONGEST_TEXT = 1_000_000


class GivenText(Asked):
    """One text: a row of the collection, and a document of its own."""

    id: str = Field(
        min_length=1,
        max_length=1_000,
        pattern=r"^[^\x00]+$",
        description="A text of the same id is replaced",
        examples=["faq-17"],
    )
    text: str = Field(
        min_length=1, max_length=LONGEST_TEXT, examples=["Fog signals are given twice a minute."]
    )
    metadata: Metadata = Field(default={}, json_schema_extra=optional)


Texts = Annotated[list[GivenText], Field(min_length=1, max_length=MOST_TEXTS)]


class EmbeddingJobRequest(SubmissionRequest):
    """Texts for a collection."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["texts"]}, {"required": ["chunks"]}]}
    )

    texts: Texts = Field(default=[], json_schema_extra=optional)
    chunks: Texts = Field(
        default=[],
        description="The same as `texts`, for those that have cut them already",
        json_schema_extra=optional,
    )

    @model_validator(mode="after")
    def _is_one(self) -> EmbeddingJobRequest:
        if bool(self.texts) == bool(self.chunks):
            raise ValueError("give either texts or chunks")
        return self

    @property
    def rows(self) -> list[GivenText]:
        """The texts, whatever they are called."""
        return self.texts or self.chunks
