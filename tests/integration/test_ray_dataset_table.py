"""A Ray Dataset as a table of texts."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
import ray.data

from lexigram_ray.core.errors import UsageError
from lexigram_ray.notebook.data import BATCH_ROWS, as_table
from tests.integration.local_ray import local_ray  # noqa: F401

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


def test_a_ray_dataset_is_read_row_for_row_and_again() -> None:
    rows = [{"id": f"r{n}", "text": f"Rule {n}.", "n": n} for n in range(10_000)]
    dataset = ray.data.from_items(rows, override_num_blocks=4)
    table = as_table(dataset, text_column="text", id_column=None)
    once, again = (
        [row for part in table.rows() for row in part.batch.to_pylist()] for _ in range(2)
    )

    assert table.id_column == "id"
    assert sorted(once, key=lambda row: row["n"]) == rows
    assert again == once


def test_an_empty_dataset_is_wrong_use() -> None:
    empty = ray.data.from_items([{"text": "x"}]).map_batches(
        lambda batch: {"text": batch["text"][:0]}
    )

    with pytest.raises(UsageError, match="holds no rows"):
        as_table(empty, text_column="text", id_column=None)


class Changing:
    """Forces what Ray Data itself evens out in most cases: batches of different types."""

    __module__, __qualname__ = "ray.data.dataset", "Dataset"

    def iter_batches(self, *, batch_size: int, batch_format: str) -> Iterator[pa.Table]:
        assert (batch_size, batch_format) == (BATCH_ROWS, "pyarrow")
        yield pa.table({"text": ["a"], "n": [1]})
        yield pa.table({"text": ["b"], "n": ["many"]})


def test_batches_of_different_types_are_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"cannot be read: .*many"):
        as_table(Changing(), text_column="text", id_column=None)
