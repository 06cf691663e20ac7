"""Executing ranges of texts: the one way in which rows get their vectors, wherever it runs.

The counterpart of `executor` for tables, over the same embedder. The in-process place, warm
actors and the Ray Data pipeline all call `execute_rows`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.tracing import span
from lexigram_ray.core.types import Failure, FailureCategory
from lexigram_ray.embedding.cached import Embedded
from lexigram_ray.jobs.executor import Embedder
from lexigram_ray.jobs.failures import failure_of, raise_if_machine_wide
from lexigram_ray.vectors.schema import collection_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsExecution:
    """Rows out, failures out: every row given is in `rows` or in `failures` once.

    Attributes:
        rows: With the collection's columns, in order.
        failures: By the row's id.
        computed, cached: Where the vectors of `rows` came from.
        truncated: Texts beyond the model's limit.
    """

    rows: pa.Table
    failures: Mapping[str, Failure] = field(default_factory=dict[str, Failure])
    computed: int = 0
    cached: int = 0
    truncated: int = 0


def execute_rows(staged: pa.Table, embedder: Embedder, *, job_id: str) -> RowsExecution:
    """Embed the rows of a staged table.

    A text that is refused, or that a provider fails on, is a failure of the result, never an
    exception.

    Args:
        staged: At least one row.

    Raises:
        EmbeddingError: The model fails whatever the text.
        DiskFullError: No space is left, whoever noticed it.
    """
    texts = staged.column("text").to_pylist()
    try:
        with span("embed", texts=len(texts)):
            embedded = embedder.embed(texts, staged.column("content_hash").to_pylist())
    except Exception as error:
        raise_if_machine_wide(error)
        if len(staged) > 1:
            half = len(staged) // 2
            parts = (staged.slice(0, half), staged.slice(half))
            return merged([execute_rows(part, embedder, job_id=job_id) for part in parts])
        if not _takes_plain_text(embedder):
            raise
        return _failed_alone(staged, error)
    return _executed(staged, embedded, job_id)


def merged(parts: Sequence[RowsExecution]) -> RowsExecution:
    """Return the results of consecutive rows as one."""
    failures: dict[str, Failure] = {}
    for part in parts:
        failures.update(part.failures)
    tables = [part.rows for part in parts if len(part.rows)] or [parts[0].rows]
    return RowsExecution(
        rows=pa.concat_tables(tables),
        failures=failures,
        computed=sum(part.computed for part in parts),
        cached=sum(part.cached for part in parts),
        truncated=sum(part.truncated for part in parts),
    )


def plain_text() -> str:
    """Return a text that no model has a reason to refuse.

    Not the same each time: a cache would answer for a model that fails.
    """
    return f"A few plain words, {uuid.uuid4().hex}."


def _executed(staged: pa.Table, embedded: Embedded, job_id: str) -> RowsExecution:
    failures = {
        str(staged.column("id")[place]): Failure(
            category=FailureCategory.INVALID_INPUT, code="text_refused", reason=reason
        )
        for place, reason in embedded.refused.items()
    }
    rows = with_vectors(staged, embedded.vectors, job_id)
    if failures:
        kept = np.ones(len(staged), np.bool_)
        kept[list(embedded.refused)] = False
        rows = rows.filter(pa.array(kept))
    computed = int(np.count_nonzero(embedded.fresh))
    return RowsExecution(
        rows=rows,
        failures=failures,
        computed=computed,
        cached=len(rows) - computed,
        truncated=embedded.truncated,
    )


def _takes_plain_text(embedder: Embedder) -> bool:
    """Whether the model works at all; if not, no text is to blame."""
    text = plain_text()
    try:
        return not embedder.embed([text], [hash_text(text)]).refused
    except Exception as error:  # noqa: BLE001 - whatever it is, the model gave it to any text
        raise_if_machine_wide(error)
        return False


def _failed_alone(row: pa.Table, error: Exception) -> RowsExecution:
    nothing = with_vectors(row.slice(0, 0), np.zeros((0, 1), np.float32), "")
    return RowsExecution(rows=nothing, failures={str(row.column("id")[0]): failure_of(error)})


def with_vectors(staged: pa.Table, vectors: NDArray[np.float32], job_id: str) -> pa.Table:
    """Return staged rows as rows of a collection; vectors are float32, shape `(n, dim)`."""
    count, dimension = vectors.shape
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    added = {
        "vector": pa.FixedSizeListArray.from_arrays(flat, dimension),
        "job_id": pa.repeat(pa.scalar(job_id), count),
        "created_at": pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC")), count),
    }
    schema = collection_schema(dimension)
    columns = [
        pa.chunked_array([added[name]]) if name in added else staged.column(name)
        for name in schema.names
    ]
    return pa.Table.from_arrays(
        [column.cast(schema.field(place).type) for place, column in enumerate(columns)],
        schema=schema,
    )
