"""A staged table: the checked rows of a text table in one Arrow file, cut into units.

Staging makes a job independent of its input: what it resumes on is what it began with, row for
row, and any process can read any unit by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lexigram_ray.core.types import Failure
from lexigram_ray.vectors.schema import collection_schema

SUFFIX = ".arrow"
BATCH_ROWS = 512
"""Rows of a record batch of the file; units are runs of whole batches."""

MOST_UNITS = 256
MOST_UNIT_ROWS = 4_096
UNIT_PREFIX = "rows:"
ADDED_WHEN_EMBEDDED = ("vector", "job_id", "created_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedUnit:
    """A fixed range of rows: what is embedded, committed and repeated together.

    Attributes:
        index: Its place among the units, from 0.
        first_batch, batches: Its record batches in the file.
        rows: Of it; none of them refused.
        characters: In the texts of its rows.
    """

    index: int
    first_batch: int
    batches: int
    rows: int
    characters: int

    @property
    def unit_id(self) -> str:
        """The unit's name in the store; in their order, names sort as units do."""
        return f"{UNIT_PREFIX}{self.index:06d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A row of the input that cannot be embedded.

    Attributes:
        row: Its number in the input, from 0.
        row_id: Its id where it has a usable one.
    """

    row: int
    row_id: str
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedTable:
    """What staging made of an input.

    Attributes:
        source: What users call the input.
        path: The Arrow IPC file, with the columns of `staged_schema`.
        digest: Over all rows in order, refused ones too: equal inputs have equal digests.
        read: Rows of the input, `rows + len(refused)`.
        rows: Rows of the file.
        characters: In all their texts.
    """

    source: str
    path: Path
    digest: str
    read: int
    rows: int
    characters: int
    units: tuple[StagedUnit, ...]
    refused: tuple[RefusedRow, ...]


def staged_schema() -> pa.Schema:
    """Return a collection's columns but those that embedding adds."""
    whole = collection_schema(1)
    return pa.schema([field for field in whole if field.name not in ADDED_WHEN_EMBEDDED])


def read_unit(path: Path, unit: StagedUnit) -> pa.Table:
    """Read a unit's rows. The file is mapped: texts are not copied."""
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    places = range(unit.first_batch, unit.first_batch + unit.batches)
    return pa.Table.from_batches([file.get_batch(place) for place in places], file.schema)


def read_staged(path: Path) -> pa.Table:
    """Read all rows of a staged table. The file is mapped: nothing is copied."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def units_of(rows: Sequence[int], characters: Sequence[int]) -> tuple[StagedUnit, ...]:
    """Cut a file's record batches into units.

    Depends on nothing but the file, so that a resumed job has the same units. Few and large units
    for large inputs, so that a million rows are some hundred records of the store; small ones
    for small inputs, so that little is lost with a worker.

    Args:
        rows: Of each record batch.
        characters: In the texts of each record batch.
    """
    total = sum(rows)
    wanted = min(MOST_UNIT_ROWS, max(BATCH_ROWS, -(-total // MOST_UNITS)))
    step = -(-wanted // BATCH_ROWS)
    return tuple(
        StagedUnit(
            index=index,
            first_batch=first,
            batches=min(step, len(rows) - first),
            rows=sum(rows[first : first + step]),
            characters=sum(characters[first : first + step]),
        )
        for index, first in enumerate(range(0, len(rows), step))
    )
