"""Real chunks: Debian's documentation, parsed and cut by our own parser and chunker, once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lexigram_ray.core.config import ChunkingSettings, ParserSettings
from lexigram_ray.core.errors import DocumentError, DocumentSkipped
from lexigram_ray.core.types import DEFAULT_MODEL, Chunk, Document
from lexigram_ray.embedding.models import describe_model
from lexigram_ray.embedding.tokenizing import load_tokenizer
from lexigram_ray.ingestion.chunker import Chunker, resolve_chunker
from lexigram_ray.ingestion.parsed_store import ParsedStore
from lexigram_ray.ingestion.sandbox import SandboxedParser
from lexigram_ray.ingestion.sources import Scan, SourceFile
from tests.corpus import PACKAGES, whole_packages

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("tokens", pa.int32())])
BATCH = 2_000


def real_chunks(folder: Path) -> pa.Table:
    """Return all distinct chunks of the packages, made at the first call and kept in `folder`.

    Returns:
        Columns `id`, `text` and `tokens` (with special tokens, uncut), in the documents' order.

    Raises:
        SystemExit: The packages are not installed.
    """
    missing = [path.name for path in whole_packages() if not path.is_dir()]
    if missing:
        raise SystemExit(
            f"Debian's documentation is not installed: apt-get install {' '.join(PACKAGES)}"
        )
    file = folder / "chunks.parquet"
    if not file.is_file():
        print("cutting Debian's documentation into chunks (once)", file=sys.stderr)
        table = _cut(folder / "chunking")
        unfinished = file.with_suffix(".unfinished")
        pq.write_table(table, unfinished)
        unfinished.rename(file)
    return pq.read_table(file)


def evenly(table: pa.Table, count: int) -> pa.Table:
    """Return `count` rows at equal distances, or all where there are fewer."""
    if count >= len(table):
        return table
    places = np.linspace(0, len(table) - 1, count).round().astype(np.int64)
    return table.take(pa.array(np.unique(places)))


def save(table: pa.Table, file: Path) -> Path:
    """Write `id` and `text` as the file that peers and ours read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.select(["id", "text"]), file)
    return file


def _cut(folder: Path) -> pa.Table:
    model = describe_model(DEFAULT_MODEL, precision="fp32", models_dir=folder / "models")
    tokenizer = load_tokenizer(model)
    spec = resolve_chunker(
        ChunkingSettings(),  # pyright: ignore[reportCallIssue] - all have defaults
        max_tokens=model.spec.max_tokens,
        special_tokens=tokenizer.num_special_tokens_to_add(is_pair=False),
    )
    chunks = _distinct_chunks(folder / "parsed", Chunker(spec, tokenizer))
    ids, texts = map(list, zip(*chunks, strict=True))
    tokens: list[int] = []
    for start in range(0, len(texts), BATCH):
        encodings = tokenizer.encode_batch_fast(texts[start : start + BATCH])
        tokens += [len(encoding.ids) for encoding in encodings]
    return pa.table([pa.array(ids), pa.array(texts), pa.array(tokens, pa.int32())], schema=SCHEMA)


def _distinct_chunks(parsed: Path, chunker: Chunker) -> Iterator[tuple[str, str]]:
    """Yield id and text of each chunk whose text is new."""
    seen: set[str] = set()
    settings = ParserSettings()  # pyright: ignore[reportCallIssue] - all have defaults
    with SandboxedParser(settings, ParsedStore(parsed)) as parser:
        for entry in Scan(whole_packages(), allowed_roots=None):
            if not isinstance(entry, SourceFile):
                continue
            for chunk in _chunks_of(entry, parser, chunker):
                if chunk.content_hash not in seen:
                    seen.add(chunk.content_hash)
                    yield f"{entry.document_id}:{chunk.index}", chunk.text


def _chunks_of(entry: SourceFile, parser: SandboxedParser, chunker: Chunker) -> Iterator[Chunk]:
    document = Document(
        document_id=entry.document_id, path=entry.path, source=entry.source, stamp=entry.stamp
    )
    try:
        parsed = parser.parse(document)
    except (DocumentSkipped, DocumentError):
        return
    yield from chunker.chunks(parsed)
