"""What a call was given, as a table of texts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import pyarrow as pa

from lexigram_ray.core.errors import UsageError
from lexigram_ray.ingestion.tables import TextTable, open_table, table_of

if TYPE_CHECKING:
    from ray.data import Dataset

BATCH_ROWS = 4_096


def as_table(
    data: object,
    *,
    text_column: str,
    id_column: str | None,
    allowed_roots: tuple[Path, ...] | None = None,
) -> TextTable:
    """Return whatever holds texts as a table.

    Args:
        allowed_roots: As for `open_table`, where `data` is a path.

    Raises:
        UsageError: It holds none, or not in a way that is known.
    """
    if isinstance(data, (str, Path)):
        return open_table(
            data, text_column=text_column, id_column=id_column, allowed_roots=allowed_roots
        )
    if not _is_ray_dataset(data):
        return table_of(data, text_column=text_column, id_column=id_column)
    try:
        return table_of(reader_over(data), text_column=text_column, id_column=id_column)
    except pa.ArrowException as error:
        # Arrow's streams turn whatever goes wrong on the other side into an error of their own.
        raise UsageError(
            f"the Ray Dataset cannot be read: {error}",
            hint="see whether `dataset.materialize()` works, and all blocks have the same columns",
        ) from error


def reader_over(dataset: Dataset) -> pa.RecordBatchReader:
    """Read a Ray Dataset once, in its order, as Arrow.

    Raises:
        UsageError: It has no columns.
    """
    tables: Iterator[pa.Table] = iter(
        dataset.iter_batches(batch_size=BATCH_ROWS, batch_format="pyarrow")
    )
    first = next(tables, None)
    if first is None or not first.num_columns:
        raise UsageError("the Ray Dataset holds no rows", hint="look at it with `dataset.take(1)`")
    batches = chain.from_iterable(
        table.cast(first.schema).to_batches() for table in chain([first], tables)
    )
    return pa.RecordBatchReader.from_batches(first.schema, batches)


def _is_ray_dataset(data: object) -> TypeGuard[Dataset]:
    # Asked by name: a call about a list of texts must not import Ray.
    return any(
        f"{kind.__module__}.{kind.__qualname__}" == "ray.data.dataset.Dataset"
        for kind in type(data).__mro__
    )
