"""Documents that are nothing but text in memory, and tools that execute them without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lexigram_ray.core.ids import document_id, hash_text
from lexigram_ray.core.types import ChunkerSpec, Document, FileStamp, ParsedDocument
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.ingestion.chunker import Chunker
from lexigram_ray.jobs.executor import Tools
from tests.fakes import HashingProvider

DIMENSION = 8
CHUNKER = ChunkerSpec(strategy="characters", size=40, overlap=0)


class MemoryParser:
    """A parser whose documents are given: a text for each name, or the error that it raises."""

    def __init__(self, contents: Mapping[str, str | Exception]) -> None:
        self._contents = contents
        self.parsed: list[str] = []
        self.is_closed = False

    def parse(self, document: Document) -> ParsedDocument:
        content = self._contents[Path(document.path).name]
        self.parsed.append(Path(document.path).name)
        if isinstance(content, Exception):
            raise content
        return ParsedDocument(
            content_hash=document.content_hash,
            text=content,
            markdown=False,
            mime="text/plain",
            title="",
        )

    def close(self) -> None:
        self.is_closed = True


def document(name: str, size: int = 10) -> Document:
    path = Path("/memory") / name
    return Document(
        document_id=document_id(path),
        path=str(path),
        source=str(path),
        stamp=FileStamp(size=size, mtime_ns=1, ctime_ns=1, inode=1),
        content_hash=hash_text(name),
    )


def sentences(count: int, of: str) -> str:
    """Return a text that is cut into `count` chunks, all different."""
    return "\n\n".join(f"Sentence {number:05} of the document {of}." for number in range(count))


def tools(contents: Mapping[str, str | Exception], scratch: Path, **changes: object) -> Tools:
    """Return the tools of one worker; `changes` replace some of them."""
    provider = HashingProvider(DIMENSION)
    plain = Tools(
        parser=MemoryParser(contents),
        chunker=Chunker(CHUNKER, None),
        embedder=CachedEmbedder(lambda: provider, None, provider.spec),
        dimension=DIMENSION,
        job_id="job",
        scratch=scratch,
    )
    return replace(plain, **changes)
