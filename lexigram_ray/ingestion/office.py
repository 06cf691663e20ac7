"""PDF, office documents and pictures, read by kreuzberg; its errors become ours here."""

from __future__ import annotations

import re
import secrets
import zipfile
from collections import Counter
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
from lexigram_ray.ingestion.mime import PDF, PPTX, ZIPPED_OFFICE

if TYPE_CHECKING:
    from kreuzberg import ExtractionConfig, ExtractionResult, OcrConfig

_META = ("subject", "keywords", "language", "created_at", "modified_at")
_PLACEHOLDERS = frozenset({"anonymous", "unspecified", "untitled", "python-docx", "openpyxl"})
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_STILL_ESCAPED = frozenset("#`|\\")
_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"(?<!\\)\[([^\]\n]+)\]\((?:[^()\s]|\([^()\s]*\))*(?: \"[^\"]*\")?\)")
_BULLET = re.compile(r"\s*(?:[-*•·▪◦–]|\(?[0-9a-zA-Z]{1,3}[.)])\s")
_DIGITS = re.compile(r"\d+|\b[ivxlc]+\b")
_SPLIT_WORD = re.compile(r"(?<=[a-zà-ÿ])-$")
_LEADERS = re.compile(r"(?:\. ?){4,}")
_NUMBER = "#"
_FULL_LINE = 0.72
_RUNNING_SHARE = 0.3
_MIN_PAGES = 4
_ENCRYPTED = re.compile(r"password|encrypt", re.I)
_CORRUPT = re.compile(
    r"invalid|corrupt|truncat|unexpected e(?:of|nd)|eocd|malformed|damaged|missing|not found|format"
    r"|not a (?:valid )?\w+ file|failed to (?:load|open|parse)|no such file|i/o error",
    re.I,
)
_TOO_LARGE = re.compile(r"limit|exceed|too (?:large|big|many|deep)|bomb|ratio", re.I)


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
    marker = f"page{secrets.token_hex(8)}mark"
    result = _extract(data, mime, _config(mime, marker, ocr_language))
    facts = cast("dict[str, object]", result.metadata)
    title = facts.get("title")
    if mime == PDF:
        pages = _pdf_pages(_printed_pages(result, marker))
    elif mime == PPTX:
        pages = tuple(
            (number, tidy(text).strip()) for number, text in _marked_pages(result.content, marker)
        )
    else:
        pages = ((0, tidy(result.content)),)
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
    parts = re.split(r"(^```.*?^```[^\n]*$)", markdown, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else _tidy_prose(part) for part in parts)


def _tidy_prose(text: str) -> str:
    text = _LINK.sub(r"\1", _IMAGE.sub(r"\1", text))
    return _ESCAPED.sub(lambda match: match[match[1] not in _STILL_ESCAPED], text)


def _check_container(data: bytes, limit: int) -> None:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            check_unpacked_size(archive, limit)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise CorruptError(f"its zip container is damaged: {error}") from error


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
    if _TOO_LARGE.search(reason):
        return LimitExceededError(f"it is over a limit of the parser: {reason}")
    if _CORRUPT.search(reason):
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


def _pdf_pages(pages: list[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    if pages[0][0] == 0:
        return tuple(pages)
    lines = [[line.strip() for line in re.split(r"\r?\n", text.strip())] for _, text in pages]
    running = _running_lines(lines)
    return tuple(
        (number, _paragraphs(_without_running(page, running)))
        for (number, _), page in zip(pages, lines, strict=True)
    )


def _running_lines(pages: list[list[str]]) -> set[str]:
    """Find the headers and footers: first or last lines that repeat, but for their numbers."""
    if len(pages) < _MIN_PAGES:
        return set()
    edges = Counter(key for page in pages for key in {_unnumbered(line) for line in _edges(page)})
    return {line for line, count in edges.items() if line and count >= _RUNNING_SHARE * len(pages)}


def _edges(page: list[str]) -> list[str]:
    # The outermost line of each end: further in, text that repeats may be meant. Only a bare
    # number is a page's also in the second line.
    bare = [line for line in (*page[1:2], *page[-2:-1]) if _unnumbered(line) == _NUMBER]
    return [*page[:1], *page[-1:], *bare]


def _without_running(page: list[str], running: set[str]) -> list[str]:
    kept = list(page)
    for end in (0, -1):
        if kept and _unnumbered(kept[end]) in running:
            del kept[end]
        second = 1 if end == 0 else -2
        if len(kept) > 1 and _NUMBER in running and _unnumbered(kept[second]) == _NUMBER:
            del kept[second]
    return kept


def _unnumbered(line: str) -> str:
    return _DIGITS.sub(_NUMBER, line)


def _paragraphs(lines: list[str]) -> str:
    """Join the lines of a column of print into paragraphs: a short line ends one."""
    # Not the longest line: one that is set in small print would make all others look short.
    lengths = sorted(len(line) for line in lines if line)
    width = lengths[int(len(lengths) * 0.85)] if lengths else 0
    joined: list[str] = []
    for number, line in enumerate(lines):
        before = lines[number - 1] if number else ""
        goes_on = (
            bool(line and before)
            and len(before) >= _FULL_LINE * width
            and width > 50
            and not _BULLET.match(line)
            and not _LEADERS.search(before)
        )
        if not goes_on:
            joined.append(line)
        elif _SPLIT_WORD.search(before) and line[:1].islower():
            joined[-1] = joined[-1][:-1] + line
        else:
            joined[-1] = f"{joined[-1]} {line}"
    return "\n".join(joined).strip()
