from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import pytest

from lexigram_ray.core.errors import (
    ChangedError,
    CorruptError,
    DocumentError,
    DocumentSkipped,
    EncryptedError,
    LimitExceededError,
    UnreadableError,
)
from lexigram_ray.core.ids import hash_bytes, hash_file
from lexigram_ray.core.types import FailureCategory, ParsedDocument
from lexigram_ray.ingestion import mime
from lexigram_ray.ingestion.parse import ParseOptions, parse_bytes, parse_file
from tests import documents
from tests.documents import gzipped

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
OPTIONS = ParseOptions(max_decoded_bytes=256 << 20)


def parse(data: bytes, name: str, options: ParseOptions = OPTIONS) -> ParsedDocument:
    return parse_bytes(data, name, hash_bytes(data), options)


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("suffix", sorted(documents.MAKERS))
def test_every_format_gives_its_text_also_within_gzip(suffix: str, layers: int) -> None:
    data = documents.gzipped(documents.MAKERS[suffix](), layers)

    parsed = parse(data, f"handbook.{suffix}" + ".gz" * layers)

    assert parsed.content_hash == hash_bytes(data)
    assert all(sentence in words(parsed.text) for sentence in documents.PAGES)
    assert "\x00" not in parsed.text
    assert "never indexed" not in parsed.text


@pytest.mark.parametrize("suffix", sorted(documents.MAKERS))
def test_no_format_prints_anything(suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    parse(documents.MAKERS[suffix](), f"handbook.{suffix}")

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "suffix", ["pdf", "docx", "pptx", "xlsx", "epub", "html", "md", "odt", "rst", "eml"]
)
def test_formats_that_know_their_title_give_it(suffix: str) -> None:
    assert parse(documents.MAKERS[suffix](), f"x.{suffix}").title == documents.TITLE


@pytest.mark.parametrize("suffix", ["docx", "odt", "html", "md"])
def test_headings_and_tables_are_markdown(suffix: str) -> None:
    parsed = parse(documents.MAKERS[suffix](), f"x.{suffix}")

    assert parsed.markdown
    assert parsed.text.startswith(f"# {documents.TITLE}\n")
    assert "| North quay | 9.5 m |" in parsed.text


@pytest.mark.parametrize("suffix", ["pdf", "pptx"])
def test_pages_are_spans_of_the_text(suffix: str) -> None:
    parsed = parse(documents.MAKERS[suffix](), f"x.{suffix}")

    assert [page.number for page in parsed.pages] == [1, 2, 3]
    for page, sentence in zip(parsed.pages, documents.PAGES, strict=True):
        assert sentence in parsed.text[page.char_start : page.char_end]
    starts = [page.char_start for page in parsed.pages]
    assert starts == sorted(starts)


def test_slides_of_any_script_and_without_words_keep_their_numbers() -> None:
    parsed = parse(documents.mixed_pptx(), "x.pptx")

    pages = {page.number: parsed.text[page.char_start : page.char_end] for page in parsed.pages}
    assert list(pages) == [1, 2, 3, 4]
    assert "Überschrift 日本" in pages[1]
    assert "a_b <c> *d*" in pages[2]
    assert pages[3] == ""
    assert pages[4].endswith("last words")


def test_running_headers_and_hard_line_ends_of_a_pdf_are_undone() -> None:
    parsed = parse(documents.printed_pdf(), "x.pdf")

    assert "Port Authority" not in parsed.text
    assert documents.LONG_PARAGRAPH in parsed.text


def test_a_mail_keeps_its_lines_and_names_what_was_not_read() -> None:
    parsed = parse(documents.eml(), "x.eml")

    assert "\n".join(documents.PAGES) in parsed.text
    assert parsed.text.startswith(f"# {documents.TITLE}\n\nFrom: Master <master@port.example>\n")
    assert "attached secret words" not in parsed.text
    assert parsed.metadata["attachments_not_read"] == ["a"]


def test_a_mail_of_an_unusual_text_type_keeps_its_body() -> None:
    data = b"From: a@b.c\nDate: today\nSubject: s\nContent-type: text/asciidoc\n\nthe body\n"

    assert "the body" in parse(data, "howto.txt").text


def test_markdown_stays_as_it_was_written_but_for_front_matter() -> None:
    data = b"---\ntitle: 'A page'\ntags: [x]\n---\n# Heading\n\nsome_text *with* [a](b)\n"

    parsed = parse(data, "a.md")

    assert parsed.text == "# Heading\n\nsome_text *with* [a](b)\n"
    assert parsed.title == "A page"


