"""Tables of texts: every format, every encoding, and what is wrong with single rows."""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from lexigram_ray.core.errors import PathNotAllowedError, UsageError
from lexigram_ray.core.types import Chunk
from lexigram_ray.ingestion import table_csv, table_text
from lexigram_ray.ingestion.table_rows import ROWS_AT_ONCE
from lexigram_ray.ingestion.tables import TextTable, open_table, table_of

ROWS = [
    {"id": "007", "text": 'He said "hi",\nand left.', "lang": "en"},
    {"id": "8", "text": "Grüße aus Köln; Straße, 20 €", "lang": "de"},
    {"id": "x y", "text": "  日本語 😀", "lang": ""},
]


def parquet(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=2)
    return sink.getvalue()


def ipc_file(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.feather.write_feather(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def feather_1(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.feather.write_feather(pa.Table.from_pylist(rows), sink, version=1)
    return sink.getvalue()


def ipc_stream(rows: list[dict[str, str]]) -> bytes:
    table, sink = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def json_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def csv_text(rows: list[dict[str, str]], delimiter: str = ",", newline: str = "\r\n") -> str:
    import csv

    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, list(rows[0]), delimiter=delimiter, lineterminator=newline)
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


FILES: dict[str, Callable[[], bytes]] = {
    "rows.parquet": lambda: parquet(ROWS),
    "no suffix, parquet": lambda: parquet(ROWS),
    "wrong.csv": lambda: parquet(ROWS),
    "rows.feather": lambda: ipc_file(ROWS),
    "rows.arrow": lambda: ipc_file(ROWS),
    "rows.arrows": lambda: ipc_stream(ROWS),
    "rows-1.feather": lambda: feather_1(ROWS),
    "rows.jsonl": lambda: json_lines(ROWS),
    "blank lines.ndjson": lambda: b"\n" + json_lines(ROWS).replace(b"\n", b"\r\n\n"),
    "mark.jsonl": lambda: b"\xef\xbb\xbf" + json_lines(ROWS),
    "escaped.jsonl": lambda: "\n".join(map(json.dumps, ROWS)).encode(),
    "wide.jsonl": lambda: json_lines(ROWS).decode().encode("utf-16"),
    "rows.jsonl.gz": lambda: gzip.compress(json_lines(ROWS)),
    "members.jsonl.gz": lambda: b"".join(gzip.compress(json_lines([row])) for row in ROWS),
    "rows.jsonl.zst": lambda: zstd(json_lines(ROWS)),
    "packed without a suffix": lambda: gzip.compress(json_lines(ROWS)),
    "array.json": lambda: json.dumps(ROWS).encode(),
    "pretty.json": lambda: json.dumps(ROWS, indent=2, ensure_ascii=False).encode(),
    "lines.json": lambda: json_lines(ROWS),
    "objects.json": lambda: "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
    "array.json.gz": lambda: gzip.compress(json.dumps(ROWS).encode()),
    "rows.csv": lambda: csv_text(ROWS).encode(),
    "rows.csv.gz": lambda: gzip.compress(csv_text(ROWS).encode()),
    "mark.csv": lambda: csv_text(ROWS).encode("utf-8-sig"),
    "wide.csv": lambda: csv_text(ROWS).encode("utf-16"),
    "wide without mark.csv": lambda: csv_text(ROWS).encode("utf-16-le"),
    "semicolons.csv": lambda: csv_text(ROWS, ";", "\n").encode(),
    "rows.tsv": lambda: csv_text(ROWS, "\t", "\n").encode(),
    "bars.txt": lambda: csv_text(ROWS, "|", "\n").encode(),
}


def rows_of(table: TextTable) -> list[dict[str, Any]]:
    """Read all rows twice, the further values of JSON beside the columns."""
    rows = list(_read(table))
    assert list(_read(table)) == rows
    return rows


def _read(table: TextTable) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in table.rows():
        assert part.first_row == len(found)
        rest = (
            [{}] * part.batch.num_rows
            if part.rest is None
            else map(json.loads, part.rest.to_pylist())
        )
        found += [row | more for row, more in zip(part.batch.to_pylist(), rest, strict=True)]
    return found


def broken_of(table: TextTable) -> dict[int, str]:
    return {row.row: row.reason for part in table.rows() for row in part.broken}


def texts_of(table: TextTable) -> list[str | None]:
    return [row[table.text_column] for row in rows_of(table)]


def write(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, FILES[name]())

    table = open_table(path)

    kept = [{k: v for k, v in row.items() if k in ROWS[0]} for row in rows_of(table)]
    assert kept == ROWS
    assert (table.id_column, table.source) == ("id", str(path))
    assert not broken_of(table)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "déjà vu à Orléans"),
        ("cp1252", "20 € “quoted”"),
        ("shift_jis", "日本語の文章" * 9),
    ],
)
def test_a_csv_in_an_old_encoding_is_read_even_where_it_shows_late(
    tmp_path: Path, encoding: str, text: str
) -> None:
    lines = ["id,text"] + ["1,plain words only"] * 9_000 + [f"2,{text}"]
    path = write(tmp_path, "old.csv", "\n".join(lines).encode(encoding))

    assert texts_of(open_table(path))[-1] == text


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("encoding", "text"), [("latin-1", "déjà vu à Orléans"), ("shift_jis", "日本語の文章" * 9)]
)
def test_an_array_in_an_old_encoding_is_read_even_where_it_shows_late(
    tmp_path: Path, encoding: str, text: str, packed: bool
) -> None:
    members = [{"text": "plain words only"}] * 60_000 + [{"text": text}]
    data = json.dumps(members, ensure_ascii=False).encode(encoding)
    path = write(tmp_path, "old.json", gzip.compress(data, 1) if packed else data)

    assert texts_of(open_table(path))[-1] == text


