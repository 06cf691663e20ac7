"""The further columns of a row as one JSON object, for rows by the hundred thousand.

Columns of plain types are encoded as a whole; what is nested goes value by value. The result does
not depend on how rows are cut into batches.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from lexigram_ray.ingestion.table_columns import LONGEST_VECTOR, is_text, is_vector
from lexigram_ray.ingestion.table_rows import storable

LONGEST_BYTES = 1_024
"""Binary values beyond it are pictures and such, and left out."""

_encode: Callable[[str], str] = json.encoder.encode_basestring
_left_out = object()


def json_of_fields(fields: Mapping[str, object]) -> str:
    """Return an object as JSON with sorted keys.

    Vectors (more than 64 floats) and large binary values are left out, numbers that JSON does not
    have (NaN, infinity) are null, times are in ISO format, decimals and others are texts.
    """
    if not fields:
        return "{}"
    kept = {k: v for k, v in fields.items() if not isinstance(v, (list, tuple)) or len(v) <= 64}
    if len(kept) < len(fields):
        kept = {name: value for name, value in fields.items() if not _is_vector_value(value)}
    try:
        return _ENCODER.encode(kept)
    except (TypeError, ValueError):
        return _ENCODER.encode(_plain(kept))


def json_of_columns(batch: pa.RecordBatch, names: Sequence[str]) -> pa.StringArray:
    """Return columns of a batch as one JSON object a row, as `json_of_fields`; no row is null.

    Args:
        batch: Has these columns, each once.
        names: Of the columns.
    """
    kept = sorted(name for name in names if not is_vector(batch.schema.field(name).type))
    if not kept:
        return pa.repeat(pa.scalar("{}"), batch.num_rows)
    columns = [_members(name, batch.column(name)) for name in kept]
    if any(None in column for column in columns):
        rows = (", ".join(filter(None, row)) for row in zip(*columns, strict=True))
    else:
        rows = map(", ".join, zip(*cast("list[list[str]]", columns), strict=True))
    return pa.array([f"{{{row}}}" for row in rows], pa.string())


def _members(name: str, column: pa.Array) -> list[str | None]:
    """Return `"name": value` of each row; None where the value is left out."""
    key = _encode(name)
    encoded = _encoded(column)
    return [None if value is None else f"{key}: {value}" for value in encoded]


def _encoded(column: pa.Array) -> Iterable[str | None]:
    type_ = column.type
    kinds = pa.types
    if is_text(type_) and not _is_bytes(type_):
        texts = _strings(column)
        if column.null_count:
            return ["null" if text is None else _encode(text) for text in texts]
        return map(_encode, cast("list[str]", texts))
    if kinds.is_integer(type_) or kinds.is_boolean(type_):
        return pc.fill_null(column.cast(pa.string()), "null").to_pylist()
    if kinds.is_floating(type_):
        return [_number(value) for value in _floats(column)]
    if kinds.is_timestamp(type_) and type_.unit == "ns":
        # Python's datetime has no nanoseconds.
        column = column.cast(pa.timestamp("us", tz=type_.tz), safe=False)
    values: list[object] = column.to_pylist(maps_as_pydicts="lossy")
    return [_value(value) for value in values]


def _floats(column: pa.Array) -> list[float | None]:
    if pa.types.is_float64(column.type):
        return column.to_pylist()
    # By way of its text: 0.1 in 32 bits is 0.1, not 0.10000000149011612.
    texts: list[str | None] = column.cast(pa.float32()).cast(pa.string()).to_pylist()
    return [None if text is None else float(text) for text in texts]


def _number(value: float | None) -> str:
    return "null" if value is None or not math.isfinite(value) else repr(value)


def _value(value: object) -> str | None:
    if value is None:
        return "null"
    if _is_vector_value(value):
        return None
    plain = _plain(value)
    return None if plain is _left_out else _ENCODER.encode(plain)


def _strings(column: pa.Array) -> list[str | None]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        # Not every writer of Parquet checks its texts.
        values: list[bytes | None] = column.cast(pa.string()).view(pa.binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "replace") for value in values]


def _is_bytes(type_: pa.DataType) -> bool:
    inner = type_.value_type if pa.types.is_dictionary(type_) else type_
    return bool(
        pa.types.is_binary(inner)
        or pa.types.is_large_binary(inner)
        or pa.types.is_binary_view(inner)
    )


def _is_vector_value(value: object) -> bool:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return len(value) > LONGEST_BYTES
    if not isinstance(value, (list, tuple)):
        return False
    items = cast("Sequence[object]", value)
    if len(items) <= LONGEST_VECTOR or not isinstance(items[0], (int, float)):
        return False
    return any(isinstance(item, float) for item in items) and all(
        isinstance(item, (int, float)) for item in items
    )


def _plain(value: object) -> object:  # noqa: PLR0911 - one return a type
    """Return a value as what JSON has."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return storable(value)
        case float():
            return value if math.isfinite(value) else None
        case bytes() | bytearray() | memoryview():
            return _left_out if len(value) > LONGEST_BYTES else base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return str(value)
        case Mapping():
            members = cast("Mapping[object, object]", value)
            pairs = ((_name(name), _plain(member)) for name, member in members.items())
            return {name: member for name, member in pairs if member is not _left_out}
        case list() | tuple() | set() | frozenset():
            items = (_plain(item) for item in cast("Iterable[object]", value))
            return [item for item in items if item is not _left_out]
        case _:
            return _foreign(value)


def _name(name: object) -> str:
    return storable(str(name))


def _foreign(value: object) -> object:
    # numpy's scalars and arrays know how to become Python's own.
    to_list: Any = getattr(value, "tolist", None)
    if callable(to_list):
        plain: object = to_list()
        return _left_out if _is_vector_value(plain) else _plain(plain)
    return storable(str(value))


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False)
