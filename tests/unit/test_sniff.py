from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lexigram_ray.core.errors import DocumentSkipped, EncryptedError
from lexigram_ray.ingestion import mime
from lexigram_ray.ingestion.sniff import sniff, suffix_hint
from tests import documents

BY_SUFFIX = {
    "pdf": mime.PDF,
    "docx": mime.DOCX,
    "pptx": mime.PPTX,
    "xlsx": mime.XLSX,
    "odt": mime.ODT,
    "epub": mime.EPUB,
    "html": mime.HTML,
    "md": mime.MARKDOWN,
    "rst": mime.RST,
    "txt": mime.PLAIN,
    "csv": mime.CSV,
    "json": mime.JSON,
    "jsonl": mime.JSON_LINES,
    "eml": mime.MAIL,
}


@pytest.mark.parametrize("suffix", sorted(BY_SUFFIX))
def test_every_format_is_known_under_its_own_suffix(suffix: str) -> None:
    assert sniff(documents.MAKERS[suffix](), f"file.{suffix}") == BY_SUFFIX[suffix]


@pytest.mark.parametrize(
    "suffix",
    ["pdf", "docx", "pptx", "xlsx", "odt", "epub", "html", "json", "jsonl", "eml"],
)
@pytest.mark.parametrize("name", ["file", "file.txt", "file.pdf", "file.bak"])
def test_content_counts_more_than_a_wrong_suffix(suffix: str, name: str) -> None:
    assert sniff(documents.MAKERS[suffix](), name) == BY_SUFFIX[suffix]


@pytest.mark.parametrize("suffix", ["pdf", "docx", "html"])
def test_text_formats_do_not_claim_other_content(suffix: str) -> None:
    for name in ("a.md", "a.rst", "a.json", "a.eml"):
        assert sniff(documents.MAKERS[suffix](), name) == BY_SUFFIX[suffix]


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("just words", "a.html", mime.PLAIN),
        ("<p>a fragment</p>", "a.html", mime.HTML),
        ("<?xml version='1.0'?><!DOCTYPE html><html><p>x</p></html>", "a", mime.HTML),
        ("<?xml version='1.0'?><book><title>x</title></book>", "a", mime.XML),
        ("# only a comment\nset -e\n", "run.sh", mime.PLAIN),
        ("#!/bin/sh\n# Title\n[x](y)\n", "run", mime.PLAIN),
        ("# Title\n\nSee [x](y).\n", "README", mime.MARKDOWN),
        ("Title\n=====\n\n.. note:: read it\n", "README.txt", mime.RST),
        ("Title\n=====\n\nNo directive at all.\n", "README.txt", mime.PLAIN),
        ("Title\n=====\n", "page.rst.txt", mime.RST),
        ("a\tb\tc\n1\t2\t3\n4\t5\t6\n", "table", mime.CSV),
        ("One, two.\nThree, four.\nFive, six.\n", "prose.txt", mime.PLAIN),
        ("{ not json", "a.json", mime.JSON),
        ("// a comment\n{}", "a.json", mime.PLAIN),
        ('{"a": 1}\n{"a": 2}\n', "a.json", mime.JSON_LINES),
        ("[section]\nkey = value\n", "setup.cfg", mime.PLAIN),
        ("{ return x; }", "a.c", mime.PLAIN),
        ("Package: x\nVersion: 1\nMaintainer: y\n\nText", "control", mime.PLAIN),
        ("BMW is a car maker, and MZ made motorcycles.", "cars.txt", mime.PLAIN),
        ("MZ made motorcycles.", "cars.txt", mime.PLAIN),
        ("before\x00after\n", "nul.txt", mime.PLAIN),
    ],
)
def test_texts_are_told_apart(text: str, name: str, expected: str) -> None:
    assert sniff(text.encode(), name) == expected


def test_utf16_is_text_with_and_without_a_mark() -> None:
    text = "Every vessel reports to the harbour master.\n" * 3

    assert sniff(text.encode("utf-16"), "a.txt") == mime.PLAIN
    assert sniff(text.encode("utf-16-le"), "a.txt") == mime.PLAIN


def test_a_truncated_office_file_is_still_known_as_one() -> None:
    assert sniff(documents.truncated_docx(), "a") == mime.DOCX


def test_an_office_file_behind_a_password_is_encrypted() -> None:
    container = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504
    container += "EncryptedPackage".encode("utf-16-le") + b"\0" * 512

    with pytest.raises(EncryptedError):
        sniff(container, "a.docx")