def test_blocks_of_a_text_cut_no_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_text, "_BLOCK", 7)
    members = [{"text": "日本語の文章" * 9}, {"text": "ä, ö 😀"}]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        data = json.dumps(members, ensure_ascii=False).encode(encoding)

        assert texts_of(open_table(write(tmp_path, "a.json", data))) == [
            member["text"] for member in members
        ]


def test_one_broken_character_does_not_turn_utf8_into_another_encoding(tmp_path: Path) -> None:
    good = '{"text": "Grüße aus München und Köln"}\n'.encode()
    path = write(tmp_path, "a.jsonl", good * 3 + good.replace("ß".encode(), b"\xc3"))

    assert texts_of(open_table(path))[3] == "Gr\u00fc\ufffde aus München und Köln"


def test_a_csv_of_carriage_returns_has_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "mac.csv", "id,text\ra,one\rb,two\r")

    assert texts_of(open_table(path)) == ["one", "two"]


def test_a_broken_line_of_json_is_one_row(tmp_path: Path) -> None:
    lines = ['{"text": "a"}', '{"text": "b"', "[1]", '{"text": 5}', '{"n": 1}', '{"text": "c"}']
    path = write(tmp_path, "a.jsonl", "\n".join(lines) + '\n{"text": "cut o')

    table = open_table(path)

    assert texts_of(table) == ["a", None, None, None, None, "c", None]
    assert broken_of(table) == {
        1: "it is not JSON: Expecting ',' delimiter at character 13",
        2: "it is a list, not an object",
        3: "its 'text' is a number, not text",
        6: "it is not JSON: Unterminated string starting at at character 10",
    }


def test_fields_of_changing_types_are_kept_however_late_they_change(tmp_path: Path) -> None:
    plain = [{"text": f"row {number}", "n": number} for number in range(3 * ROWS_AT_ONCE)]
    odd = [{"text": "odd", "n": {"deep": [1, "two", None]}, "new": 1.5}, {"text": "x", "n": "s"}]
    path = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, plain + odd)))

    assert rows_of(open_table(path))[-2:] == [row | {"title": None} for row in odd]


