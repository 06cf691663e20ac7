"""The rows of one executed document, in the batches that a store of other code is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from lexigram_ray.jobs.executor import Executed, Execution


def only(execution: Execution) -> Executed:
    """Return how the one document of an execution ended."""
    (executed,) = (*execution.units, *(each.executed for each in execution.spilled))
    return executed


def row_batches(execution: Execution, most: int) -> Iterator[pa.Table]:
    """Yield all rows in order, so many at once.

    Args:
        execution: Of one document; a large one lies in a file.
        most: Rows.
    """
    import pyarrow as pa

    if execution.rows is not None:
        yield from _slices(execution.rows, most)
    for spilled in execution.spilled:
        with pa.memory_map(spilled.path) as mapped:
            file = pa.ipc.open_file(mapped)
            for number in range(file.num_record_batches):
                yield from _slices(pa.Table.from_batches([file.get_batch(number)]), most)


def _slices(rows: pa.Table, most: int) -> Iterator[pa.Table]:
    for start in range(0, len(rows), most):
        yield rows.slice(start, most)
