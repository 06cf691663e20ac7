"""Documents and doubles for tests of the document ingestion worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lexigram_ray.workers.document_ingestion.types import Document
from tests import documents
from tests.workers_doubles import Vectors as AnyVectors

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


class Vectors(AnyVectors):
    """A provider that says how long its vectors are."""

    dimension = 2


class UpperCase:
    """A parser of the reference's shape."""

    def __init__(self) -> None:
        self.parsed: list[Path] = []

    async def parse(self, file_path: Path) -> Document:
        self.parsed.append(file_path)
        return Document(file_path.read_text().upper(), {"parsed_by": "UpperCase"})

    async def extract_metadata(self, file_path: Path) -> dict[str, Any]:
        return {"parsed_by": "UpperCase"}
