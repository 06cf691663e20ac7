"""Parcels: a unit's result, or its error, as a table of one row."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.types import Failure, FailureCategory
from lexigram_ray.jobs.text_executor import RowsExecution

SCHEMA = pa.schema(
    [
        pa.field("unit", pa.int64()),
        pa.field("said", pa.string()),
        pa.field("rows", pa.large_binary()),
        pa.field("error", pa.binary()),
    ]
)
"""`said` is JSON: counts and failures; `rows` an Arrow IPC stream; `error` a pickled exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One unit's result."""

    unit: int
    execution: RowsExecution


def pack(unit: int, execution: RowsExecution) -> pa.Table:
    """Return a result as a table of one row."""
    said = {
        "computed": execution.computed,
        "cached": execution.cached,
        "truncated": execution.truncated,
        "failures": {row_id: asdict(failure) for row_id, failure in execution.failures.items()},
    }
    return _row(unit, json.dumps(said), _stream_of(execution.rows), None)


def pack_error(unit: int, error: Exception) -> pa.Table:
    """Return an error as a table of one row."""
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # noqa: S301 - our own bytes: many errors are refused only here
    except Exception:  # noqa: BLE001 - errors of other packages need not survive pickling
        pickled = pickle.dumps(WorkerError(f"{type(error).__name__}: {error}"))
    return _row(unit, "", None, pickled)


def unpack(table: pa.Table) -> Parcel:
    """Read back what `pack` wrote; the rows are not copied.

    Raises:
        Exception: What `pack_error` was given.
    """
    unit, said, rows, error = (table.column(name)[0] for name in SCHEMA.names)
    if error.is_valid:
        raise pickle.loads(error.as_py())  # noqa: S301 - from our own worker
    with pa.ipc.open_stream(rows.as_buffer()) as reader:
        read = reader.read_all()
    told: dict[str, Any] = json.loads(said.as_py())
    return Parcel(
        unit=unit.as_py(),
        execution=RowsExecution(
            rows=read,
            failures={row_id: _failure(raw) for row_id, raw in told.pop("failures").items()},
            **told,
        ),
    )


def _failure(raw: dict[str, Any]) -> Failure:
    category = FailureCategory(raw.pop("category"))
    return Failure(category=category, **raw)


def _stream_of(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _row(unit: int, said: str, rows: pa.Buffer | None, error: bytes | None) -> pa.Table:
    if rows is None:
        binary = pa.nulls(1, pa.large_binary())
    else:
        offsets = pa.array([0, len(rows)], pa.int64()).buffers()[1]
        binary = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, rows])
    return pa.table(
        [pa.array([unit]), pa.array([said]), binary, pa.array([error], pa.binary())],
        schema=SCHEMA,
    )