@pytest.mark.parametrize("between", [",\n", ", ", ",\n  "])
@pytest.mark.parametrize(
    "broken",
    [
        '{"text": "no comma" "tags": [{"a": 1}, {"b": 2}]}',
        '{"text": "odd word", "tags": [{"a": none}, {"b": 2}]}',
    ],
)
def test_a_broken_member_of_an_array_is_one_row(tmp_path: Path, between: str, broken: str) -> None:
    members = [
        f'{{"text": "{number} {"x" * 400}", "tags": [{{"a": 1}}, {{"b": 2}}]}}'
        for number in range(9_000)
    ]
    members[5_000] = broken
    path = write(tmp_path, "a.json", f"[{between[1:]}{between.join(members)}]")

    table = open_table(path)

    texts = texts_of(table)
    assert list(broken_of(table)) == [5_000]
    assert len(texts) == 9_000
    assert texts[4_999:5_002:2] == [f"{number} {'x' * 400}" for number in (4_999, 5_001)]


@pytest.mark.parametrize(
    "broken",
    [
        '{"text": "b}',
        '{"text": b"}',
        '{text": "b"}',
        '{"text": "He said "hi" to me"}',
        '{"text": "b", "tags": [1}',
        "oops",
    ],
)
@pytest.mark.parametrize("between", [",", ", "])
def test_a_broken_member_of_an_array_in_one_line_leaves_its_neighbours(
    tmp_path: Path, between: str, broken: str
) -> None:
    members = ['{"text": "a"}', broken, '{"text": "c"}', '{"text": "d"}']
    path = write(tmp_path, "a.json", f"[{between.join(members)}]")

    table = open_table(path)

    assert texts_of(table) == ["a", None, "c", "d"]
    assert list(broken_of(table)) == [1]


def test_where_members_cannot_be_told_apart_the_reason_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '[{"text": "a"}, {"text": "b, {"text": "c"}]')

    (reason,) = broken_of(open_table(path)).values()

    assert reason.endswith(", and what follows it cannot be told apart")


@pytest.mark.parametrize("broken", ['{"text": "open', '{"text": "x", "tags": [{"a": 1}, {"b": 2}]'])
def test_a_member_without_an_end_costs_its_own_lines_only(tmp_path: Path, broken: str) -> None:
    path = write(tmp_path, "a.json", f'[\n{{"text": "a"}},\n{broken},\n{{"text": "c"}}\n]')

    assert texts_of(open_table(path)) == ["a", None, "c"]


def test_an_array_that_is_cut_off_loses_its_last_member_only(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '[{"text": "one"}, {"text": "two"}, {"text": "thr')

    table = open_table(path)

    assert texts_of(table) == ["one", "two", None]
    assert list(broken_of(table)) == [2]


def test_a_member_larger_than_any_block_is_read(tmp_path: Path) -> None:
    large = "ä" * (5 << 20)
    path = write(tmp_path, "a.json", json.dumps([{"text": large}, {"text": "next"}]))

    assert texts_of(open_table(path)) == [large, "next"]


def test_a_row_of_csv_with_a_wrong_number_of_values_is_one_row(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'id,text\n1,"a, b"\n2,b,c\n\n3\n4,"d\n""d"""\n')

    table = open_table(path)

    assert texts_of(table) == ["a, b", None, None, 'd\n"d"']
    assert broken_of(table) == {
        1: "it has 3 values, but there are 2 columns",
        2: "it has 1 value, but there are 2 columns",
    }


def test_a_quote_that_is_never_closed_costs_its_own_line_only(tmp_path: Path) -> None:
    rows = [f"{number},text {number}" for number in range(2_000)]
    rows[700] = '700,"text that is open'
    rows[1_500] = '1500,"text" that goes on'
    path = write(tmp_path, "a.csv", "\n".join(["id,text", *rows]))

    table = open_table(path)

    assert [row["id"] for row in rows_of(table)][698:703] == ["698", "699", None, "701", "702"]
    assert len(rows_of(table)) == 2_000
    assert list(broken_of(table)) == [700, 1_500]