UNSUPPORTED = {
    "picture.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
    "font.woff2": b"wOF2" + bytes(64),
    "font.ttf": b"\x00\x01\x00\x00\x00\x0f" + bytes(64),
    "archive.tar": b"\0" * 257 + b"ustar\x0000",
    "archive.xz": b"\xfd7zXZ\x00" + bytes(32),
    "program": b"\x7fELF\x02\x01\x01" + bytes(64),
    "objects.inv": b"# Sphinx inventory version 2\n# Project: x\nx\x9c\xb5\x8f",
    "searchindex.js": b"Search.setIndex({docnames:[]})",
    "style.css": b"body { color: red }",
    "bundle.js.map": b'{"version":3}',
    "picture.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><text>x</text></svg>",
    "no-suffix-svg": b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg></svg>",
    "numbers.bin": b"".join(number.to_bytes(4, "little") for number in range(500)),
    "noise.txt": bytes((index * 7919 + index // 3) % 256 for index in range(4096)),
}


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_what_holds_no_text_for_readers_is_unsupported(name: str) -> None:
    with pytest.raises(DocumentSkipped) as skipped:
        sniff(UNSUPPORTED[name], name)

    assert skipped.value.code == "unsupported"


def test_an_archive_of_files_is_unsupported() -> None:
    docx = documents.docx_file().replace(b"word/", b"wort/")

    with pytest.raises(DocumentSkipped, match="archive"):
        sniff(docx, "a.zip")


def test_compiled_python_is_unsupported() -> None:
    compiled = next((Path(json.__file__).parent / "__pycache__").glob("*.pyc")).read_bytes()

    with pytest.raises(DocumentSkipped, match="binary"):
        sniff(compiled, "module.pyc")


def test_the_interpreter_itself_is_unsupported() -> None:
    with open(sys.executable, "rb") as file, pytest.raises(DocumentSkipped, match="a program"):
        sniff(file.read(1 << 20), "python")


def test_pictures_are_read_only_with_ocr() -> None:
    assert sniff(UNSUPPORTED["picture.png"], "picture.png", ocr=True) == "image/png"


def test_source_code_is_plain_text() -> None:
    for name in ("a.py", "a.c", "a.sh", "Makefile", "a.toml"):
        assert sniff(b"x = 1  # a, b\ny = 2\n", name) == mime.PLAIN


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/a/b.rst", "rst"),
        ("/a/b.rst.txt", "rst"),
        ("/a/b.CSV.gz", "csv"),
        ("/a/b.txt", "prose"),
        ("/a/b.txt.gz.gz", "prose"),
        ("/a/b.log", "other"),
        ("/a/b.pdf", "other"),
        ("/a/noname", "prose"),
    ],
)
def test_only_suffixes_that_can_decide_are_hints(path: str, hint: str) -> None:
    assert suffix_hint(path) == hint


def test_a_text_that_begins_with_pk_is_no_archive() -> None:
    assert sniff(b"PKI overview\n\nKeys and certificates.\n", "pki.txt") == mime.PLAIN


def test_a_text_that_speaks_of_pdf_is_no_pdf() -> None:
    assert sniff(b"# Headers\n\nA PDF begins with `%PDF-1.7`.\n", "a.md") == mime.MARKDOWN


@pytest.mark.parametrize("before", [b"\r\n \n", b"\xef\xbb\xbf", b"junk of a mail gateway\n"])
def test_a_pdf_may_have_something_before_its_header(before: bytes) -> None:
    assert sniff(before + documents.MAKERS["pdf"](), "a") == mime.PDF


@pytest.mark.parametrize(
    "before", ["<!-- licence -->\n" * 1000, " " * 100_000, "\n<!-- x -->" * 1000]
)
def test_a_long_prolog_is_stepped_over_and_costs_no_more_than_its_length(before: str) -> None:
    assert sniff(f"{before}words".encode(), "a.txt") == mime.PLAIN
    assert sniff(f"{before}<p>words</p>".encode(), "a.md") == mime.MARKDOWN


def test_html_and_pictures_are_known_behind_many_comments() -> None:
    before = "<?xml version='1.0'?>\n" + "<!-- licence -->\n" * 1000

    assert sniff(f"{before}<!DOCTYPE html><p>x".encode(), "a") == mime.HTML
    assert sniff(f"{before}<html lang='en'>x".encode(), "a") == mime.HTML
    assert sniff(f"{before}<!DOCTYPE html [<!ENTITY a 'b'>]><html>x".encode(), "a") == mime.HTML
    with pytest.raises(DocumentSkipped, match="a picture"):
        sniff(f"{before}<!DOCTYPE svg PUBLIC '-//W3C'><svg>".encode(), "a")


@pytest.mark.parametrize("part", ["[", "[a](", "<p ", "<!--", "<!doctype [", "<?"])
def test_marks_that_are_never_closed_are_sniffed_too(part: str) -> None:
    assert sniff((part * 30_000).encode(), "a.html") == mime.PLAIN
    assert sniff(("# Title\n" + part * 30_000).encode(), "a.txt") == mime.PLAIN


def test_the_suffix_that_decides_is_the_one_that_the_hint_names() -> None:
    text = b"# Title\n\nSee [x](y).\n"

    assert sniff(text, "a.txt.gz") == sniff(text, "a.txt") == mime.MARKDOWN
    assert sniff(text, "a.log") == mime.PLAIN
