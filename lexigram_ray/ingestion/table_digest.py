"""One hash over the rows of a table, however they are cut into batches."""

from __future__ import annotations

from typing import Any

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from lexigram_ray.core.ids import HASH_BYTES
from lexigram_ray.ingestion.table_checks import bytes_of

# Its functions are made while it is imported: no checker of types sees them.
pc: Any = pyarrow.compute


class RowsDigest:
    """A hash over columns, each as the run of its values and the run of their lengths.

    Both runs are the same wherever a batch ends, and no two different columns have both.

    Args:
        leave_out: Columns that others stand for.
    """

    def __init__(self, *, leave_out: frozenset[str]) -> None:
        self._leave_out = leave_out
        self._runs: dict[str, blake3.blake3] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in rows with columns of strings, lists of strings and whole numbers."""
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if field.name not in self._leave_out:
                self._add(field.name, column)

    def add_text(self, text: str) -> None:
        """Take in something beside the rows."""
        data = text.encode("utf-8", "surrogatepass")
        self._run("beside").update(len(data).to_bytes(8, "little") + data)

    def value(self) -> str:
        """Return 32 hex digits."""
        whole = blake3.blake3()
        for name in sorted(self._runs):
            whole.update(f"{name}\0{self._runs[name].hexdigest()}\0".encode())
        return whole.hexdigest(length=HASH_BYTES)

    def _add(self, name: str, column: pa.Array) -> None:
        if pa.types.is_list(column.type):
            lengths = pc.fill_null(pc.list_value_length(column), -1)
            self._add_numbers(f"{name} list", lengths.to_numpy(zero_copy_only=False))
            self._add(f"{name} item", column.flatten())
        elif pa.types.is_string(column.type):
            data, offsets = bytes_of(pc.fill_null(column, ""))
            self._run(name).update(data)
            self._add_numbers(f"{name} length", np.diff(offsets))
        else:
            self._add_numbers(name, pc.fill_null(column, -1).to_numpy(zero_copy_only=False))

    def _add_numbers(self, name: str, numbers: NDArray[np.integer]) -> None:
        self._run(name).update(numbers.astype("<i8").tobytes())

    def _run(self, name: str) -> blake3.blake3:
        return self._runs.setdefault(name, blake3.blake3())
