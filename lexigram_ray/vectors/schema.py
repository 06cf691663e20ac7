"""The columns of a collection, and what its table says about itself."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from lexigram_ray.core.types import CollectionSettings

SETTINGS_KEY: Final = "lexigram_ray.settings"
STORE_ID_KEY: Final = "lexigram_ray.store_id"

# Lance refuses two writers of one key only where the key is declared so.
PRIMARY_KEY: Final = {b"lance-schema:unenforced-primary-key": b"true"}


def collection_schema(dimension: int) -> pa.Schema:
    """Return the columns that other programs rely on.

    Args:
        dimension: Length of a vector.
    """
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False, metadata=PRIMARY_KEY),
            pa.field("document_id", pa.string()),
            pa.field("source", pa.string()),
            pa.field("title", pa.string()),
            pa.field("text", pa.string()),
            pa.field("vector", pa.list_(pa.float32(), dimension)),
            pa.field("chunk_index", pa.int32()),
            pa.field("page", pa.int32()),
            pa.field("char_start", pa.int64()),
            pa.field("char_end", pa.int64()),
            pa.field("headings", pa.list_(pa.string())),
            pa.field("content_hash", pa.string()),
            pa.field("metadata", pa.string()),
            pa.field("job_id", pa.string()),
            pa.field("created_at", pa.timestamp("us", tz="UTC")),
        ]
    )


def described_schema(settings: CollectionSettings, store_id: str) -> pa.Schema:
    """Return the columns together with the settings and the store that a new table is given.

    Lance keeps a schema's metadata through every later write, its own and LanceDB's.
    """
    return collection_schema(settings.dimension).with_metadata(
        {SETTINGS_KEY: settings.to_json(), STORE_ID_KEY: store_id}
    )


def is_keyed(schema: pa.Schema) -> bool:
    """Whether `id` still is the declared primary key, without which writes are not safe."""
    metadata = schema.field("id").metadata or {}
    return all(metadata.get(key) == value for key, value in PRIMARY_KEY.items())