def test_an_open_quote_does_not_take_in_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_csv, "LONGEST_FIELD", 10_000)
    rows = [f"{number},text {number}" for number in range(5_000)]
    rows[10] = '10,"open'
    path = write(tmp_path, "a.csv", "\n".join(["id,text", *rows]))

    table = open_table(path)

    assert broken_of(table) == {10: "a quote is opened and never closed"}
    assert len(rows_of(table)) == 5_000


def test_a_line_longer_than_any_record_is_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_text, "LONGEST_LINE", 1_000)
    long = json.dumps({"text": "x" * 5_000})
    path = write(tmp_path, "a.jsonl", f'{{"text": "a"}}\n{long}\n{{"text": "b"}}\n')

    table = open_table(path)

    assert texts_of(table) == ["a", None, "b"]
    assert list(broken_of(table)) == [1]


@pytest.mark.parametrize("names", ['"id,text', '"id"x,"text"'])
def test_names_of_columns_that_cannot_be_read_are_no_empty_table(
    tmp_path: Path, names: str
) -> None:
    path = write(tmp_path, "a.csv", f"{names}\n1,hello\n")

    with pytest.raises(UsageError, match=r"a\.csv: its first row, .* cannot be read: ") as error:
        open_table(path)

    assert error.value.hint == "mend the quotes of its first line"


def test_quotes_that_are_escaped_by_a_backslash_are_understood(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'id,text\n1,"He said \\"hi\\", twice"\n2,"b"\n')

    assert texts_of(open_table(path)) == ['He said "hi", twice', "b"]


def test_a_csv_of_one_column_has_its_commas_only_in_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text\n"one, two"\nthree\n')

    assert texts_of(open_table(path)) == ["one, two", "three"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.parquet", "a.arrow", "a.tsv.gz"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    assert rows_of(open_table(write(tmp_path, name, b""))) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"id,text\n"),
        ("a.csv", b"\n\n"),
        ("a.json", b" [ ] "),
        ("a.jsonl", b"\n \n"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0)),
        ("a.parquet", parquet([])),
    ],
)
def test_a_file_without_rows_is_no_error(tmp_path: Path, name: str, data: bytes) -> None:
    assert rows_of(open_table(write(tmp_path, name, data))) == []


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.csv", "rows.arrow"])
def test_a_missing_column_names_those_that_are_there(tmp_path: Path, name: str) -> None:
    renamed = [{"key": row["id"], "Texts": row["text"]} for row in ROWS]
    writers = {".parquet": parquet, ".jsonl": json_lines, ".arrow": ipc_file}
    data = writers.get(Path(name).suffix, lambda rows: csv_text(rows).encode())(renamed)
    path = write(tmp_path, name, data)

    with pytest.raises(UsageError, match=r"no column 'text'; it has: key, Texts$") as of_text:
        open_table(path)
    with pytest.raises(UsageError, match="no column 'keys'") as of_id:
        open_table(path, text_column="Texts", id_column="keys")

    assert of_text.value.hint == "--text-column Texts"
    assert of_id.value.hint == "--id-column key"
    assert open_table(path, text_column="Texts").id_column is None


def test_a_suggested_column_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "key,$(text)\n1,a\n")

    with pytest.raises(UsageError) as error:
        open_table(path)

    assert error.value.hint == "--text-column '$(text)'"


def test_a_column_that_holds_no_texts_is_refused_before_any_work(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2], "body": ["a", "b"]}), tmp_path / "a.parquet")

    with pytest.raises(UsageError, match="the column 'text' holds int64, not text") as error:
        open_table(tmp_path / "a.parquet")

    assert error.value.hint == "--text-column body"


