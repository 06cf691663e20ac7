"""Numbers of a job's progress are totals: telling one twice changes nothing, and none is a sum."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from lexigram_ray.workers import (
    BatchEmbeddingProgress,
    BatchEmbeddingWorker,
    EmbeddingStatus,
    ProgressTracker,
)
from tests.workers_doubles import ended


class Provider:
    """Embeds a text as its length."""

    async def embed_texts(self, texts: list[str]) -> list[list[float]]:
        return [[float(len(text)), 1.0] for text in texts]


class Store:
    """Keeps what it is given."""

    async def add_texts(self, texts: list[str], **kept: Any) -> None:
        await asyncio.sleep(0)


def test_fault_07_running_totals_are_set_and_never_added() -> None:
    progress = BatchEmbeddingProgress("a1", EmbeddingStatus.PROCESSING, total_texts=10)

    for hits in (1, 1, 3):
        progress.update(texts_processed=hits + 2, cache_hits=hits, cache_misses=2)

    assert (progress.texts_processed, progress.cache_hits, progress.cache_misses) == (5, 3, 2)
    assert progress.cache_hit_rate == 60.0
    assert progress.progress_percent == 50.0


def test_fault_07_a_tracker_that_is_told_the_same_twice_knows_it_once() -> None:
    async def scenario() -> BatchEmbeddingProgress | None:
        tracker = ProgressTracker()
        await tracker.initialize_job("a1", 10)
        for _ in range(2):
            await tracker.update_progress("a1", texts_processed=4, cache_hits=3, cache_misses=1)
        return await tracker.get_progress("a1")

    progress = asyncio.run(scenario())

    assert progress is not None
    assert (progress.texts_processed, progress.cache_hits, progress.cache_misses) == (4, 3, 1)


def test_fault_07_hits_and_misses_of_a_job_of_many_batches_are_its_texts(tmp_path: Path) -> None:
    async def scenario() -> tuple[BatchEmbeddingProgress, BatchEmbeddingProgress]:
        worker = BatchEmbeddingWorker(Store(), Provider(), state=tmp_path)
        await worker.start()
        try:
            half = [{"text": f"text {number}", "metadata": {}} for number in range(20)]
            whole = [{"text": f"text {number}", "metadata": {}} for number in range(40)]
            first = await ended(worker, await worker.embed_batch(half, "c", batch_size=3))
            second = await ended(worker, await worker.embed_batch(whole, "c", batch_size=3))
            return first, second
        finally:
            await worker.stop()

    first, second = asyncio.run(scenario())

    assert (first.cache_hits, first.cache_misses, first.texts_processed) == (0, 20, 20)
    assert (second.cache_hits, second.cache_misses, second.texts_processed) == (20, 20, 40)
    assert second.cache_hit_rate == 50.0
