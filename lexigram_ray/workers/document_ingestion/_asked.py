"""What is asked for one document, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexigram_ray.core.errors import DocumentSkipped
from lexigram_ray.core.ids import source_name
from lexigram_ray.core.types import Document, FileStamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for one document.

    Attributes:
        path: Resolved, and allowed.
        parser: An object of other code that parses it.
        chunker: An object of other code that cuts it.
    """

    job_id: str
    document_id: str
    path: Path
    collection: str
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    chunking: Mapping[str, Any] | None = None
    batch_size: int = 50
    parser: object | None = None
    chunker: object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What came of a document.

    Attributes:
        chunks: That are stored.
        pages: Of the document, where its format has any.
        note: Why there are no chunks.
    """

    chunks: int
    pages: int = 0
    note: str = ""


def unidentified(path: Path, document_id: str) -> Document:
    """Return a document without a look at its file."""
    return Document(
        document_id=document_id,
        path=str(path),
        source=source_name(path),
        stamp=FileStamp(size=0, mtime_ns=0, ctime_ns=0, inode=0),
    )


def identified(asked: Asked) -> Document:
    """Return the document asked for, with its file's stamp and hash of now.

    Raises:
        UnreadableError: The file cannot be read.
        DocumentSkipped: It is empty.
    """
    from lexigram_ray.jobs.plan import identify

    document = identify(unidentified(asked.path, asked.document_id))
    if document.stamp.size == 0:
        raise DocumentSkipped("the file is empty", code="empty")
    return document
