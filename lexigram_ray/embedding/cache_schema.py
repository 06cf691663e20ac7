"""The columns of a cache's table, and what stands in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.key_index import HALVES, KEY_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

MODEL_KEY = "lexigram_ray.model"


def cache_schema(spec: ModelSpec) -> pa.Schema:
    """Return the columns, with the model in the metadata so that a table explains itself.

    `last_used_day` is the day of writing; later uses stand in the use notes beside the table.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("key", pa.binary(KEY_BYTES), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), spec.dimension), nullable=False),
            pa.field("created_day", pa.date32(), nullable=False),
            pa.field("last_used_day", pa.date32(), nullable=False),
        ],
        metadata={MODEL_KEY: json.dumps(asdict(spec), sort_keys=True)},
    )


def model_in(metadata: Mapping[str, str]) -> ModelSpec | None:
    """Return the model of a table's metadata; None in tables that have none, or another's."""
    try:
        return ModelSpec(**json.loads(metadata[MODEL_KEY]))
    except (KeyError, TypeError, ValueError):
        return None


def key_array(keys: NDArray[np.void]) -> pa.FixedSizeBinaryArray:
    """Return keys as an Arrow array."""
    import pyarrow as pa

    # numpy turns joined keys into the machine's byte order.
    buffers = [None, pa.py_buffer(keys.astype(HALVES).tobytes())]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(KEY_BYTES), len(keys), buffers)


def day_array(days: NDArray[np.int32]) -> pa.Array:
    """Return days since 1970 as an Arrow array of dates."""
    import pyarrow as pa

    return pa.array(days, pa.int32()).cast(pa.date32())


def keys_of(column: pa.ChunkedArray) -> NDArray[np.void]:
    """Return a column of keys, shape `(n,)`."""
    parts = [
        np.frombuffer(chunk.buffers()[1], HALVES, count=len(chunk), offset=chunk.offset * KEY_BYTES)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0, HALVES)


def days_of(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """Return a column of dates as days since 1970, shape `(n,)`."""
    return column.cast("int32").to_numpy()