def test_xml_gives_its_words_without_names_of_elements() -> None:
    body = b"<book><title>T</title><p>one <b>two</b> three</p><x a='n'/></book>"
    data = b"<?xml version='1.0'?>" + body

    parsed = parse(data, "a.xml")

    assert (parsed.text, parsed.title) == ("T\n\none two three", "T")


def test_xml_does_not_read_other_files() -> None:
    data = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>x&e;</a>'

    assert "root" not in parse(data, "a.xml").text


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-8-sig"])
def test_latin1_and_utf16_text_is_decoded(encoding: str) -> None:
    text = "Die Größe der Fähre zählt.\n" * 5

    assert parse(text.encode(encoding), "a.txt").text == text


def test_nul_bytes_and_lone_surrogates_do_not_reach_the_text() -> None:
    assert parse(b"before\x00after \xed\xa0\x80 end", "a.txt").text == "beforeafter \ufffd end"
    assert parse(b'{"a": "x\\u0000y \\ud800 z"}', "a.json").text == "a: xy \ufffd z"


def test_an_html_page_in_its_own_encoding_is_decoded() -> None:
    data = "<html><meta charset=koi8-r><p>Гавань</p></html>".encode("koi8-r")

    assert parse(data, "a.html").text.strip() == "Гавань"