def test_an_object_around_the_rows_is_told_by_its_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", json.dumps({"version": 1, "data": ROWS}, indent=2))

    with pytest.raises(UsageError, match="has no column 'text'; it has: version, data"):
        open_table(path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.parquet", parquet(ROWS)[:-20], "is damaged or not what its name says"),
        ("a.jsonl.gz", gzip.compress(json_lines(ROWS * 99))[:-30], "is damaged"),
        ("a.zip", b"PK\x03\x04....", "is a zip archive or an office document"),
        ("a.pdf", b"%PDF-1.7", "is a PDF"),
        ("a.parquet", b"no parquet at all", "is no table that is read"),
        ("notes.txt", b"Just some words.\nAnd more of them, here.\n", "is no table that is read"),
        ("a.parquet.gz", gzip.compress(parquet(ROWS)), "a packed file"),
    ],
)
def test_what_is_no_table_says_what_it_is_and_the_way_out(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        rows_of(open_table(write(tmp_path, name, data)))

    assert error.value.hint


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"no such file or folder: {tmp_path}/none.csv"):
        open_table(tmp_path / "none.csv")


def test_a_folder_is_its_files_by_name_numbered_throughout(tmp_path: Path) -> None:
    (tmp_path / "lang=en").mkdir()
    write(tmp_path, "2.parquet", parquet(ROWS[1:2]))
    write(tmp_path, "1.parquet", parquet(ROWS[:1]))
    write(tmp_path / "lang=en", "3.jsonl", json_lines(ROWS[2:]) + b"broken\n")
    write(tmp_path, "_SUCCESS", b"")
    write(tmp_path, ".1.parquet.crc", b"crc")

    table = open_table(tmp_path)

    assert texts_of(table) == [*(row["text"] for row in ROWS), None]
    assert list(broken_of(table)) == [3]
    assert table.source == str(tmp_path)


def test_files_of_a_folder_have_the_id_column_or_all_have_not(tmp_path: Path) -> None:
    write(tmp_path, "1.jsonl", json_lines(ROWS))
    write(tmp_path, "2.jsonl", b'{"text": "a"}\n')

    with pytest.raises(UsageError, match=r"2.jsonl has no column 'id', but .*1.jsonl has"):
        open_table(tmp_path)


@dataclass
class Thing:
    text: str | None = None
    id: object = None
    document_id: object = None
    chunk_index: int = 0
    page: int | None = None
    char_start: int = 0
    char_end: int | None = None
    headings: tuple[str, ...] = ()
    metadata: dict[str, object] = field(default_factory=dict)


@dataclass
class Content:
    content: str
    metadata: dict[str, object]


def test_a_list_of_texts_is_numbered_and_named_by_what_it_holds() -> None:
    one, other = table_of(["a", "b"]), table_of(["a", "c"])

    assert texts_of(one) == ["a", "b"]
    assert one.id_column is None
    assert one.source != other.source
    assert one.source == table_of(["a", "b"]).source
    assert table_of(["a"], source="mine").source == "mine"


def test_dictionaries_keep_whatever_values_they_have() -> None:
    key = uuid.uuid4()
    table = table_of([{"id": key, "text": "a", "k": 1}, {"id": 7.0, "text": "b"}, None])

    assert rows_of(table) == [
        {"id": str(key), "text": "a", "title": None, "k": 1},
        {"id": "7", "text": "b", "title": None},
        {"id": None, "text": None, "title": None},
    ]
    assert list(broken_of(table)) == [2]


def test_objects_keep_their_place_in_a_document() -> None:
    things = [
        Thing(text="a", document_id="d", chunk_index=4, page=2, char_start=9, headings=("H",)),
        Thing(text="b", id="own", document_id=17, char_end=3, metadata={"lang": "en"}),
        Thing(text="c"),
    ]

    (rows,) = table_of(things).rows()

    assert rows.batch.column("id").to_pylist() == ["d:4", "own", None]
    assert rows.rest is not None
    assert rows.rest.to_pylist() == ["{}", '{"lang": "en"}', "{}"]
    assert rows.passages is not None
    assert rows.passages.column("document_id").to_pylist() == ["d", "17", None]
    assert rows.passages.column("headings").to_pylist() == [["H"], [], []]
    assert rows.passages.slice(0, 1).to_pylist()[0] | {"headings": []} == {
        "document_id": "d",
        "chunk_index": 4,
        "page": 2,
        "char_start": 9,
        "char_end": None,
        "headings": [],
    }


