"""Pictures of text: left alone by default, read with tesseract when asked."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import docx
import pytest
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from lexigram_ray.core.config import ParserSettings, load_config
from lexigram_ray.core.errors import DocumentError, DocumentSkipped
from lexigram_ray.core.ids import document_id, hash_file
from lexigram_ray.core.types import Document, FailureCategory, FileStamp, ParsedDocument
from lexigram_ray.ingestion.parse import ParseOptions, parse_bytes
from lexigram_ray.ingestion.parsed_store import ParsedStore
from lexigram_ray.ingestion.sandbox import SandboxedParser
from tests.integration.local_ingest import ingest_here
from tests.tables import rows_of

pytestmark = pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="tesseract-ocr is not installed"
)

WORDS = "Every vessel reports to"
SECOND_LINE = "the harbour master"
OPTIONS = ParseOptions(max_decoded_bytes=1 << 26)


def picture(lines: Sequence[str] = (WORDS,)) -> Image.Image:
    """Large black letters on white."""
    image = Image.new("RGB", (1600, 140 + 140 * len(lines)), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        place = (60, 80 + 140 * number)
        draw.text(place, line, fill="black", font=ImageFont.load_default(size=80))
    return image


def png(lines: Sequence[str] = (WORDS,)) -> bytes:
    buffer = io.BytesIO()
    picture(lines).save(buffer, "PNG")
    return buffer.getvalue()


def scanned_pdf(*pages: str) -> bytes:
    """A PDF of pictures, one a page."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(800, 140))
    for words in pages:
        canvas.drawImage(ImageReader(picture((words,))), 0, 0, 800, 140)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def docx_with_picture() -> bytes:
    document = docx.Document()
    document.add_paragraph("Words before the picture.")
    document.add_picture(io.BytesIO(png()))
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def words_of(parsed: ParsedDocument) -> str:
    return " ".join(parsed.text.split())


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[SandboxedParser]:
    """The parser process, told to read pictures."""
    with SandboxedParser(ParserSettings(ocr=True), ParsedStore(tmp_path / "parsed")) as parser:
        yield parser


def on_disk(path: Path, data: bytes) -> Document:
    path.write_bytes(data)
    return Document(
        document_id=document_id(path),
        path=str(path),
        source=str(path),
        stamp=FileStamp(size=len(data), mtime_ns=1, ctime_ns=1, inode=1),
        content_hash=hash_file(path),
    )


# -- By default ------------------------------------------------------------------------------------


def test_a_picture_is_skipped_by_default_and_the_reason_says_how_to_read_it() -> None:
    with pytest.raises(DocumentSkipped) as raised:
        parse_bytes(png(), "scan.png", "", OPTIONS)
    assert raised.value.code == "unsupported"
    assert "tesseract" in (raised.value.hint or "")


def test_a_pdf_of_pictures_has_no_text_by_default_and_the_reason_says_how_to_read_it() -> None:
    with pytest.raises(DocumentSkipped) as raised:
        parse_bytes(scanned_pdf(WORDS), "scan.pdf", "", OPTIONS)
    assert raised.value.code == "no_text"
    assert "parser.ocr" in (raised.value.hint or "")


def test_nothing_is_printed_about_pictures_that_are_not_read(
    capfd: pytest.CaptureFixture[str],
) -> None:
    parsed = parse_bytes(docx_with_picture(), "report.docx", "", OPTIONS)
    with pytest.raises(DocumentSkipped):
        parse_bytes(scanned_pdf(WORDS), "scan.pdf", "", OPTIONS)
    assert words_of(parsed) == "Words before the picture."
    assert capfd.readouterr() == ("", "")


# -- With OCR --------------------------------------------------------------------------------------


def test_a_picture_is_read_with_ocr_and_nothing_is_printed(
    reader: SandboxedParser, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parsed = reader.parse(on_disk(tmp_path / "scan.png", png()))
    assert words_of(parsed) == WORDS
    assert (parsed.mime, parsed.pages) == ("image/png", ())
    reader.close()
    assert capfd.readouterr() == ("", "")


def test_a_picture_without_words_is_skipped_with_ocr_as_well(
    reader: SandboxedParser, tmp_path: Path
) -> None:
    with pytest.raises(DocumentSkipped) as raised:
        reader.parse(on_disk(tmp_path / "blank.png", png(("",))))
    assert raised.value.code == "no_text"


def test_a_pdf_with_text_reads_the_same_with_ocr_and_without(
    reader: SandboxedParser, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for words in ("The first page.", "The second page."):
        canvas.drawString(72, 720, words)
        canvas.showPage()
    canvas.save()
    plain = parse_bytes(buffer.getvalue(), "text.pdf", "", OPTIONS)
    read = reader.parse(on_disk(tmp_path / "text.pdf", buffer.getvalue()))
    assert (read.text, read.pages) == (plain.text, plain.pages)
    assert [page.number for page in plain.pages] == [1, 2]


def test_a_pdf_of_pictures_is_read_with_ocr_page_by_page(
    reader: SandboxedParser, tmp_path: Path
) -> None:
    parsed = reader.parse(on_disk(tmp_path / "scan.pdf", scanned_pdf(WORDS, SECOND_LINE)))
    pages = {page.number: parsed.text[page.char_start : page.char_end] for page in parsed.pages}
    assert {number: " ".join(text.split()) for number, text in pages.items()} == {
        1: WORDS,
        2: SECOND_LINE,
    }


def test_a_pdf_without_words_is_not_told_to_switch_on_the_ocr_that_is_on(
    reader: SandboxedParser, tmp_path: Path
) -> None:
    with pytest.raises(DocumentSkipped) as raised:
        reader.parse(on_disk(tmp_path / "blank.pdf", scanned_pdf("")))
    assert raised.value.code == "no_text"
    assert "parser.ocr" not in (raised.value.hint or "")


def test_lines_of_prose_do_not_become_a_table(reader: SandboxedParser, tmp_path: Path) -> None:
    parsed = reader.parse(on_disk(tmp_path / "scan.png", png((WORDS, SECOND_LINE))))
    assert words_of(parsed) == f"{WORDS} {SECOND_LINE}"


def test_a_language_that_is_not_installed_is_no_fault_of_the_document(tmp_path: Path) -> None:
    unknown = ParserSettings(ocr=True, ocr_language="xxx")
    with (
        SandboxedParser(unknown, ParsedStore(tmp_path / "parsed")) as parser,
        pytest.raises(DocumentError, match="xxx") as raised,
    ):
        parser.parse(on_disk(tmp_path / "scan.png", png()))
    assert raised.value.code != "corrupt"
    assert raised.value.category is not FailureCategory.INVALID_INPUT


def test_a_picture_that_was_skipped_is_read_once_ocr_is_on(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "scan.png").write_bytes(png())
    state = tmp_path / "state"
    by_default = ingest_here(load_config(state_dir=state), docs)
    assert [problem.code for problem in by_default.problems] == ["unsupported"]

    reading = load_config(state_dir=state, parser={"ocr": True})
    read = ingest_here(reading, docs)
    assert (read.documents.ingested, read.problems) == (1, ())
    assert [row["text"].strip() for row in rows_of(state, "docs")] == [WORDS]