# Makers, not bytes: a bomb is not to be built when tests are only collected.
BROKEN: dict[str, tuple[Callable[[], bytes], str, type[DocumentError], str]] = {
    "no bytes": (lambda: b"", "a.pdf", DocumentSkipped, "empty"),
    "no bytes in gzip": (lambda: gzipped(b""), "a.txt.gz", DocumentSkipped, "empty"),
    "only blanks": (lambda: b" \n\t\n", "a.txt", DocumentSkipped, "no_text"),
    "picture in a pdf": (documents.picture_only_pdf, "a.pdf", DocumentSkipped, "no_text"),
    "html of navigation": (
        lambda: b"<html><nav>x</nav></html>",
        "a.html",
        DocumentSkipped,
        "no_text",
    ),
    "html in name only": (lambda: b"<html>", "a.html", DocumentSkipped, "no_text"),
    "picture": (lambda: PNG, "a.png", DocumentSkipped, "unsupported"),
    "gzip three deep": (lambda: gzipped(b"words", 3), "a.gz", DocumentSkipped, "unsupported"),
    "encrypted pdf": (documents.encrypted_pdf, "a.pdf", EncryptedError, "encrypted"),
    "truncated docx": (documents.truncated_docx, "a.docx", CorruptError, "corrupt"),
    "truncated pdf": (lambda: documents.pdf()[:300], "a.pdf", CorruptError, "corrupt"),
    "truncated epub": (lambda: documents.epub_file()[:900], "a.epub", CorruptError, "corrupt"),
    "truncated gzip": (lambda: gzipped(b"x" * 999)[:20], "a.gz", CorruptError, "corrupt"),
    "zip bomb": (lambda: documents.zip_bomb_docx(300), "a.docx", LimitExceededError, "too_large"),
    "deep json": (documents.deep_json, "a.json", LimitExceededError, "too_large"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_document_has_an_outcome_of_its_own(case: str) -> None:
    make, name, error, code = BROKEN[case]

    with pytest.raises(error) as raised:
        parse(make(), name)

    assert type(raised.value) is error
    assert (raised.value.category, raised.value.code) == (FailureCategory.INVALID_INPUT, code)


def test_a_file_is_parsed_only_if_its_bytes_are_those_that_were_hashed(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines.txt"
    path.write_text("first words")
    known = hash_file(path)

    assert parse_file(str(path), known, OPTIONS).text == "first words"

    path.write_text("other words")
    with pytest.raises(ChangedError) as raised:
        parse_file(str(path), known, OPTIONS)
    assert (raised.value.category, raised.value.code) == (FailureCategory.TRANSIENT, "changed")


def test_a_file_that_vanished_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        parse_file(str(tmp_path / "gone.txt"), "", OPTIONS)


def test_a_plain_file_over_the_limit_is_refused_without_being_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.touch()
    os.truncate(path, 8 << 30)

    with pytest.raises(LimitExceededError):
        parse_file(str(path), "", ParseOptions(max_decoded_bytes=1 << 20))


def test_an_unsupported_picture_says_how_to_read_it() -> None:
    with pytest.raises(DocumentSkipped) as raised:
        parse(PNG, "a.png")

    assert raised.value.hint is not None
    assert "parser.ocr" in raised.value.hint


def test_media_types_are_those_of_the_innermost_content() -> None:
    assert parse(documents.gzipped(documents.pdf()), "a.gz").mime == mime.PDF


def test_front_matter_keeps_its_simple_fields_as_metadata() -> None:
    data = (
        b'---\ntitle: "A: page" # working title\ndescription: >\n  Two\n  lines\n'
        b"tags:\n  - deep\n  - 'long'\nauthor: Ann\ndate: 2024-01-02\n"
        b"layout:\n  title: no\n---\nText\n"
    )

    parsed = parse(data, "a.md")

    assert (parsed.text, parsed.title) == ("Text\n", "A: page")
    assert parsed.metadata == {
        "title": "A: page",
        "description": "Two lines",
        "tags": ["deep", "long"],
        "author": "Ann",
        "date": "2024-01-02",
    }


def test_toml_front_matter_is_no_text_either() -> None:
    parsed = parse(b'+++\ntitle = "T"\ntags = ["a", "b"]\n+++\nText\n', "a.md")

    assert (parsed.text, parsed.title, parsed.metadata["tags"]) == ("Text\n", "T", ["a", "b"])


@pytest.mark.parametrize(
    "text",
    [
        "---\n\n# Intro\n\nNote: words.\n\n---\nRest\n",
        "---\nA sentence with a colon: here.\n---\nRest\n",
        "---\nkey: value\n" + "a: line\n" * 150 + "---\nRest\n",
        "---\nkey: never closed\n",
    ],
)
def test_markdown_that_begins_with_a_rule_loses_nothing(text: str) -> None:
    assert parse(text.encode(), "a.md").text == text


def test_xml_entities_without_other_text_are_kept_as_written() -> None:
    data = (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e "x">]>'
        b"<a><p>&e;</p><!-- c --><q>&e;<b/></q></a>"
    )

    assert parse(data, "a.xml").text == "&e;\n\n&e;"


def test_deep_and_long_xml_is_read_to_its_end() -> None:
    deep = b"<?xml version='1.0'?>" + b"<a>" * 1000 + b"deep" + b"</a>" * 1000
    long = b"<?xml version='1.0'?><a><b>" + b"word " * (3 << 20) + b"</b><c>end</c></a>"

    assert parse(deep, "a.xml").text == "deep"
    assert parse(long, "a.xml").text.endswith("word\n\nend")


def test_xml_too_deep_for_its_parser_is_a_failure_and_no_shorter_text() -> None:
    with pytest.raises(LimitExceededError, match="nested too deep"):
        parse(b"<?xml version='1.0'?>" + b"<a>" * 5000 + b"x" + b"</a>" * 5000, "a.xml")


def test_characters_that_xml_escapes_are_kept_in_a_docx() -> None:
    document, buffer = docx.Document(), io.BytesIO()
    words = """use <tag> where a < b & c, "List<int>" at AT&T's"""
    document.add_paragraph(words)
    document.save(buffer)

    assert parse(buffer.getvalue(), "a.docx").text.strip() == words


def rewritten_book(extra: dict[str, bytes], *, encrypted: bool = False) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(documents.epub_file())) as book,
        zipfile.ZipFile(buffer, "w") as copy,
    ):
        for name in book.namelist():
            copy.writestr(name, book.read(name))
        for name, content in extra.items():
            copy.writestr(name, content)
    data = bytearray(buffer.getvalue())
    if encrypted:
        # The flag of a password, in the directory's entry of the first chapter.
        entry = data.rindex(b"PK\x01\x02", 0, data.rindex(b"rule1.xhtml"))
        data[entry + 8] |= 1
    return bytes(data)


def encryption(algorithm: str, path: str) -> dict[str, bytes]:
    xml = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
        'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData>'
        f'<enc:EncryptionMethod Algorithm="{algorithm}"/><enc:CipherData>'
        f'<enc:CipherReference URI="{path}"/></enc:CipherData></enc:EncryptedData></encryption>'
    )
    return {"META-INF/encryption.xml": xml.encode()}


def test_a_book_under_drm_or_with_a_password_is_encrypted() -> None:
    drm = encryption("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "EPUB/rule1.xhtml")

    for data in (rewritten_book(drm), rewritten_book({}, encrypted=True)):
        with pytest.raises(EncryptedError):
            parse(data, "a.epub")


def test_a_book_with_scrambled_fonts_is_read() -> None:
    fonts = encryption("http://www.idpf.org/2008/embedding", "EPUB/a.otf")

    assert documents.PAGES[0] in parse(rewritten_book(fonts), "a.epub").text
