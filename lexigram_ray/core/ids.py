"""Identifiers: what a document, a text and a job are called, the same on every machine."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import blake3

HASH_BYTES = 16
_FILE_URI = "file://"


def hash_bytes(data: bytes | memoryview) -> str:
    """Return 32 hex digits (128 bits of BLAKE3) over `data`."""
    return blake3.blake3(data).hexdigest(length=HASH_BYTES)


def hash_text(text: str) -> str:
    """Return 32 hex digits over `text` as UTF-8; the embedding cache's key."""
    return hash_bytes(text.encode())


def hash_file(path: str | Path) -> str:
    """Return 32 hex digits over a file's bytes, read in flat memory.

    Raises:
        OSError: The file cannot be read.
    """
    hasher = blake3.blake3()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest(length=HASH_BYTES)


def digest(hashes: Iterable[str]) -> str:
    """Return one hash over an ordered run of hashes: a document's chunks, say."""
    hasher = blake3.blake3()
    for item in hashes:
        hasher.update(item.encode())
        hasher.update(b"\n")
    return hasher.hexdigest(length=HASH_BYTES)


def source_name(path: Path) -> str:
    """Return the path as users see it, or its `file://` URI where it is not valid UTF-8."""
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return path.as_uri()
    return text


def source_path(source: str) -> str:
    """Return the path that `source_name` named, as the operating system takes it."""
    if source.startswith(_FILE_URI):
        return os.fsdecode(unquote_to_bytes(source.removeprefix(_FILE_URI)))
    return source


def document_id(path: Path) -> str:
    """Return the id of the document at an absolute, resolved path."""
    return hash_text(path.as_uri())


def chunk_id(document: str, index: int) -> str:
    """Return the primary key of a chunk's row."""
    return f"{document}:{index}"


def new_job_id() -> str:
    """Return a UUID of version 7: ids made later sort later."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & ((1 << 48) - 1)) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
