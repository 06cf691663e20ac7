"""Rows of a document: whose metadata counts, and in which batches a foreign store gets them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lexigram_ray.core.types import Chunk, Document, FileStamp, Outcome, ParsedDocument
from lexigram_ray.jobs.document_rows import document_rows
from lexigram_ray.jobs.executor import Executed, Execution, Spilled
from lexigram_ray.workers.document_ingestion._foreign_rows import only, row_batches

DOCUMENT = Document(
    document_id="d",
    path="/a",
    source="/a",
    stamp=FileStamp(size=1, mtime_ns=1, ctime_ns=1, inode=1),
)
PARSED = ParsedDocument(
    content_hash="0" * 32,
    text="",
    markdown=False,
    mime="text/plain",
    title="T",
    metadata={"author": "A", "language": "en"},
)


def rows_of(count: int, document: Document = DOCUMENT, **of_chunk: str) -> pa.Table:
    chunks = [
        Chunk(
            index=number,
            text=f"{number}",
            char_start=number,
            char_end=number + 1,
            page=None,
            headings=(),
            content_hash=f"{number}",
            **of_chunk,
        )
        for number in range(count)
    ]
    vectors = np.eye(count, 4, dtype=np.float32)
    return document_rows(document, PARSED, chunks, vectors, job_id="j")


def test_the_callers_metadata_goes_over_the_parsers_and_a_chunks_own_over_both() -> None:
    plain = json.loads(rows_of(1).column("metadata")[0].as_py())
    assert plain == {"mime": "text/plain", "author": "A", "language": "en"}
    named = replace(DOCUMENT, metadata='{"author": "B", "k": 1}')
    given = json.loads(rows_of(1, named).column("metadata")[0].as_py())
    assert given == {"mime": "text/plain", "author": "B", "language": "en", "k": 1}
    own = json.loads(rows_of(1, named, metadata='{"k": 2}').column("metadata")[0].as_py())
    assert own == given | {"k": 2}


@pytest.mark.parametrize("most", [1, 3, 100])
def test_rows_come_in_order_and_no_more_than_asked_at_once(tmp_path: Path, most: int) -> None:
    executed = Executed(document=DOCUMENT, outcome=Outcome.INGESTED, chunks=8)
    small = Execution(units=(executed,), rows=rows_of(8))
    file = tmp_path / "large.arrow"
    table = rows_of(8)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.slice(0, 5))
        writer.write_table(table.slice(5))
    large = Execution(units=(), spilled=(Spilled(executed=executed, path=str(file)),))
    for execution in (small, large):
        assert only(execution) is executed
        parts = list(row_batches(execution, most))
        assert all(0 < len(part) <= most for part in parts)
        ids = [row for part in parts for row in part.column("id").to_pylist()]
        assert ids == [f"d:{number}" for number in range(8)]
