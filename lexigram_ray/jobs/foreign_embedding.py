"""An embedding job whose provider and store are the caller's: in this process, without the Store.

The rows go through the same checks (`staging`) and the same executor (`execute_rows`) as those of
every other job; only where they come from and where they go is another's.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.types import Failure, FailureCategory
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.chunk_rows import table_of_chunks
from lexigram_ray.jobs.executor import Embedder
from lexigram_ray.jobs.foreign_store import ForeignStore
from lexigram_ray.jobs.staged import StagedTable, read_staged
from lexigram_ray.jobs.staging import stage
from lexigram_ray.jobs.text_executor import execute_rows

__all__ = ["EmbeddedTexts", "TextsFailedError", "embed_into"]


class KnowsVectors(Embedder, Protocol):
    """An embedder that keeps the vectors as they were given."""

    vectors: dict[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedTexts:
    """How far a job is: running totals, `processed == computed + cached + failed`.

    Attributes:
        written: Rows that the store was given.
        first_failure: Why the first of the failed texts failed.
    """

    total: int
    processed: int = 0
    computed: int = 0
    cached: int = 0
    failed: int = 0
    written: int = 0
    first_failure: Failure | None = None


class TextsFailedError(WorkerError):
    """Not one text of a job could be embedded."""

    code = "texts_failed"
    category = FailureCategory.INVALID_INPUT


async def embed_into(
    store: ForeignStore,
    collection: str,
    chunks: Iterable[object],
    embedder: KnowsVectors,
    *,
    job_id: str,
    batch_size: int,
    enter: Callable[[str], None],
    tell: Callable[[EmbeddedTexts], None],
) -> EmbeddedTexts:
    """Embed chunks, some at a time, and write each of these before the next ones.

    A text that has no vector fails alone. Done again, it writes the same rows to the same ids.

    Args:
        enter: Is told `storing` as that begins.
        tell: Is given the running totals after each write.

    Raises:
        UsageError: The chunks or the store are none.
        TextsFailedError: Every text failed.
        Exception: Whatever provider or store raised.
    """
    # A thread may still write into it where this is cancelled.
    with tempfile.TemporaryDirectory(prefix="lexigram-ray-", ignore_cleanup_errors=True) as folder:
        staged = await call(_staged, chunks, Path(folder))
        now = _begun(staged)
        tell(now)
        for some in _batches(staged, batch_size):
            execution = await call(execute_rows, some, embedder, job_id=job_id)
            enter("storing")
            if len(execution.rows):
                await store.write(_exact(execution.rows, embedder), collection)
            embedder.vectors.clear()
            failures = list(execution.failures.values())
            now = replace(
                now,
                processed=now.processed + len(some),
                computed=now.computed + execution.computed,
                cached=now.cached + execution.cached,
                failed=now.failed + len(failures),
                written=now.written + len(execution.rows),
                first_failure=now.first_failure or next(iter(failures), None),
            )
            tell(now)
            # Others of this loop have their turn between two batches.
            await asyncio.sleep(0)
    if now.failed and now.failed == now.total:
        reason = now.first_failure.reason if now.first_failure else "for no reason that is known"
        raise TextsFailedError(f"all {now.total} texts of the job failed; the first: {reason}")
    return now


def _staged(chunks: Iterable[object], folder: Path) -> StagedTable:
    return stage(table_of_chunks(chunks), folder, on_progress=lambda _: None, keep_on=lambda: True)


def _batches(staged: StagedTable, rows: int) -> Iterator[pa.Table]:
    if staged.rows:
        table = read_staged(staged.path)
        for start in range(0, staged.rows, rows):
            yield table.slice(start, rows)


def _begun(staged: StagedTable) -> EmbeddedTexts:
    refused = staged.refused
    return EmbeddedTexts(
        total=staged.read,
        processed=len(refused),
        failed=len(refused),
        first_failure=refused[0].failure if refused else None,
    )


def _exact(rows: pa.Table, embedder: KnowsVectors) -> pa.Table:
    """Return rows with the vectors as the provider gave them, in double precision."""
    vectors = [embedder.vectors[text_hash] for text_hash in rows.column("content_hash").to_pylist()]
    column = pa.array(vectors, pa.list_(pa.float64()))
    return rows.set_column(rows.schema.get_field_index("vector"), "vector", column)
