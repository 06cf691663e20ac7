"""The lines of a table that is text: unpacked, decoded, one by one, in flat memory.

A file of records may be damaged at one of a million lines, or show its encoding only there. So
lines are cut as bytes and decoded alone; only what is not ASCII at heart is decoded as a stream.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pyarrow as pa

from lexigram_ray.ingestion.decode import encoding_of
from lexigram_ray.ingestion.table_rows import storable

LONGEST_LINE = 64 << 20
"""Bytes of a line; a longer one is no record of texts, but another format or a lost line end."""

HEAD = 1 << 16
"""Bytes from which format, encoding and delimiter are told."""

_PACKED = ((b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_BUFFER = 1 << 20
_BLOCK = 1 << 20
# None of them is a part of a longer character in any encoding that is found.
_BREAKS = (b'"', b",", b"\n", b" ")
_RECORD_ENDS = re.compile(rb"\n|\}\s*,")


def packing_of(head: bytes) -> str | None:
    """Return how a file is packed, by its first bytes: `gzip`, `zstd` or None."""
    return next((name for magic, name in _PACKED if head.startswith(magic)), None)


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked, and no half of a character at their end.

    Raises:
        OSError: It cannot be read, or its packing is damaged.
    """
    with _unpacked(path) as stream:
        head = stream.read(HEAD)
    return head[: len(head) - len(head) % 4] if len(head) == HEAD else head


def text_lines(path: Path) -> Iterator[str | None]:
    r"""Yield each line with its line end; None in place of one that is too long.

    Only `\n` ends a line, or `\r` in a file that has no `\n`. The byte order mark is taken off.

    Raises:
        OSError: The file cannot be read, or its packing is damaged or ends too early.
    """
    head = read_head(path)
    encoding = encoding_of(head)
    with _unpacked(path) as stream:
        if encoding.startswith(("utf-16", "utf-32")):
            wide = io.TextIOWrapper(stream, encoding, errors="replace", newline="\n")
            yield from _unmarked(_cut_text(wide))
        elif b"\n" not in head and b"\r" in head.rstrip(b"\r"):
            old = io.TextIOWrapper(stream, encoding, errors="replace", newline=None)
            yield from _unmarked(_cut_text(old))
        else:
            yield from _unmarked(_decoded(_cut_bytes(stream), head))


def text_blocks(path: Path) -> Iterator[str]:
    """Yield the text of a file whose records are not lines, some at a time.

    Raises:
        OSError: As `text_lines`.
    """
    head = read_head(path)
    encoding = encoding_of(head)
    with _unpacked(path) as stream:
        if encoding.startswith(("utf-16", "utf-32")):
            wide = codecs.iterdecode(iter(lambda: stream.read(_BLOCK), b""), encoding, "replace")
            blocks = _unmarked(wide)
        else:
            blocks = _unmarked(_decoded(_whole_characters(stream), head))
        yield from (block for block in blocks if block is not None)


def _unpacked(path: Path) -> io.BufferedReader:
    with path.open("rb") as file:
        packing = packing_of(file.read(8))
    if packing is None:
        return io.BufferedReader(io.FileIO(path), _BUFFER)
    packed = pa.CompressedInputStream(pa.OSFile(str(path)), packing)
    return io.BufferedReader(cast("io.RawIOBase", packed), _BUFFER)


def _cut_bytes(stream: io.BufferedReader) -> Iterator[bytes | None]:
    while line := stream.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(LONGEST_LINE)
        yield None


def _whole_characters(stream: io.BufferedReader) -> Iterator[bytes]:
    """Yield blocks that cut no character in two."""
    held = b""
    while block := stream.read(_BLOCK):
        end = max(map(block.rfind, _BREAKS)) + 1
        if end or len(held) > LONGEST_LINE:
            yield held + block[:end]
            held = block[end:]
        else:
            held += block
    yield held


def _cut_text(stream: io.TextIOWrapper) -> Iterator[str | None]:
    while line := stream.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith("\n"):
            yield line
            continue
        while line and not line.endswith("\n"):
            line = stream.readline(LONGEST_LINE)
        yield None


def _decoded(lines: Iterator[bytes] | Iterator[bytes | None], head: bytes) -> Iterator[str | None]:
    encoding = ""
    for line in lines:
        if line is None:
            yield None
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError:
            # Found once: it takes long, and a file has one encoding.
            encoding = encoding or _encoding_at(line, head)
            yield _decoded_as(line, encoding)
        else:
            if len(text) != len(line):
                # One broken character does not make a file of UTF-8 another one.
                encoding = encoding or "utf-8"
            yield text


def _encoding_at(line: bytes, head: bytes) -> str:
    # Records of ASCII say nothing, but would drown out the others.
    records = [*_RECORD_ENDS.split(head), *_RECORD_ENDS.split(line)]
    return encoding_of(b"\n".join(record for record in records if not record.isascii()))


def _decoded_as(line: bytes, encoding: str) -> str:
    try:
        # Surrogates in UTF-8 are the mark of programs that think in UTF-16.
        return storable(
            line.decode(encoding, "surrogatepass" if encoding == "utf-8" else "replace")
        )
    except UnicodeDecodeError:
        return line.decode(encoding, "replace")


def _unmarked(lines: Iterator[str] | Iterator[str | None]) -> Iterator[str | None]:
    for place, line in enumerate(lines):
        yield line if place or line is None else line.removeprefix("\ufeff")
