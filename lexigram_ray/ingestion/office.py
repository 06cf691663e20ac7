"""PDF, office documents and pictures, read by kreuzberg; its errors become ours here."""

from __future__ import annotations

import re
import secrets
import zipfile
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, cast

from lexigram_ray.core.errors import (
    CorruptError,
    DocumentError,
    EncryptedError,
    LimitExceededError,
    OcrFailedError,
    ParseFailedError,
)
from lexigram_ray.ingestion.decode import check_unpacked_size
from lexigram_ray.ingestion.fences import outside_code
from lexigram_ray.ingestion.mime import DOCX, PDF, PPTX, ZIPPED_OFFICE
from lexigram_ray.ingestion.print_layout import paragraphs_of

if TYPE_CHECKING:
    from kreuzberg import ExtractionConfig, ExtractionResult, OcrConfig

_META = ("subject", "keywords", "language", "created_at", "modified_at")
_PLACEHOLDERS = frozenset({"anonymous", "unspecified", "untitled", "python-docx", "openpyxl"})
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_STILL_ESCAPED = frozenset("#`|\\")
_IMAGE = re.compile(r"(?<!\\)!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"(?<!\\)\[([^\]\n]+)\]\(<?((?:[^()\s<>]|\([^()\s<>]*\))*)>?(?: \"[^\"]*\")?\)")
# What a link may lead to. `f[i](x)` in a text looks like a link, too, but leads nowhere.
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]+://|(?:mailto|tel|sms|data|file|urn|doi|news|cid|javascript):"
    r"|[/#?]|\.{1,2}/|www\.|[\w-]+(?:\.[\w-]+)+/"
    r"|[\w%/+.-]+\.(?:x?html?|aspx?|jsp|php|pdf|md|rst|txt|csv|json|xml|docx?|xlsx?|pptx?|od[tsp]"
    r"|epub|zip|png|jpe?g|gif|svg|webp|bmp|tiff?|emf|wmf|com|org|net|edu|gov)(?:[?#].*)?$",
    re.I,
)
_WORD_PART = re.compile(r"word/[^/]+\.xml")
# Characters for private use, from a plane where nobody's fonts have theirs.
_STAND_INS = {
    "&lt;": ("\U0010f3c0", "<"),
    "&gt;": ("\U0010f3c1", ">"),
    "&amp;": ("\U0010f3c2", "&"),
    "&quot;": ("\U0010f3c3", '"'),
    "&apos;": ("\U0010f3c4", "'"),
}
_ENCRYPTED = re.compile(r"\b(?:password|(?:en|de)crypt\w*)", re.I)
_CORRUPT = re.compile(
    r"\b(?:corrupt\w*|truncat\w*|malformed|damaged|unexpected (?:eof|end)|eocd"
    r"|not a (?:valid )?\w+ file)\b",
    re.I,
)
_TOO_LARGE = re.compile(
    r"\b(?:limits?|exceed(?:s|ed|ing)?|too (?:large|big|many|deep(?:ly)?)|bomb"
    r"|compression ratio)\b",
    re.I,
)
# Said of damage most often, but also of what is over a limit ("invalid: too many entries").
_PERHAPS_CORRUPT = re.compile(
    r"\b(?:invalid|missing|not found|(?:bad|wrong|unknown|unrecogni[sz]ed) (?:\w+ )?format"
    r"|failed to (?:load|open|parse)|no such file|i/o error)\b",
    re.I,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """What kreuzberg read: the pages in order (one for formats without), and facts.

    Attributes:
        pages: Numbers from 1 and texts; one page numbered 0 for formats without pages.
    """

    pages: tuple[tuple[int, str], ...]
    markdown: bool
    title: str
    metadata: dict[str, object] = field(default_factory=dict[str, object])


def convert(data: bytes, mime: str, *, limit: int, ocr_language: str | None) -> Extract:
    """Extract text.

    Args:
        data: The file.
        mime: Its type, as sniffed.
        limit: The most bytes that a zipped document may unpack to.
        ocr_language: tesseract's language code to read pictures with; None reads none.

    Raises:
        EncryptedError: It needs a password.
        CorruptError: It is damaged.
        LimitExceededError: It unpacks to more than `limit`.
        ParseFailedError: It cannot be read for another reason.
    """
    if mime in ZIPPED_OFFICE:
        _check_container(data, limit)
    if mime == DOCX:
        data = _with_stand_ins(data)
    marker = f"page{secrets.token_hex(8)}mark"
    result = _extract(data, mime, _config(mime, marker, ocr_language))
    facts = cast("dict[str, object]", result.metadata)
    title = facts.get("title")
    if mime == PDF:
        pages = paragraphs_of(_printed_pages(result, marker))
    elif mime == PPTX:
        pages = tuple(
            (number, tidy(text).strip()) for number, text in _marked_pages(result.content, marker)
        )
    else:
        pages = ((0, tidy(_without_stand_ins(result.content))),)
    return Extract(
        pages=pages,
        markdown=mime != PDF,
        title="" if not isinstance(title, str) or title.lower() in _PLACEHOLDERS else title.strip(),
        metadata=_metadata(facts),
    )


def tidy(markdown: str) -> str:
    r"""Take out what is noise to readers and models: addresses of links, backslash escapes.

    Code blocks stay as they are, and so do the escapes without which a heading or table would
    appear that is not there.
    """
    return outside_code(markdown, _tidy_prose)


def _tidy_prose(text: str) -> str:
    text = _LINK.sub(_words_of_link, _IMAGE.sub(r"\1", text))
    return _ESCAPED.sub(lambda match: match[match[1] not in _STILL_ESCAPED], text)


def _words_of_link(link: re.Match[str]) -> str:
    return link[1] if _ADDRESS.match(link[2]) else link[0]


def _check_container(data: bytes, limit: int) -> None:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            check_unpacked_size(archive, limit)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise CorruptError(f"its zip container is damaged: {error}") from error


def _with_stand_ins(data: bytes) -> bytes:
    """Put stand-ins for the references (`&lt;`) into a DOCX, which kreuzberg would lose."""
    copy = BytesIO()
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive, zipfile.ZipFile(copy, "w") as written:
            for name in archive.namelist():
                part = archive.read(name)
                written.writestr(name, _replaced(part) if _WORD_PART.fullmatch(name) else part)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        # Damaged or encrypted: kreuzberg says what is wrong with it.
        return data
    return copy.getvalue()


def _replaced(part: bytes) -> bytes:
    for reference, (stand_in, _) in _STAND_INS.items():
        part = part.replace(reference.encode(), stand_in.encode())
    return part


def _without_stand_ins(text: str) -> str:
    for stand_in, meant in _STAND_INS.values():
        text = text.replace(stand_in, meant)
    return text


def _config(mime: str, marker: str, ocr_language: str | None) -> ExtractionConfig:
    from kreuzberg import ConcurrencyConfig, ExtractionConfig, PageConfig

    return ExtractionConfig(
        # Without this kreuzberg reads embedded pictures by itself and prints tesseract's errors.
        disable_ocr=ocr_language is None,  # pyright: ignore[reportCallIssue] - its stub lacks it
        ocr=None if ocr_language is None else _ocr(ocr_language),
        use_cache=False,
        enable_quality_processing=False,
        output_format="plain" if mime == PDF else "markdown",
        pages=PageConfig(
            extract_pages=mime == PDF and ocr_language is None,
            # What is read by OCR comes only in the whole text, not in its pages.
            insert_page_markers=mime == PPTX or (mime == PDF and ocr_language is not None),
            marker_format=f"\n\n{marker}{{page_num}}\n\n",
        ),
        # One document a process; more processes are what uses more cores.
        concurrency=ConcurrencyConfig(max_threads=1),
    )


def _ocr(language: str) -> OcrConfig:
    from kreuzberg import OcrConfig, TesseractConfig

    # Left to itself, tesseract takes two lines of prose for a table.
    tables_off = TesseractConfig(language=language, enable_table_detection=False)
    return OcrConfig(backend="tesseract", language=language, tesseract_config=tables_off)


def _extract(data: bytes, mime: str, config: ExtractionConfig) -> ExtractionResult:
    from kreuzberg import KreuzbergError, MissingDependencyError, OCRError, extract_bytes_sync

    try:
        return extract_bytes_sync(data, mime, config)
    except (MissingDependencyError, OCRError) as error:
        if config.ocr is None:
            raise ParseFailedError(
                f"what reads files of its type is missing: {error}",
                hint="install it, or save the file in a newer format",
            ) from error
        raise OcrFailedError(
            f"its pictures cannot be read: {error}",
            hint="install tesseract and the language in parser.ocr_language, or set parser.ocr off",
        ) from error
    except (KreuzbergError, ValueError, OSError, RuntimeError) as error:
        raise _translated(error) from error


def _translated(error: Exception) -> DocumentError:
    reason = str(error).removeprefix("ParsingError: ")
    if _ENCRYPTED.search(reason):
        return EncryptedError("it needs a password", hint="save it without one")
    if _CORRUPT.search(reason):
        return CorruptError(f"it is damaged: {reason}")
    if _TOO_LARGE.search(reason):
        return LimitExceededError(f"it is over a limit of the parser: {reason}")
    if _PERHAPS_CORRUPT.search(reason):
        return CorruptError(f"it is damaged: {reason}")
    return ParseFailedError(f"it cannot be parsed: {reason}")


def _metadata(facts: dict[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {name: facts[name] for name in _META if facts.get(name)}
    authors = facts.get("authors")
    if isinstance(authors, list):
        kept["author"] = ", ".join(str(name) for name in cast("list[object]", authors))
    return {
        name: value
        for name, value in kept.items()
        if not (isinstance(value, str) and value.lower() in _PLACEHOLDERS)
    }


def _marked_pages(content: str, marker: str) -> list[tuple[int, str]]:
    # Asked for page offsets, kreuzberg counts them in another rendering than the one it returns.
    parts = re.split(rf"^\s*{marker}(\d+)\s*$", content, flags=re.M)
    return [(int(number), text) for number, text in zip(parts[1::2], parts[2::2], strict=True)]


def _printed_pages(result: ExtractionResult, marker: str) -> list[tuple[int, str]]:
    pages = [(page["page_number"], page["content"]) for page in result.pages or []]
    return pages or _marked_pages(result.content, marker) or [(0, result.content)]
