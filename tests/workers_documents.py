"""Documents, doubles and waiting for tests of the document ingestion worker."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from lexigram_ray.workers.document_ingestion.types import Document, IngestionProgress
from lexigram_ray.workers.document_ingestion.worker import DocumentIngestionWorker
from tests import documents

PROSE = "Every vessel reports to the harbour master. "


def written(folder: Path) -> dict[str, Path]:
    """Write one document of each of some formats, and a broken one, by their names."""
    made = {
        "pdf": documents.pdf(),
        "docx": documents.docx_file(),
        "html": documents.html(),
        "md": documents.markdown(),
        "broken": documents.truncated_docx(),
        "empty": b"",
    }
    folder.mkdir(parents=True, exist_ok=True)
    suffixes = {"broken": "docx", "empty": "txt"}
    found = {name: folder / f"{name}.{suffixes.get(name, name)}" for name in made}
    for name, path in found.items():
        path.write_bytes(made[name])
    return found


async def ended(
    worker: DocumentIngestionWorker, job_id: str, seconds: float = 120.0
) -> IngestionProgress:
    """Wait until a document has ended, and return how it did."""
    deadline = time.monotonic() + seconds
    while True:
        progress = await worker.get_progress(job_id)
        assert progress is not None
        if progress.status.is_final:
            return progress
        assert time.monotonic() < deadline, f"it did not end: {progress}"
        await asyncio.sleep(0.02)


class Rows:
    """A store of the reference's shape, which appends whatever it is given.

    Attributes:
        calls: How many rows each call gave.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[str, list[float], dict[str, Any], str]] = []
        self.calls: list[int] = []

    async def add_texts(
        self,
        texts: list[str],
        embeddings: list[list[float]] | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        collection_name: str | None = None,
    ) -> None:
        self.calls.append(len(texts))
        for row in zip(texts, embeddings or [], metadatas or [], strict=True):
            self.rows.append((*row, collection_name or ""))


class Vectors:
    """A provider of the reference's shape: a vector tells its text's length.

    Attributes:
        calls: The texts of each call.
    """

    dimension = 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    async def embed_texts(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        return [[0.1, float(len(text))] for text in texts]


class UpperCase:
    """A parser of the reference's shape."""

    def __init__(self) -> None:
        self.parsed: list[Path] = []

    async def parse(self, file_path: Path) -> Document:
        self.parsed.append(file_path)
        return Document(file_path.read_text().upper(), {"parsed_by": "UpperCase"})

    async def extract_metadata(self, file_path: Path) -> dict[str, Any]:
        return {"parsed_by": "UpperCase"}
