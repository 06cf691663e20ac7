from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lexigram_ray.core.config import ParserSettings
from lexigram_ray.core.errors import LimitExceededError
from lexigram_ray.core.types import PageSpan, ParsedDocument
from lexigram_ray.ingestion.parsed_store import ParsedStore, parser_fingerprint

HASH = "0123456789abcdef" * 2


def document(text: str = "Größe \N{BULLET} \U0001f6a2\nend") -> ParsedDocument:
    return ParsedDocument(
        content_hash=HASH,
        text=text,
        markdown=True,
        mime="application/pdf",
        title="Títle",
        pages=(PageSpan(number=1, char_start=0, char_end=5),),
        metadata={"author": "A", "sheets": [1, 2]},
    )


def settings(**values: object) -> ParserSettings:
    return ParserSettings(**values)  # pyright: ignore[reportArgumentType]


def only_file(root: Path) -> Path:
    (path,) = (path for path in root.rglob("*") if path.is_file())
    return path


def test_a_document_comes_back_as_it_was_put(tmp_path: Path) -> None:
    store = ParsedStore(tmp_path / "parsed")

    store.put(document())

    assert store.get(HASH) == document()
    assert store.get("f" * 32) is None


def test_a_long_document_is_compressed_and_comes_back_whole(tmp_path: Path) -> None:
    long = document("Schiff ahoi \N{EM DASH} " * 300_000)
    store = ParsedStore(tmp_path)

    store.put(long)

    assert store.get(HASH) == long
    assert only_file(tmp_path).stat().st_size < len(long.text) / 50


def test_parsers_that_read_differently_do_not_share_results(tmp_path: Path) -> None:
    with_ocr = parser_fingerprint(settings(ocr=True))
    ParsedStore(tmp_path, fingerprint=with_ocr).put(document())

    assert ParsedStore(tmp_path).get(HASH) is None
    assert ParsedStore(tmp_path, fingerprint=with_ocr).get(HASH) == document()


def test_the_fingerprint_names_what_bears_on_the_text_only() -> None:
    plain = parser_fingerprint(settings())

    assert plain == parser_fingerprint(settings(timeout_seconds=1, memory_mb=512))
    assert plain == parser_fingerprint(settings(ocr_language="deu"))
    assert plain != parser_fingerprint(settings(ocr=True))
    assert parser_fingerprint(settings(ocr=True)) != parser_fingerprint(
        settings(ocr=True, ocr_language="deu")
    )


def test_texts_of_equal_bytes_under_other_suffixes_are_kept_apart(tmp_path: Path) -> None:
    store = ParsedStore(tmp_path)

    store.put(document(), "/a/table.csv")

    assert store.get(HASH, "/b/other.csv.gz") == document()
    assert store.get(HASH, "/a/table.txt") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "garbage"])
def test_a_damaged_file_counts_as_absent_and_is_written_again(tmp_path: Path, damage: str) -> None:
    store = ParsedStore(tmp_path)
    store.put(document("words " * 1000))
    path = only_file(tmp_path)
    data = path.read_bytes()
    flipped = data[:20] + bytes([data[20] ^ 0xFF]) + data[21:]
    path.write_bytes({"cut": data[:-6], "flip": flipped, "empty": b"", "garbage": b"x"}[damage])

    assert store.get(HASH) is None
    store.put(document())
    assert store.get(HASH) == document()


def test_a_text_over_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    store = ParsedStore(tmp_path)

    with pytest.raises(LimitExceededError, match="longer than 2 MB"):
        store.put(document("ü" * (1 << 20) + "ü"), max_bytes=2 << 20)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_reading_does_not_import_the_parser(tmp_path: Path) -> None:
    ParsedStore(tmp_path).put(document())
    code = (
        "import sys; from pathlib import Path; "
        "from lexigram_ray.ingestion.parsed_store import ParsedStore; "
        f"assert ParsedStore(Path({str(tmp_path)!r})).get({HASH!r}); "
        "print([m for m in ('kreuzberg', 'lxml', 'pyarrow', 'pydantic') if m in sys.modules])"
    )

    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert seen.stdout.strip() == "[]"


@pytest.mark.parametrize("other", ["/a/x.log", "/a/x.py", "/a/x.conf.gz"])
def test_a_text_that_is_always_plain_is_kept_apart_from_prose(tmp_path: Path, other: str) -> None:
    store = ParsedStore(tmp_path)

    store.put(document(), "/a/x.txt")

    assert store.get(HASH, other) is None
    assert store.get(HASH, "/b/README") == document()
