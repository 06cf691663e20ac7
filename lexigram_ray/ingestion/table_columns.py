"""Which column holds the texts and which the ids, told before any work is done."""

from __future__ import annotations

import contextlib
import difflib
import shlex
from collections.abc import Generator, Sequence

import pyarrow as pa

from lexigram_ray.core.errors import UsageError
from lexigram_ray.ingestion.table_rows import DEFAULT_ID, Wanted

LONGEST_VECTOR = 64
"""Lists of more numbers than these are vectors of another model, not facts of a row."""

_SHOWN = 20
_USUAL_NAMES = ("text", "content", "body", "document", "passage", "sentence", "abstract", "chunk")


def chosen_id(wanted: Wanted, names: Sequence[str]) -> str | None:
    """Return the id column of a table that has these columns; None numbers its rows.

    A table of no columns at all is an empty one, and has what is asked.

    Raises:
        UsageError: The text column or the id column is not among them, or is there twice.
    """
    if not names:
        return wanted.id_column
    _check_column(wanted.source, wanted.text_column, "text", names)
    if wanted.id_column is None:
        if DEFAULT_ID not in names or wanted.text_column == DEFAULT_ID:
            return None
        _check_column(wanted.source, DEFAULT_ID, "id", names)
        return DEFAULT_ID
    _check_column(wanted.source, wanted.id_column, "id", names)
    if wanted.id_column == wanted.text_column:
        raise UsageError(
            f"{wanted.source}: the column {wanted.id_column!r} cannot hold both texts and ids",
            hint="leave --id-column out: rows without ids are numbered",
        )
    return wanted.id_column


def chosen_id_of_schema(wanted: Wanted, schema: pa.Schema) -> str | None:
    """Return the id column of a typed table, as `chosen_id`.

    Raises:
        UsageError: A column is missing, or holds what is neither text nor an id.
    """
    id_column = chosen_id(wanted, schema.names)
    if not schema.names:
        return id_column
    text_type = schema.field(wanted.text_column).type
    if not (is_text(text_type) or pa.types.is_null(text_type)):
        raise UsageError(
            f"{wanted.source}: the column {wanted.text_column!r} holds {text_type}, not text",
            hint=_option("text", _suggested("", _text_columns(schema)) or "NAME"),
        )
    if id_column is not None and pa.types.is_nested(schema.field(id_column).type):
        raise UsageError(
            f"{wanted.source}: the column {id_column!r} holds {schema.field(id_column).type}, "
            "not ids",
            hint=_option("id", "NAME") + ", or rename it: rows without ids are numbered",
        )
    return id_column


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names of which later ones that repeat an earlier one get a number: `a`, `a_2`."""
    taken: set[str] = set()
    unique: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate)
        unique.append(candidate)
    return unique


def is_text(type_: pa.DataType) -> bool:
    """Whether values of this type are texts, or bytes that may be."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    kinds = pa.types
    return bool(
        kinds.is_string(type_)
        or kinds.is_large_string(type_)
        or kinds.is_string_view(type_)
        or kinds.is_binary(type_)
        or kinds.is_large_binary(type_)
        or kinds.is_binary_view(type_)
    )


def is_vector(type_: pa.DataType) -> bool:
    """Whether all values of this type are vectors, which are not read at all."""
    return bool(
        pa.types.is_fixed_size_list(type_)
        and pa.types.is_floating(type_.value_type)
        and type_.list_size > LONGEST_VECTOR
    )


@contextlib.contextmanager
def reading(source: str) -> Generator[None]:
    """Translate what the readers of a format raise.

    Raises:
        UsageError: The table cannot be read, and why.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(
            f"no such file or folder: {error.filename or source}", hint="check the path; see `ls`"
        ) from error
    except PermissionError as error:
        raise UsageError(
            f"{source} may not be read", hint="check its permissions with `ls -l`"
        ) from error
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        why = str(error).partition("\n")[0][:300]
        raise UsageError(
            f"{source} is damaged or not what its name says: {why}",
            hint="write or download the file again",
        ) from error


def _check_column(source: str, column: str, role: str, names: Sequence[str]) -> None:
    count = list(names).count(column)
    if count == 1:
        return
    if count > 1:
        raise UsageError(
            f"{source} has {count} columns named {column!r}", hint="rename all but one of them"
        )
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    nearest = _suggested(column, names) if role == "text" else _nearest(column, names)
    raise UsageError(
        f"{source} has no column {column!r}; it has: {shown}{more}",
        hint=_option(role, nearest or "NAME"),
    )


def _option(role: str, name: str) -> str:
    return f"--{role}-column {shlex.quote(name)}"


def _suggested(column: str, names: Sequence[str]) -> str | None:
    lowered = {name.lower(): name for name in reversed(names)}
    usual = next((lowered[name] for name in _USUAL_NAMES if name in lowered), None)
    return _nearest(column, names) or usual or (names[0] if len(names) == 1 else None)


def _nearest(column: str, names: Sequence[str]) -> str | None:
    lowered = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(column.lower(), list(lowered), 1, 0.6)
    return lowered[close[0]] if close else None


def _text_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if is_text(field.type)]
