"""Tables of texts from real Lance tables and data frames, and what reading a large one costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lexigram_ray.core.errors import UsageError
from lexigram_ray.ingestion.tables import TextTable, open_table, table_of
from lexigram_ray.jobs.staged import read_unit
from lexigram_ray.jobs.staging import stage

ROWS = 150_000
MOST_MEGABYTES = 200
MEASURE = """
import resource, sys
from pathlib import Path
from lexigram_ray.ingestion.tables import open_table
from lexigram_ray.jobs.staging import stage

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
staged = stage(
    open_table(sys.argv[1]), Path(sys.argv[2]), on_progress=lambda _: None, keep_on=lambda: True
)
print(staged.rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def rows_of(table: TextTable, folder: Path) -> list[dict[str, Any]]:
    staged = stage(table, folder, on_progress=lambda _: None, keep_on=lambda: True)
    assert not staged.refused
    return [row for unit in staged.units for row in read_unit(staged.path, unit).to_pylist()]


def test_a_lance_table_is_read_in_order_at_the_version_it_had_when_opened(tmp_path: Path) -> None:
    path = tmp_path / "docs.lance"
    vectors = pa.FixedSizeListArray.from_arrays(np.ones(3_000 * 384, np.float32), 384)
    data = pa.table(
        {
            "id": pa.array(range(3_000)),
            "text": [f"text {number}" for number in range(3_000)],
            "vector": vectors,
            "n": [number % 7 for number in range(3_000)],
        }
    )
    lance.write_dataset(data, path, max_rows_per_file=1_000)
    lance.dataset(path).delete("id = 1")
    table = open_table(path)
    lance.dataset(path).delete("id > 5")

    rows = rows_of(table, tmp_path / "staged")

    assert [row["id"] for row in rows] == [str(n) for n in range(3_000) if n != 1]
    assert rows[1]["metadata"] == '{"n": 2}'


def test_a_folder_of_lance_tables_asks_which_one(tmp_path: Path) -> None:
    lance.write_dataset(pa.table({"text": ["a"]}), tmp_path / "docs.lance")

    with pytest.raises(UsageError, match="holds no table") as error:
        open_table(tmp_path)

    assert error.value.hint == f"name one table: {tmp_path}/docs.lance"


def test_a_pandas_frame_keeps_its_named_index_and_its_gaps(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"text": ["a", "b", "c"], "mixed": [1, "two", None], "when": pd.Timestamp("2024-01-02")},
        index=pd.Index([5, 6, 7], name="id"),
    )
    plain = frame.reset_index(drop=True)[["text", "when"]].iloc[1:]

    of_index = rows_of(table_of(frame[["text", "when"]]), tmp_path)
    of_mixed = rows_of(table_of(frame.reset_index()), tmp_path)
    of_plain = rows_of(table_of(plain), tmp_path)

    assert [row["id"] for row in of_index] == ["5", "6", "7"]
    assert [json.loads(row["metadata"])["mixed"] for row in of_mixed] == [1, "two", None]
    assert [row["metadata"] for row in of_plain] == ['{"when": "2024-01-02T00:00:00"}'] * 2


def test_a_pandas_series_is_a_list_of_texts(tmp_path: Path) -> None:
    texts = pd.Series(["a", None, "c"], index=[7, 8, 9])

    (rows,) = table_of(texts).rows()

    assert rows.batch.column("text").to_pylist() == ["a", None, "c"]
    assert [row["text"] for row in rows_of(table_of(texts.dropna()), tmp_path)] == ["a", "c"]
    assert table_of(texts.astype("string")).source == table_of(["a", None, "c"]).source


def test_a_frame_that_repeats_a_name_asks_for_names() -> None:
    frame = pd.DataFrame([["a", 1, 2]], columns=["text", "n", "n"])

    with pytest.raises(UsageError, match="has 2 columns named 'n'") as error:
        table_of(frame)

    assert str(error.value.hint).startswith("rename the columns")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.csv"])
def test_memory_does_not_grow_with_a_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_large(path)

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "staged")],
        capture_output=True,
        text=True,
        check=True,
    )

    rows, megabytes = map(int, done.stdout.split())
    assert rows == ROWS
    assert megabytes < MOST_MEGABYTES


def write_large(path: Path) -> None:
    """Write rows of 2,000 characters, 300 MB in all, Parquet as one row group of them all."""
    words = "of the table and every one is as long as the others are " * 36
    texts = [f"{number:08d} {words}" for number in range(ROWS)]
    if path.suffix == ".parquet":
        table = pa.table({"id": pa.array(range(ROWS)), "text": texts, "lang": ["en"] * ROWS})
        pq.write_table(table, path, row_group_size=ROWS, use_dictionary=False)
        return
    with path.open("w") as file:
        if path.suffix == ".csv":
            file.write("id,text,lang\n")
            file.writelines(f"{number},{text},en\n" for number, text in enumerate(texts))
        else:
            file.writelines(
                f'{{"id": {number}, "text": "{text}", "lang": "en"}}\n'
                for number, text in enumerate(texts)
            )