def test_a_place_that_no_column_can_hold_is_unknown() -> None:
    (rows,) = table_of(
        [Thing(text="a", chunk_index=1 << 40, page=1 << 31, char_end=1 << 63)]
    ).rows()

    assert rows.passages is not None
    (place,) = rows.passages.to_pylist()
    assert (place["chunk_index"], place["page"], place["char_end"]) == (0, None, None)


def test_an_arrow_stream_that_is_no_table_says_what_to_give() -> None:
    with pytest.raises(UsageError, match="ChunkedArray, whose Arrow stream is no table") as error:
        table_of(pa.chunked_array([["a", "b"]]))

    assert error.value.hint == "give a table: pa.table({'text': ...})"


def test_chunks_of_our_own_and_objects_with_content_are_rows() -> None:
    chunk = Chunk(
        index=3,
        text="c",
        char_start=5,
        char_end=6,
        page=None,
        headings=("A", "B"),
        content_hash="h",
    )

    (of_chunk,) = table_of([chunk]).rows()

    assert of_chunk.passages is not None
    assert of_chunk.passages.column("chunk_index").to_pylist() == [3]
    assert texts_of(table_of([Content("a", {"title": "T"})])) == ["a"]


@pytest.mark.parametrize("data", [5, {"text": ["a"]}, (text for text in "ab"), [1, 2], b"bytes"])
def test_what_is_no_table_in_memory_is_refused_with_a_way_out(data: object) -> None:
    with pytest.raises(UsageError, match=r"no (table|row)") as error:
        table_of(data)

    assert "dictionaries" in str(error.value.hint)


def test_a_stream_that_is_read_only_once_can_be_read_again() -> None:
    data = pa.table({"text": ["a", "b"], "n": [1, 2]})
    reader = pa.RecordBatchReader.from_batches(data.schema, iter(data.to_batches()))

    class Exporter:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return data.__arrow_c_stream__(requested_schema)

    assert texts_of(table_of(reader)) == ["a", "b"]
    assert texts_of(table_of(Exporter())) == ["a", "b"]
    assert texts_of(table_of(data)) == ["a", "b"]
    assert texts_of(table_of(data.to_batches()[0])) == ["a", "b"]


def test_vectors_of_other_models_are_not_read(tmp_path: Path) -> None:
    vectors = pa.array([[0.5] * 384], pa.list_(pa.float32(), 384))
    pq.write_table(pa.table({"text": ["a"], "vector": vectors, "n": [1]}), tmp_path / "a.parquet")

    assert rows_of(open_table(tmp_path / "a.parquet")) == [{"text": "a", "n": 1}]


def test_a_table_outside_the_allowed_roots_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside.jsonl"
    inside.mkdir()
    outside.write_text('{"text": "a"}\n')
    (inside / "link.jsonl").symlink_to(outside)
    for path in (outside, inside / "link.jsonl"):
        with pytest.raises(PathNotAllowedError, match=r"outside\.jsonl"):
            open_table(path, allowed_roots=(inside,))
    outside.rename(inside / "own.jsonl")
    assert open_table(inside / "own.jsonl", allowed_roots=(inside,)).text_column == "text"


@pytest.mark.parametrize("folder_of_link", [".", "deep"])
def test_a_link_in_a_folder_does_not_lead_out_of_the_allowed_roots(
    tmp_path: Path, folder_of_link: str
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside.csv"
    (inside / "deep").mkdir(parents=True)
    write(inside, "a.csv", "text\na\n")
    outside.write_text("text\nsecret\n")
    (inside / folder_of_link / "b.csv").symlink_to(outside)

    with pytest.raises(PathNotAllowedError, match=r"outside\.csv"):
        open_table(inside, allowed_roots=(inside,))

    assert texts_of(open_table(inside)) == ["a", "secret"]


def test_a_path_from_home_is_checked_where_it_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.jsonl", '{"text": "a"}\n')
    (tmp_path / "inside").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "inside")

    with pytest.raises(PathNotAllowedError):
        open_table("~/a.jsonl", allowed_roots=(tmp_path / "inside",))
