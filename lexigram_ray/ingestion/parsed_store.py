"""Parsed text, kept compressed by the hash of the bytes that it came from.

Offsets, passages and re-chunking read it from here, so that no document is parsed twice by the
same parser. A file is one zlib stream: 8 bytes with the header's length, the header (JSON), the
text (UTF-8). Over 10 MB of Markdown, zlib at level 1 packs 110 MB/s and unpacks 260 MB/s; pyarrow's
zstd (210, 330, files a fifth smaller) would cost every parser process 0.2 s of import, and reading
a passage the same. zlib's checksum shows damage.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lexigram_ray.core.errors import LimitExceededError
from lexigram_ray.core.types import PageSpan, ParsedDocument
from lexigram_ray.ingestion.sniff import suffix_hint

if TYPE_CHECKING:
    from lexigram_ray.core.config import ParserSettings

PARSE_REVISION = 3
"""Raised whenever this package parses any document differently."""

_LEVEL = 1
_BLOCK = 1 << 20
_LENGTH_BYTES = 8

PARSED_SUFFIX = ".z"
UNFINISHED_SUFFIX = ".tmp"


def parser_fingerprint(settings: ParserSettings) -> str:
    """Name everything that bears on the text that a document's bytes become.

    Limits are not part of it: they decide whether there is a text, not which.
    """
    return _fingerprint(settings.ocr_language if settings.ocr else None)


@cache
def _fingerprint(ocr_language: str | None) -> str:
    name = f"kreuzberg-{version('kreuzberg')}-r{PARSE_REVISION}"
    return f"{name}-ocr-{ocr_language}" if ocr_language else name


class ParsedStore:
    """Parsed documents of one parser.

    Any number of processes may read and write it at once: files appear whole, by renaming.

    Args:
        root: The folder; it is made at the first write.
        fingerprint: Of the parser, from `parser_fingerprint`; the default parser's if left out.
    """

    def __init__(self, root: Path, *, fingerprint: str | None = None) -> None:
        self.root = root
        self.fingerprint = fingerprint if fingerprint is not None else _fingerprint(None)

    def get(self, content_hash: str, path: str = "") -> ParsedDocument | None:
        """Return what was kept, or None where nothing was or it is damaged.

        Args:
            content_hash: Of the document's raw bytes.
            path: The document's path: among texts, its suffix is part of the key.
        """
        try:
            packed = self._file(content_hash, path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            parsed = _unpack(packed)
        except (zlib.error, ValueError, KeyError, TypeError):
            # Damaged, or of a later version: it is written again when the document is parsed.
            return None
        return parsed if parsed.content_hash == content_hash else None

    def put(
        self,
        parsed: ParsedDocument,
        path: str = "",
        *,
        max_bytes: int | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Keep a document.

        Args:
            parsed: The document.
            path: As for `get`.
            max_bytes: The most bytes of text, as UTF-8.
            scratch: Where the file grows before it is renamed; on the same file system.

        Raises:
            LimitExceededError: The text is longer than `max_bytes`.
            OSError: It cannot be written.
        """
        target = self._file(parsed.content_hash, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        name = f"{target.name}.{os.getpid()}.{os.urandom(4).hex()}{UNFINISHED_SUFFIX}"
        temporary = (scratch or target.parent) / name
        try:
            with open(temporary, "wb") as file:
                _pack(parsed, file, max_bytes)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _file(self, content_hash: str, path: str) -> Path:
        hint = suffix_hint(path)
        name = f"{content_hash}.{hint}{PARSED_SUFFIX}" if hint else f"{content_hash}{PARSED_SUFFIX}"
        return self.root / self.fingerprint / content_hash[:2] / name


def _pack(parsed: ParsedDocument, file: BinaryIO, max_bytes: int | None) -> None:
    fields = asdict(parsed)
    text = fields.pop("text")
    header = json.dumps(fields, ensure_ascii=True).encode()
    packer = zlib.compressobj(_LEVEL)
    file.write(packer.compress(len(header).to_bytes(_LENGTH_BYTES, "big") + header))
    size = 0
    for block in _blocks(text):
        size += len(block)
        if max_bytes is not None and size > max_bytes:
            raise LimitExceededError(
                f"its text is longer than {max_bytes >> 20} MB",
                hint="raise parser.max_output_mb if the file is trusted",
            )
        file.write(packer.compress(block))
    file.write(packer.flush())


def _blocks(text: str) -> Iterator[bytes]:
    # Encoded piece by piece: a big text is never held a second time as bytes.
    for start in range(0, len(text), _BLOCK):
        yield text[start : start + _BLOCK].encode()


def _unpack(packed: bytes) -> ParsedDocument:
    raw = memoryview(zlib.decompress(packed))
    length = int.from_bytes(raw[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + length
    fields = json.loads(bytes(raw[_LENGTH_BYTES:end]))
    return ParsedDocument(
        content_hash=fields["content_hash"],
        text=str(raw[end:], "utf-8"),
        markdown=fields["markdown"],
        mime=fields["mime"],
        title=fields["title"],
        pages=tuple(PageSpan(**page) for page in fields["pages"]),
        metadata=fields["metadata"],
    )
