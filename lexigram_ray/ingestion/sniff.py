"""What a file is: from its content, and from its suffix only where content cannot tell."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import zipfile
from pathlib import PurePath

from lexigram_ray.core.errors import DocumentSkipped, EncryptedError
from lexigram_ray.ingestion import mime
from lexigram_ray.ingestion.decode import decode, encoding_of

SAMPLE = 1 << 16
"""Bytes of a text that are looked at."""

_TEXT_SUFFIXES = {
    ".md": mime.MARKDOWN,
    ".markdown": mime.MARKDOWN,
    ".mdx": mime.MARKDOWN,
    ".rst": mime.RST,
    ".rest": mime.RST,
    ".csv": mime.CSV,
    ".tsv": mime.CSV,
    ".json": mime.JSON,
    ".jsonl": mime.JSON_LINES,
    ".ndjson": mime.JSON_LINES,
    ".ipynb": mime.NOTEBOOK,
    ".eml": mime.MAIL,
    ".html": mime.HTML,
    ".htm": mime.HTML,
    ".xhtml": mime.HTML,
}
# Their content tells whether they are Markdown, reStructuredText or a table.
_PROSE_SUFFIXES = frozenset({"", ".txt", ".text"})
_MACHINE_TEXT = {
    ".css": "a style sheet",
    ".js": "a script of a web page",
    ".mjs": "a script of a web page",
    ".map": "a source map",
    ".svg": "a picture",
    ".pem": "a key or certificate",
    ".crt": "a key or certificate",
}
_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"\x00\x00\x01\x00", "an icon"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"wOFF", "a font"),
    (0, b"wOF2", "a font"),
    (0, b"OTTO", "a font"),
    (0, b"\x00\x01\x00\x00", "a font"),
    (0, b"7z\xbc\xaf\x27\x1c", "an archive"),
    (0, b"Rar!\x1a\x07", "an archive"),
    (0, b"\xfd7zXZ\x00", "an archive"),
    (0, b"BZh", "an archive"),
    (0, b"\x28\xb5\x2f\xfd", "an archive"),
    (257, b"ustar", "an archive"),
    (0, b"!<arch>\n", "an archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"\xcf\xfa\xed\xfe", "a program"),
    (0, b"\x00asm", "a program"),
    (0, b"\xca\xfe\xba\xbe", "a program"),
    (0, b"SQLite format 3\x00", "a database"),
    (0, b"# Sphinx inventory version", "a Sphinx inventory"),
    (0, b"ID3", "sound"),
    (0, b"OggS", "sound"),
    (0, b"fLaC", "sound"),
    (0, b"RIFF", "sound or video"),
    (4, b"ftyp", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),
    (0, b"\x93NUMPY", "an array"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"GIT\x00", "a git pack"),
    (0, b"\xde\x12\x04\x95", "a translation catalogue"),
    (0, b"\x95\x04\x12\xde", "a translation catalogue"),
)
_OCR_IMAGES = frozenset({"image/png", "image/jpeg", "image/tiff", "image/webp", "image/bmp"})
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_SUFFIXES = {".doc": mime.DOC, ".xls": mime.XLS, ".ppt": mime.PPT, ".msg": mime.MSG}
_OLE_STREAMS = (
    ("WordDocument", mime.DOC),
    ("Workbook", mime.XLS),
    ("PowerPoint Document", mime.PPT),
    ("__substg1.0", mime.MSG),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ZIP_FOLDERS = ((b"word/", mime.DOCX), (b"xl/", mime.XLSX), (b"ppt/", mime.PPTX))
_ZIP_MIMETYPES = {t.encode(): t for t in (mime.ODT, mime.ODS, mime.ODP, mime.EPUB)}
_ZIP_SUFFIXES = {
    ".docx": mime.DOCX, ".xlsx": mime.XLSX, ".pptx": mime.PPTX, ".odt": mime.ODT, ".epub": mime.EPUB
}  # fmt: skip

SUFFIXES = frozenset(
    {
        *_TEXT_SUFFIXES,
        *(suffix for suffix in _PROSE_SUFFIXES if suffix),
        *_OLE_SUFFIXES,
        *_ZIP_SUFFIXES,
        ".ods",
        ".odp",
        ".pdf",
        ".rtf",
    }
)
"""File name endings of documents; what a file is, its content says first."""

_CONTROL = bytes(set(range(32)) - set(b"\t\n\f\r\b\x1b")) + b"\x7f"
_SPACE = re.compile(r"\s*")
# Each ends its step: (what it begins with, what it ends with).
_PROLOG = (("<!--", "-->"), ("<?", "?>"))
_DOCTYPE = re.compile(r"<!doctype\b[^>\[]*(?:\[.*?\]\s*)?>", re.I | re.S)
_HTML = re.compile(r"<(?:!doctype\s+html|html[\s>])", re.I)
_TAG = re.compile(r"<(?:p|div|h[1-6]|ul|table|body|head|a|br|span|b|i|title)\b[^<>]*>", re.I)
_SVG = re.compile(r"<svg\b", re.I)
_HEADER = re.compile(r"([A-Za-z][A-Za-z-]*):[ \t]")
_MAIL_HEADERS = frozenset(
    {"from", "to", "subject", "date", "received", "message-id", "mime-version", "return-path"}
)
_RST_DIRECTIVE = re.compile(r"^\.\. [\w:-]+::", re.M)
_RST_TITLE = re.compile(r"^\S.*\n([=\-~^*#\"'`+:.])\1{2,}[ \t]*$", re.M)
_ATX = re.compile(r"^#{1,6} +\S", re.M)
_MARKDOWN = re.compile(r"^```|\[[^\[\]\n]+\]\([^)\s]{1,2000}\)", re.M)


def sniff(data: bytes, name: str, *, ocr: bool = False) -> str:
    """Return a file's media type.

    Args:
        data: The content, after gzip.
        name: Its file name.
        ocr: Whether pictures can be read.

    Raises:
        DocumentSkipped: Code `unsupported`: there is no text to be had from such a file.
        EncryptedError: It is an office document behind a password.
    """
    name = _bare_name(name)
    suffix = PurePath(name).suffix
    if _is_pdf(data):
        return mime.PDF
    if data.startswith(_ZIP):
        return _zip_type(data, suffix)
    if data.startswith(_OLE):
        return _ole_type(data, suffix)
    if data.startswith(b"{\\rtf"):
        return mime.RTF
    binary = _binary_type(data, ocr=ocr)
    if binary:
        return binary
    return _text_type(decode(_whole_characters(data[:SAMPLE])), data, name, suffix)


def suffix_hint(path: str) -> str:
    """Return the part of a file's name that can decide how its text is read.

    Two files of equal bytes but different hints may parse differently, all others never.
    """
    name = _bare_name(PurePath(path).name)
    if name.endswith(".rst.txt"):
        return "rst"
    suffix = PurePath(name).suffix
    if suffix in _PROSE_SUFFIXES:
        return "prose"
    known = (_TEXT_SUFFIXES, _MACHINE_TEXT, _OLE_SUFFIXES, _ZIP_SUFFIXES)
    return suffix[1:] if any(suffix in table for table in known) else "other"


def _bare_name(name: str) -> str:
    # Whether or not it holds gzip: the suffix below decides, and is all that a hint can go by.
    name = name.lower()
    while name.endswith(".gz"):
        name = name[:-3]
    return name


def _is_pdf(data: bytes) -> bool:
    head = data[:1024]
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"%PDF-"):
        return True
    if b"%PDF-" not in head:
        return False
    # Readers allow for junk before the header, but a text may just speak of it. A PDF that is
    # all text still ends as one.
    ends_as_pdf = b"\n%PDF-" in head and b"startxref" in data[-2048:]
    return ends_as_pdf or not _is_text(_whole_characters(data[:SAMPLE]))


def _whole_characters(sample: bytes) -> bytes:
    # The cut may have left half of a character, which would look like another encoding.
    return sample[: len(sample) - len(sample) % 4] if len(sample) == SAMPLE else sample


def _unsupported(what: str) -> DocumentSkipped:
    return DocumentSkipped(f"{what}: there is no text to ingest in it", code="unsupported")


def _binary_type(data: bytes, *, ocr: bool) -> str:
    for offset, magic, what in _MAGIC:
        if data.startswith(magic, offset) and not _is_text_with(magic, data):
            if ocr and what in _OCR_IMAGES:
                return what
            if what.startswith("image/"):
                raise DocumentSkipped(
                    f"a picture ({what})",
                    code="unsupported",
                    hint="install tesseract and set parser.ocr to read pictures",
                )
            raise _unsupported(what)
    if not _is_text(_whole_characters(data[:SAMPLE])):
        raise _unsupported("binary of an unknown kind")
    return ""


def _is_text_with(magic: bytes, data: bytes) -> bool:
    # `BM`, `MZ`, `BZh`, `ID3`, `RIFF` and such may begin a sentence.
    return magic.isascii() and magic.isalnum() and _is_text(data[:SAMPLE])


def _is_text(sample: bytes) -> bool:
    """Tell text from binary by its share of control characters.

    Binary data is seldom valid UTF-8; where it is (tables of small numbers), it is full of zeros.
    """
    encoding = encoding_of(sample)
    if encoding.startswith(("utf-16", "utf-32")):
        text = sample.decode(encoding, errors="replace")
        odd = sum(not (char.isprintable() or char.isspace() or char == "\ufeff") for char in text)
        return odd <= 0.02 * len(text)
    controls = len(sample) - len(sample.translate(None, _CONTROL))
    lost = sample.decode("utf-8", errors="replace").count("\ufffd")
    return controls <= (0.02 if lost > 8 else 0.1) * len(sample)


def _zip_type(data: bytes, suffix: str) -> str:
    # The first entry of ODF and EPUB is their media type, stored as it is.
    if data[30:38] == b"mimetype":
        for known, media_type in _ZIP_MIMETYPES.items():
            if data[38 : 38 + len(known)] == known:
                return media_type
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name.encode("utf-8", "replace") for name in archive.namelist()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        # Truncated: local headers still name the members, so that it can be called damaged.
        names = re.findall(rb"(?:word|xl|ppt)/", data)
    for folder, media_type in _ZIP_FOLDERS:
        if any(name.startswith(folder) for name in names):
            return media_type
    if suffix in _ZIP_SUFFIXES:
        return _ZIP_SUFFIXES[suffix]
    raise _unsupported("an archive")


def _ole_type(data: bytes, suffix: str) -> str:
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise EncryptedError("it needs a password", hint="save it without one")
    for stream, media_type in _OLE_STREAMS:
        if stream.encode("utf-16-le") in data:
            return media_type
    if suffix in _OLE_SUFFIXES:
        return _OLE_SUFFIXES[suffix]
    raise _unsupported("a Microsoft container of an unknown kind")


def _text_type(head: str, data: bytes, name: str, suffix: str) -> str:
    if suffix in _MACHINE_TEXT:
        raise _unsupported(_MACHINE_TEXT[suffix])
    markup = _markup_type(head)
    if markup:
        return markup
    by_suffix = mime.RST if name.endswith(".rst.txt") else _TEXT_SUFFIXES.get(suffix)
    stripped = head.lstrip()
    if stripped.startswith(("{", "[")) and by_suffix in (None, mime.JSON, mime.JSON_LINES):
        return _json_type(stripped, data, by_suffix)
    if by_suffix in (mime.JSON, mime.JSON_LINES, mime.NOTEBOOK):
        return by_suffix if stripped.startswith(("{", "[")) else mime.PLAIN
    if by_suffix == mime.HTML:
        return mime.HTML if _TAG.search(head) else mime.PLAIN
    if by_suffix:
        return by_suffix
    return _prose_type(head, suffix)


def _markup_type(head: str) -> str:
    start = _root_offset(head)
    if _HTML.match(head, start):
        return mime.HTML
    if _SVG.match(head, start):
        raise _unsupported("a picture")
    return mime.XML if head.lstrip().startswith("<?xml") else ""


def _root_offset(head: str) -> int:
    """Return where the doctype of HTML or the first element begins.

    One pattern for all of it would try every way to divide the same comments and blanks.
    """
    position = 0
    while True:
        position = _end_of(_SPACE, head, position)
        if _HTML.match(head, position):
            return position
        end = _end_of(_DOCTYPE, head, position)
        for opening, closing in _PROLOG:
            if head.startswith(opening, position):
                found = head.find(closing, position + len(opening))
                end = found + len(closing) if found >= 0 else position
        if end == position:
            return position
        position = end


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _json_type(head: str, data: bytes, by_suffix: str | None) -> str:
    first, _, rest = head.partition("\n")
    if rest.lstrip().startswith(("{", "[")) and _is_json(first):
        return mime.JSON_LINES
    if by_suffix:
        return by_suffix
    # Code and configuration begin with a bracket too: only what is JSON to its end is JSON.
    whole = head if len(data) <= SAMPLE else ""
    return mime.JSON if whole and _is_json(whole) else mime.PLAIN


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _prose_type(head: str, suffix: str) -> str:
    if _is_mail(head):
        return mime.MAIL
    if suffix not in _PROSE_SUFFIXES:
        return mime.PLAIN
    if _RST_DIRECTIVE.search(head) and _RST_TITLE.search(head):
        return mime.RST
    if _ATX.search(head) and _MARKDOWN.search(head) and not head.startswith("#!"):
        return mime.MARKDOWN
    return mime.CSV if _is_table(head) else mime.PLAIN


def _is_mail(head: str) -> bool:
    block = head.split("\n\n", 1)[0].split("\n")
    if block[0].startswith("From "):
        block = block[1:]
    names: set[str] = set()
    for line in block:
        match = _HEADER.match(line)
        if match:
            names.add(match[1].lower())
        elif not line.startswith((" ", "\t")):
            return False
    return "from" in names and len(names & _MAIL_HEADERS) >= 3


def _is_table(head: str) -> bool:
    lines = [line for line in head.split("\n")[:20] if line.strip()]
    if len(lines) < 3:
        return False
    for delimiter in ",;\t":
        widths = {len(row) for row in csv.reader(lines, delimiter=delimiter)}
        if len(widths) == 1 and widths.pop() > 2:
            return True
    return False
