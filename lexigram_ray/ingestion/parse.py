"""A file's bytes to a `ParsedDocument`. This is what runs inside the sandbox."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePath

from lexigram_ray.core.errors import (
    ChangedError,
    DocumentSkipped,
    LimitExceededError,
    UnreadableError,
)
from lexigram_ray.core.ids import hash_bytes
from lexigram_ray.core.types import PageSpan, ParsedDocument
from lexigram_ray.ingestion import front_matter, headings, mime, records, rst
from lexigram_ray.ingestion.decode import GZIP_MAGIC, clean, decode, gunzip
from lexigram_ray.ingestion.sniff import sniff

_GZIP_LAYERS = 2
_PAGE_BREAK = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseOptions:
    """What bears on how a file is parsed.

    Attributes:
        max_decoded_bytes: The most bytes after decompression.
        ocr_language: tesseract's language code to read pictures with; None reads none.
    """

    max_decoded_bytes: int
    ocr_language: str | None = None


def parse_file(path: str, content_hash: str, options: ParseOptions) -> ParsedDocument:
    """Parse one file.

    Args:
        path: As the operating system names it.
        content_hash: Of the file's raw bytes, as the caller knows it; empty takes what is there.
        options: Limits and OCR.

    Raises:
        ChangedError: Its bytes are other ones than those that `content_hash` was taken of.
        UnreadableError: The operating system refuses to read it.
        DocumentSkipped: Code `empty`, `unsupported` or `no_text`.
        DocumentError: It is encrypted, damaged, over a limit or cannot be parsed.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(options.max_decoded_bytes + 1)
    except OSError as error:
        raise UnreadableError(f"it cannot be read: {error.strerror}") from error
    if len(data) > options.max_decoded_bytes:
        raise LimitExceededError(
            f"it is larger than {options.max_decoded_bytes >> 20} MB",
            hint="raise parser.max_decoded_mb if the file is trusted",
        )
    actual = hash_bytes(data)
    if content_hash and actual != content_hash:
        raise ChangedError("the file changed while it was being ingested")
    return parse_bytes(data, PurePath(path).name, actual, options)


def parse_bytes(data: bytes, name: str, content_hash: str, options: ParseOptions) -> ParsedDocument:
    """Parse a file's content; see `parse_file`."""
    if not data:
        raise DocumentSkipped("the file is empty", code="empty")
    data, name = _unpacked(data, name, options.max_decoded_bytes)
    media_type = sniff(data, name, ocr=options.ocr_language is not None)
    parsed = _parsed(data, media_type, options)
    if not parsed.text or parsed.text.isspace():
        hint = _no_text_hint(parsed, options)
        raise DocumentSkipped("there is no text in it", code="no_text", hint=hint)
    title = parsed.title or (headings.first_title(parsed.text) if parsed.markdown else "")
    return replace(parsed, content_hash=content_hash, title=" ".join(clean(title).split()))


def _unpacked(data: bytes, name: str, limit: int) -> tuple[bytes, str]:
    for _ in range(_GZIP_LAYERS):
        if not data.startswith(GZIP_MAGIC):
            return data, name
        data = gunzip(data, limit)
        name = name[:-3] if name.lower().endswith(".gz") else name
        if not data:
            raise DocumentSkipped("the file is empty inside its gzip", code="empty")
    if data.startswith(GZIP_MAGIC):
        raise DocumentSkipped("gzip within gzip within gzip", code="unsupported")
    return data, name


def _parsed(data: bytes, media_type: str, options: ParseOptions) -> ParsedDocument:
    # Converters that bring libraries are imported when their first document comes.
    if media_type == mime.HTML:
        from lexigram_ray.ingestion import html

        page = html.convert(decode(data, html.declared_encoding(data)))
        return _whole(media_type, page.markdown, page.title, page.metadata)
    if media_type == mime.EPUB:
        from lexigram_ray.ingestion import epub

        book = epub.convert(data, options.max_decoded_bytes)
        return _whole(media_type, book.markdown, book.title, book.metadata)
    if media_type == mime.MAIL:
        from lexigram_ray.ingestion import mail

        letter = mail.convert(data)
        return _whole(media_type, letter.markdown, letter.subject, letter.metadata)
    if media_type == mime.XML:
        from lexigram_ray.ingestion import xml_text

        words = xml_text.convert(data)
        return replace(_plain(media_type, words.text), title=words.title)
    if media_type in mime.OFFICE or media_type.startswith("image/"):
        return _office(data, media_type, options)
    return _text(media_type, decode(data))


def _office(data: bytes, media_type: str, options: ParseOptions) -> ParsedDocument:
    from lexigram_ray.ingestion import office

    extract = office.convert(
        data, media_type, limit=options.max_decoded_bytes, ocr_language=options.ocr_language
    )
    if len(extract.pages) == 1 and extract.pages[0][0] == 0:
        return _whole(media_type, extract.pages[0][1], extract.title, extract.metadata)
    text, spans = _joined(extract.pages)
    return ParsedDocument(
        content_hash="",
        text=text,
        markdown=extract.markdown,
        mime=media_type,
        title=extract.title,
        pages=spans,
        metadata=extract.metadata,
    )


def _joined(pages: tuple[tuple[int, str], ...]) -> tuple[str, tuple[PageSpan, ...]]:
    """Join pages into one text; a span ends where its page does, the break belongs to none."""
    spans: list[PageSpan] = []
    parts: list[str] = []
    position = 0
    for number, raw in pages:
        page = clean(raw)
        spans.append(PageSpan(number=number, char_start=position, char_end=position + len(page)))
        # A page without words has an empty span and adds no break.
        if page:
            parts += [page, _PAGE_BREAK]
            position += len(page) + len(_PAGE_BREAK)
    return "".join(parts[:-1]), tuple(spans)


def _text(media_type: str, text: str) -> ParsedDocument:
    if media_type == mime.RST:
        return _whole(media_type, rst.convert(text), "", {})
    if media_type == mime.MARKDOWN:
        return _markdown(text)
    if media_type == mime.CSV:
        text = records.csv_text(text)
    elif media_type == mime.JSON:
        text = records.json_text(text)
    elif media_type == mime.JSON_LINES:
        text = records.json_lines_text(text)
    return _plain(media_type, text)


def _plain(media_type: str, text: str) -> ParsedDocument:
    return ParsedDocument(
        content_hash="", text=clean(text), markdown=False, mime=media_type, title=""
    )


def _markdown(text: str) -> ParsedDocument:
    end = front_matter.find(text).end
    metadata = front_matter.fields(text[:end])
    title = metadata.get("title")
    return _whole(mime.MARKDOWN, text[end:], title if isinstance(title, str) else "", metadata)


def _whole(
    media_type: str, markdown: str, title: str, metadata: dict[str, object]
) -> ParsedDocument:
    return ParsedDocument(
        content_hash="",
        text=clean(markdown),
        markdown=True,
        mime=media_type,
        title=title,
        metadata=metadata,
    )


def _no_text_hint(parsed: ParsedDocument, options: ParseOptions) -> str | None:
    if parsed.mime == mime.PDF and options.ocr_language is None:
        return "if it holds scanned pages, install tesseract and set parser.ocr"
    return None
