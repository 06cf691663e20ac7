"""Collections and searches as HTTP shows them, and what can be asked of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from lexigram_ray.service import conditions
from lexigram_ray.service.models.common import WHOLE, Answer, Asked

MOST_HITS = 1_000
LONGEST_QUERY = 10_000


class Collection(Answer):
    """One collection: its size, its model, how it was cut, its indexes."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "papers",
                "rows": 5120,
                "documents": 120,
                "model": "sentence-transformers/all-MiniLM-L6-v2",
                "dimension": 384,
                "precision": "bf16",
                "chunker": "tokens:254:0",
                "bytes": 21_000_000,
                "live_bytes": 19_000_000,
                "dead_bytes": 2_000_000,
                "versions": 12,
                "fragments": 3,
                "indexes": ["text_idx"],
            }
        }
    )

    name: str
    rows: int = Field(ge=0)
    documents: int = Field(ge=0)
    model: str
    dimension: int = Field(ge=1)
    precision: str
    chunker: str
    bytes: int = Field(ge=0, description="Of all its files, old versions included")
    live_bytes: int = Field(ge=0)
    dead_bytes: int = Field(ge=0)
    versions: int = Field(ge=0)
    fragments: int = Field(ge=0)
    indexes: list[str]


class CollectionList(Answer):
    """All collections, by name."""

    items: list[Collection]
    next: None


class Dropped(Answer):
    """A collection that is no longer there."""

    model_config = ConfigDict(json_schema_extra={"example": {"dropped": "papers", "rows": 5120}})

    dropped: str
    rows: int = Field(ge=0)


class Search(Asked):
    """What is looked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "query": "how are leases renewed",
                "limit": 5,
                "mode": "hybrid",
                "where": "page = 3 AND source LIKE '%.pdf'",
            }
        }
    )

    query: str = Field(
        min_length=1, max_length=LONGEST_QUERY, pattern=r"\S", description="Words or a question"
    )
    limit: Annotated[int, Field(ge=1, le=MOST_HITS), WHOLE] = Field(10, description="Most hits")
    mode: Literal["hybrid", "vector", "text"] = Field(
        "hybrid", description="By meaning, by words, or both"
    )
    where: str | None = Field(
        None,
        max_length=conditions.LONGEST,
        description="A condition in SQL over the columns id, document_id, source, title, text, "
        "chunk_index, page, char_start, char_end, headings, content_hash, metadata, job_id, "
        "created_at: only rows for which it holds are looked at",
    )


class Hit(Answer):
    """A passage."""

    id: str
    score: float = Field(description="Higher is better")
    text: str
    document_id: str
    source: str
    title: str
    page: int | None
    chunk_index: int
    char_start: int
    char_end: int
    metadata: dict[str, Any]


class Found(Answer):
    """What a search found."""

    collection: str
    query: str
    mode: Literal["hybrid", "vector", "text"]
    took_ms: float = Field(ge=0, description="For embedding the query and searching")
    hits: list[Hit] = Field(description="Best first")
