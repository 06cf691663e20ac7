"""Staging: which rows are kept, what they become, and what is left when it ends early."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexigram_ray.core.errors import DiskFullError, UsageError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.ingestion.table_checks import SeenIds
from lexigram_ray.ingestion.table_rows import TextTable
from lexigram_ray.ingestion.tables import open_table, table_of
from lexigram_ray.jobs.staged import BATCH_ROWS, StagedTable, read_unit, staged_schema
from lexigram_ray.jobs.staged_sidecar import sidecar_of
from lexigram_ray.jobs.staging import StagingStopped, remove_left_behind, stage


def staged(table: TextTable, folder: Path, **changed: Callable[..., Any]) -> StagedTable:
    return stage(
        table,
        folder,
        on_progress=changed.get("on_progress", lambda _: None),
        keep_on=changed.get("keep_on", lambda: True),
    )


def rows_of(result: StagedTable) -> list[dict[str, Any]]:
    return [row for unit in result.units for row in read_unit(result.path, unit).to_pylist()]


def refused_of(result: StagedTable) -> list[tuple[int, str, str]]:
    return [(row.row, row.failure.code, row.row_id) for row in result.refused]


def test_a_row_becomes_a_document_of_its_own(tmp_path: Path) -> None:
    data = pa.table({"text": ["Grüße"], "id": [7], "title": ["T"], "b": [None], "a": ["x"]})

    result = staged(table_of(data, source="src"), tmp_path)

    assert rows_of(result) == [
        {
            "id": "7",
            "document_id": "7",
            "source": "src",
            "title": "T",
            "text": "Grüße",
            "chunk_index": 0,
            "page": None,
            "char_start": 0,
            "char_end": 5,
            "headings": [],
            "content_hash": hash_text("Grüße"),
            "metadata": '{"a": "x", "b": null}',
        }
    ]
    assert (result.read, result.rows, result.characters, result.source) == (1, 1, 5, "src")
    assert pa.ipc.open_file(pa.memory_map(str(result.path))).schema.equals(
        staged_schema(), check_metadata=True
    )


def test_rows_without_ids_are_numbered_by_their_source(tmp_path: Path) -> None:
    result = staged(table_of(["a", " ", "b"], source="src"), tmp_path)

    assert [row["id"] for row in rows_of(result)] == [hash_text("src#0"), hash_text("src#2")]
    assert refused_of(result) == [(1, "empty_text", hash_text("src#1"))]


def test_every_row_that_cannot_be_embedded_is_refused_with_its_reason(tmp_path: Path) -> None:
    rows: list[object] = [
        {"id": "a", "text": "first"},
        {"id": "b", "text": None},
        {"id": "c", "text": ""},
        {"id": "d", "text": " \n\t\u3000"},
        {"id": "e", "text": ["a list"]},
        {"id": None, "text": "no id"},
        {"id": "", "text": "empty id"},
        {"id": "x" * 1001, "text": "long id"},
        {"id": "n\0", "text": "NUL"},
        {"id": "\ud800", "text": "half a pair"},
        {"id": True, "text": "no id either"},
        {"id": "a", "text": "again"},
        {"id": "b", "text": "the first that counts"},
        "a text alone",
        {"id": "x" * 1000, "text": "last"},
    ]

    result = staged(table_of(rows), tmp_path)

    assert [row["text"] for row in rows_of(result)] == ["first", "the first that counts", "last"]
    assert refused_of(result) == [
        (1, "empty_text", "b"),
        (2, "empty_text", "c"),
        (3, "empty_text", "d"),
        (4, "not_text", "e"),
        (5, "invalid_id", ""),
        (6, "invalid_id", ""),
        (7, "invalid_id", ""),
        (8, "invalid_id", ""),
        (9, "invalid_id", ""),
        (10, "invalid_id", ""),
        (11, "repeated_id", "a"),
        (13, "invalid_id", ""),
    ]
    assert {row.failure.category for row in result.refused} == {FailureCategory.INVALID_INPUT}
    assert (result.read, result.rows) == (15, 3)


def test_broken_rows_of_a_file_are_refused_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "text": "a"}\n{"id": 2, "te\n{"id": 3, "text": "c"}\n')

    result = staged(open_table(path), tmp_path / "staged")

    assert [row["id"] for row in rows_of(result)] == ["1", "3"]
    assert refused_of(result) == [(1, "unreadable_row", "")]
    assert result.refused[0].failure.reason.startswith("it is not JSON")


def test_texts_stay_as_they_are_but_for_what_no_table_can_hold(tmp_path: Path) -> None:
    kept = "  a\r\nb\f\u2028\ufeff\u200b  "
    broken = pa.array(
        [b"fine", b"caf\xe9 au lait", "\ud83d\ude00".encode("utf-8", "surrogatepass")]
    )

    of_texts = staged(table_of([kept, "nul\0here", "half \ud800", "\ud83d\ude00"]), tmp_path)
    of_bytes = staged(table_of(pa.table({"text": broken.cast(pa.binary())})), tmp_path)

    assert [row["text"] for row in rows_of(of_texts)] == [kept, "nulhere", "half \ufffd", "😀"]
    assert [row["text"] for row in rows_of(of_bytes)] == ["fine", "café au lait", "😀"]


def test_texts_of_parquet_that_are_no_utf8_are_read(tmp_path: Path) -> None:
    invalid = pa.array([b"caf\xe9", b"good"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": invalid, "more": invalid}), tmp_path / "a.parquet")

    result = staged(open_table(tmp_path / "a.parquet"), tmp_path)

    assert [row["text"] for row in rows_of(result)] == ["café", "good"]
    assert json.loads(rows_of(result)[0]["metadata"]) == {"more": "caf\ufffd"}


def test_metadata_holds_every_kind_of_value(tmp_path: Path) -> None:
    data = pa.table(
        {
            "text": ["a"],
            "time": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", "UTC")),
            "day": [date(2024, 2, 29)],
            "price": [Decimal("12.50")],
            "half": pa.array([0.1], pa.float32()),
            "nan": [float("nan")],
            "bytes": [b"\xff\0"],
            "large": [b"x" * 5000],
            "yes": [True],
            "big": pa.array([2**63], pa.uint64()),
            "kind": pa.array(["k"]).dictionary_encode(),
            "tree": [{"b": [1, None], "a": {"when": datetime(2024, 1, 1, tzinfo=UTC)}}],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "vector": [[0.25] * 65],
            "fixed": pa.array([[0.5] * 100], pa.list_(pa.float32(), 100)),
            "short": [[0.25] * 2],
            "view": pa.array(["v"], pa.string_view()),
            'quo"ted': ["\n\\"],
        }
    )

    result = staged(table_of(data), tmp_path)

    metadata = rows_of(result)[0]["metadata"]
    assert json.loads(metadata) == {
        "time": "2023-11-14T22:13:20.123456+00:00",
        "day": "2024-02-29",
        "price": "12.50",
        "half": 0.1,
        "nan": None,
        "bytes": "/wA=",
        "yes": True,
        "big": 2**63,
        "kind": "k",
        "tree": {"a": {"when": "2024-01-01T00:00:00+00:00"}, "b": [1, None]},
        "map": {"k": 1},
        "short": [0.25, 0.25],
        "view": "v",
        'quo"ted': "\n\\",
    }
    assert list(json.loads(metadata)) == sorted(json.loads(metadata))


def test_values_of_json_and_of_columns_make_the_same_metadata(tmp_path: Path) -> None:
    rows = [
        {"id": f"{n}", "text": "a", "s": f"ä{n}", "n": n, "f": n / 3, "l": [n]} for n in range(9)
    ]

    of_rows = staged(table_of(rows, source="s"), tmp_path)
    of_columns = staged(table_of(pa.Table.from_pylist(rows), source="s"), tmp_path)

    assert rows_of(of_rows) == rows_of(of_columns)
    assert of_rows.digest == of_columns.digest


def test_odd_values_of_dictionaries_become_json(tmp_path: Path) -> None:
    odd = {
        "np": np.float32(0.5),
        "array": np.arange(3),
        "embedding": np.ones(384),
        "set": {1},
        "nan": [float("inf")],
        "half": "\ud800",
        3: "three",
    }

    result = staged(table_of([{"text": "a"} | odd]), tmp_path)  # pyright: ignore[reportArgumentType]

    assert json.loads(rows_of(result)[0]["metadata"]) == {
        "np": 0.5,
        "array": [0, 1, 2],
        "set": [1],
        "nan": [None],
        "half": "\ufffd",
        "3": "three",
    }


def test_passages_keep_their_documents(tmp_path: Path) -> None:
    class Passage:
        text, document_id, index, page = "abc", "doc", 3, 2
        char_start, title, headings = 10, "Title", ["A", "B"]
        metadata = {"k": 1}  # noqa: RUF012

    (row,) = rows_of(staged(table_of([Passage()]), tmp_path))

    assert row | {"content_hash": ""} == {
        "id": "doc:3",
        "document_id": "doc",
        "source": "data",
        "title": "Title",
        "text": "abc",
        "chunk_index": 3,
        "page": 2,
        "char_start": 10,
        "char_end": 13,
        "headings": ["A", "B"],
        "content_hash": "",
        "metadata": '{"k": 1}',
    }


def test_the_file_is_cut_into_even_batches_however_rows_come(tmp_path: Path) -> None:
    texts = [f"text {number}" if number % 10 else "" for number in range(3_000)]
    whole = pa.table({"id": pa.array(range(3_000)), "text": texts})
    odd = pa.Table.from_batches(whole.to_batches(max_chunksize=97))

    one = staged(table_of(whole, source="s"), tmp_path / "one")
    other = staged(table_of(odd, source="s"), tmp_path / "other")

    file = pa.ipc.open_file(pa.memory_map(str(one.path)))
    sizes = [file.get_batch(place).num_rows for place in range(file.num_record_batches)]
    assert sizes == [BATCH_ROWS] * 5 + [2_700 - 5 * BATCH_ROWS]
    assert rows_of(one) == rows_of(other)
    assert (one.digest, one.units, one.refused) == (other.digest, other.units, other.refused)
    assert sum(unit.characters for unit in one.units) == sum(map(len, texts)) == one.characters


@pytest.mark.parametrize(
    "change",
    [
        {"text": "other"},
        {"id": "other"},
        {"title": "other"},
        {"more": "other"},
        {"text": ""},
        {"id": "twin", "text": "twins"},
    ],
)
def test_the_digest_hangs_on_all_that_is_staged(tmp_path: Path, change: dict[str, str]) -> None:
    row = {"id": "one", "text": "a", "title": "t", "more": "m"}
    twin = {"id": "twin", "text": "b", "title": "", "more": ""}

    one, other = (
        staged(table_of(rows, source="s"), tmp_path) for rows in ([row, twin], [row | change, twin])
    )

    assert one.digest != other.digest
    assert staged(table_of([row, twin], source="s"), tmp_path).digest == one.digest


def test_the_same_rows_are_kept_once_and_the_file_of_before_stays(tmp_path: Path) -> None:
    first = staged(table_of(["a", "b"]), tmp_path)
    before = first.path.stat()

    second = staged(table_of(["a", "b"]), tmp_path)

    assert second == first
    assert first.path.stat().st_ino == before.st_ino
    assert set(tmp_path.iterdir()) == {first.path, sidecar_of(first.path)}


def test_no_rows_make_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()

    result = staged(open_table(tmp_path / "empty.jsonl"), tmp_path / "staged")

    assert (result.read, result.rows, result.units, result.refused) == (0, 0, (), ())
    assert pa.ipc.open_file(pa.memory_map(str(result.path))).num_record_batches == 0


def test_staging_that_is_stopped_leaves_no_file(tmp_path: Path) -> None:
    seen: list[int] = []
    table = table_of([f"text {number}" for number in range(20_000)])

    with pytest.raises(StagingStopped):
        staged(table, tmp_path, on_progress=seen.append, keep_on=lambda: len(seen) < 2)

    assert seen == [4_096, 8_192]
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_fails_midway_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    texts = [f"{os.urandom(300).hex()}" for _ in range(20_000)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=5_000, compression="snappy")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 50_000] = b"\xff" * 50_000
    path.write_bytes(data)

    with pytest.raises(UsageError, match=r"a.parquet is damaged"):
        staged(open_table(path), tmp_path / "staged")

    assert list((tmp_path / "staged").iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(DiskFullError, match="no space left to keep the rows") as error:
        staged(table_of(["a"]), tmp_path)

    assert error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_staging_left_goes_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".staging-old", tmp_path / ".staging-new"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))

    remove_left_behind(tmp_path)

    assert list(tmp_path.iterdir()) == [new]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 60).map(str), max_size=40), max_size=12))
def test_ids_are_told_from_those_before_in_any_order(batches: list[list[str]]) -> None:
    seen, known = SeenIds(), set[str]()

    for batch in batches:
        found = seen.repeated(pa.array(batch, pa.string())).tolist()
        wanted: list[bool] = []
        for value in batch:
            wanted.append(value in known)
            known.add(value)
        assert found == wanted
