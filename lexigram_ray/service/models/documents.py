"""Documents that are submitted: which ones, and what is said of them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from lexigram_ray.service.models.submissions import Metadata, SubmissionRequest, optional

MOST_SOURCES = 10_000
"""Paths or URLs in a request, whatever `service.max_files` says."""

_ID = r"^[^\x00-\x1f\x7f-\x9f]+$"

GivenPath = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4_096,
        pattern=r"^/[^\x00]*$",
        description="Absolute, where the workers run, and below one of the `allowed_roots`",
        examples=["/data/papers/attention.pdf"],
    ),
]
GivenUrl = Annotated[
    str,
    Field(
        min_length=9,
        max_length=2_048,
        pattern=r"^https://[!-~]+$",
        description="Of a host in `service.urls.allowed_hosts`, where `service.urls.enabled` is on",
        examples=["https://arxiv.org/pdf/1706.03762"],
    ),
]
RETRY_FAILED = Field(
    False, description="Try a remembered failure again although its file is unchanged"
)


class DocumentFields(SubmissionRequest):
    """What is said of one document."""

    TEXTS: ClassVar[frozenset[str]] = frozenset({"collection", "document_id"})
    """Fields of a form that are texts; the others are JSON."""

    retry_failed: bool = RETRY_FAILED
    document_id: str = Field(
        "",
        min_length=1,
        max_length=512,
        pattern=_ID,
        description="Your own name of it: a document of the same id is replaced. Unless given, "
        "it is made of the file's name and content",
        examples=["attention-2017"],
        json_schema_extra=optional,
    )
    metadata: Metadata = Field(default={}, json_schema_extra=optional)


def _one_of(path: str, url: str) -> dict[str, Any]:
    return {"oneOf": [{"required": [path]}, {"required": [url]}]}


class DocumentRequest(DocumentFields):
    """One document by its path or its URL."""

    model_config = ConfigDict(json_schema_extra=_one_of("path", "url"))

    path: GivenPath = Field("", json_schema_extra=optional)
    url: GivenUrl = Field("", json_schema_extra=optional)

    @model_validator(mode="after")
    def _is_one(self) -> DocumentRequest:
        if bool(self.path) == bool(self.url):
            raise ValueError("give either a path or a url")
        return self


class DocumentsFields(SubmissionRequest):
    """What is said of several documents."""

    TEXTS: ClassVar[frozenset[str]] = frozenset({"collection"})

    retry_failed: bool = RETRY_FAILED


class DocumentsRequest(DocumentsFields):
    """Several documents, by their paths, their URLs or both."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["paths"]}, {"required": ["urls"]}]}
    )

    prune: bool = Field(
        False, description="Remove documents that are no longer below the folders of `paths`"
    )
    paths: list[GivenPath] = Field(
        default=[],
        min_length=1,
        max_length=MOST_SOURCES,
        description="Files and folders",
        json_schema_extra=optional,
    )
    urls: list[GivenUrl] = Field(
        default=[], min_length=1, max_length=MOST_SOURCES, json_schema_extra=optional
    )

    @model_validator(mode="after")
    def _has_some(self) -> DocumentsRequest:
        if not self.paths and not self.urls:
            raise ValueError("give paths, urls or both")
        return self
