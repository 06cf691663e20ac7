"""Queues, providers and stores of other code: what was written for the reference runs unchanged."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import numpy as np
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.result import Err, Ok
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import message_work
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.jobs.store import Store
from lexigram_ray.workers import (
    BatchEmbeddingProgress,
    BatchEmbeddingWorker,
    EmbeddingCache,
    EmbeddingStatus,
    HealthStatus,
    ProgressTracker,
)
from lexigram_ray.workers.protocols import DurableTaskQueue
from tests.tables import rows_of
from tests.workers_batch import Chunk, chunks
from tests.workers_doubles import Rows, Vectors, ended

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEX_AI_WORKERS__STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(message_work, "FIRST_RETRY_SECONDS", 0.01)
    return tmp_path / "state"


class Spoken(Vectors):
    """`embed`, plain and synchronous, in arrays."""

    embed_texts = None  # type: ignore[assignment]

    def embed(self, texts: list[str], model: str) -> np.ndarray[Any, Any]:
        self.calls.append([model, *texts])
        return np.ones((len(texts), 2))


class Upserted:
    """A store with ids, plain and synchronous."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.calls = 0

    def upsert(self, ids: list[str], embeddings: Any, metadatas: Any, texts: list[str]) -> None:
        self.calls += 1
        self.rows |= dict(zip(ids, zip(texts, embeddings, metadatas, strict=True), strict=True))


async def run_one(worker: BatchEmbeddingWorker, given: list[Any], **asked: Any) -> Any:
    await worker.start()
    job_id = await worker.embed_batch(given, "docs", **asked)
    done = await ended(worker, job_id)
    await worker.stop()
    return done


def test_chunks_reach_the_store_with_the_providers_own_vectors() -> None:
    store, provider = Rows(), Vectors()
    done = asyncio.run(run_one(BatchEmbeddingWorker(store, provider, MemoryQueue()), chunks(3)))
    assert (done.status, done.total_texts, done.texts_processed) == ("completed", 3, 3)
    assert [row[0] for row in store.rows] == [chunk.text for chunk in chunks(3)]
    # Exactly as it gave them: neither rounded nor normalised.
    assert [row[1] for row in store.rows] == [[0.1, float(len(c.text))] for c in chunks(3)]
    assert [row[2]["n"] for row in store.rows] == [0, 1, 2]
    assert {row[3] for row in store.rows} == {"docs"}


def test_any_shape_of_provider_and_store_will_do() -> None:
    store, provider = Upserted(), Spoken()
    worker = BatchEmbeddingWorker(store, provider)
    done = asyncio.run(run_one(worker, ["a", {"text": "b", "id": "own"}], model_name="m"))
    assert done.status is EmbeddingStatus.COMPLETED
    assert provider.calls == [["m", "a", "b"]]
    assert store.rows["own"] == ("b", [1.0, 1.0], {})


def test_a_providers_own_default_model_counts_until_somebody_names_one() -> None:
    class Named(Vectors):
        async def embed_texts(self, texts: list[str], model: str = "mine") -> list[list[float]]:
            self.calls.append([model])
            return [[1.0] for _ in texts]

    provider = Named()
    for asked in ({}, {"model_name": "theirs"}):
        asyncio.run(run_one(BatchEmbeddingWorker(Rows(), provider), ["a"], **asked))
    assert provider.calls == [["mine"], ["theirs"]]


def test_doubles_that_are_wholly_asynchronous_mocks_work_and_never_spin() -> None:
    queue, store, provider = AsyncMock(), AsyncMock(), AsyncMock()
    queue.enqueue.return_value = Ok("job-1")
    provider.embed_texts.return_value = [[0.1, 0.2], [0.3, 0.4]]

    async def run() -> None:
        worker = BatchEmbeddingWorker(store, provider, queue)
        await worker.start()
        given = [Chunk("a"), Chunk("b", {"k": 1})]
        assert await worker.embed_batch(given, "docs") == "job-1"
        task = queue.enqueue.call_args.args[0]
        assert task == {
            "name": "batch_embed",
            "args": (),
            "kwargs": {
                "chunks": [{"text": "a", "metadata": {}}, {"text": "b", "metadata": {"k": 1}}],
                "collection_name": "docs",
                "model_name": "text-embedding-ada-002",
                "batch_size": 100,
                "use_cache": True,
            },
            "priority": 0,
        }
        waiting = await worker.get_progress("job-1")
        assert waiting is not None
        assert (waiting.status, waiting.total_texts) == (EmbeddingStatus.PENDING, 2)
        assert (await worker.health_check()).status is HealthStatus.HEALTHY
        queue.dequeue.side_effect = [{**task, "id": "job-1"}, *[None] * 10_000]
        assert (await ended(worker, "job-1")).status is EmbeddingStatus.COMPLETED
        await worker.stop()

    asyncio.run(run())
    store.add_texts.assert_awaited_once()
    assert store.add_texts.call_args.kwargs["embeddings"] == [[0.1, 0.2], [0.3, 0.4]]
    queue.ack.assert_awaited_once_with("job-1")
    assert queue.dequeue.call_count < 100


def test_a_queue_that_refuses_is_told_to_the_caller() -> None:
    queue = AsyncMock()
    queue.enqueue.return_value = Err("full")
    worker = BatchEmbeddingWorker(Rows(), Vectors(), queue)
    with pytest.raises(WorkerError, match="full"):
        asyncio.run(worker.embed_batch(chunks(1), "docs"))


@pytest.mark.parametrize("answer", [MagicMock(), [[0.1]], [["x"], ["y"]], None, [0.1, 0.2]])
def test_what_is_no_vectors_fails_the_job_at_once(answer: object) -> None:
    provider, letters = AsyncMock(), list[str]()
    provider.embed_texts.return_value = answer
    store = Rows()
    worker = BatchEmbeddingWorker(
        store, provider, on_failure=lambda job, error: letters.append(error)
    )
    done = asyncio.run(run_one(worker, chunks(2)))
    assert done.status is EmbeddingStatus.FAILED
    assert done.error is not None
    assert "provider returned" in done.error
    assert letters == [done.error]
    assert store.rows == []


def test_fault_03_a_failing_provider_fails_the_job_and_reaches_the_dead_letters() -> None:
    queue, letters = MemoryQueue(), AsyncMock(spec=["add_failed_job"])
    provider = AsyncMock()
    provider.embed_texts.side_effect = PermissionError("no such key")
    worker = BatchEmbeddingWorker(Rows(), provider, queue, on_failure=letters)
    done = asyncio.run(run_one(worker, chunks(2)))
    assert (done.status, done.error) == ("failed", "PermissionError: no such key")
    (job, error), _ = letters.add_failed_job.call_args
    assert (job.id, job.name, error) == (done.job_id, "batch_embed", done.error)
    gone = asyncio.run(queue.get_job(done.job_id))
    assert gone is not None
    assert gone.status == "failed"


def test_a_provider_that_falters_is_asked_again_and_no_text_is_blamed() -> None:
    provider, store = Vectors(), Rows()
    embed, failures = provider.embed_texts, [ConnectionError("gone"), ConnectionError("gone")]

    async def faltering(texts: list[str]) -> list[list[float]]:
        if failures:
            raise failures.pop()
        return await embed(texts)

    provider.embed_texts = faltering  # type: ignore[method-assign]
    done = asyncio.run(run_one(BatchEmbeddingWorker(store, provider), chunks(4)))
    assert (done.status, done.failed_texts, len(store.rows)) == ("completed", 0, 4)
    assert done.error is None  # Of the tries before it.
    assert provider.calls == [[chunk.text for chunk in chunks(4)]]


def test_a_text_without_a_vector_fails_alone() -> None:
    class Picky(Vectors):
        async def embed_texts(self, texts: list[str]) -> list[list[float]]:
            answers: dict[str, Any] = {"1": [float("nan")], "2": None}
            return [answers.get(text.split()[1], [1.0]) for text in texts]

    store = Rows()
    given = [*chunks(4), Chunk(" ")]
    done = asyncio.run(run_one(BatchEmbeddingWorker(store, Picky()), given))
    assert (done.status, done.texts_processed, done.failed_texts) == ("completed", 5, 3)
    assert done.error is not None
    assert done.error.startswith("3 of 5 texts failed: ")
    assert len(store.rows) == 2


def test_fault_05_no_call_has_more_texts_than_the_batch_size() -> None:
    provider = Vectors()
    asyncio.run(run_one(BatchEmbeddingWorker(Rows(), provider), chunks(7), batch_size=3))
    asyncio.run(
        run_one(BatchEmbeddingWorker(Rows(), provider, default_batch_size=5), chunks(7, "Mole"))
    )
    assert [len(call) for call in provider.calls] == [3, 3, 1, 5, 2]


def test_fault_07_cache_hits_are_running_totals_and_each_text_counts_once() -> None:
    provider = Vectors()
    seen: list[tuple[int, int]] = []

    async def run() -> None:
        worker = BatchEmbeddingWorker(Rows(), provider, default_batch_size=10)
        await worker.start()
        first = await worker.embed_batch(chunks(30), "one")
        done = await ended(worker, first)
        assert (done.cache_hits, done.cache_misses) == (0, 30)
        second = await worker.embed_batch([*chunks(30), *chunks(20, "Mole")], "two")
        while (now := await worker.get_progress(second)) and now.status != "completed":
            seen.append((now.cache_hits, now.cache_misses))
            await asyncio.sleep(0)
        assert now is not None
        assert (now.cache_hits, now.cache_misses, now.cache_hit_rate) == (30, 20, 60.0)
        assert worker.get_stats()["cache_size"] == 50
        await worker.clear_cache()
        assert worker.get_stats()["cache_size"] == 0
        await worker.stop()

    asyncio.run(run())
    assert all(hits <= 30 and misses <= 20 for hits, misses in seen)
    progress = BatchEmbeddingProgress("j", EmbeddingStatus.PROCESSING, total_texts=4)
    progress.update(cache_hits=1)
    progress.update(cache_hits=2, cache_misses=1)
    assert (progress.cache_hits, progress.cache_misses) == (2, 1)


def test_every_stage_is_really_set() -> None:
    seen: list[str] = []

    async def run() -> None:
        worker = BatchEmbeddingWorker(Rows(), Vectors())
        tracker = worker._progress_tracker
        note = tracker.note

        def noted(job_id: str, **changed: Any) -> None:
            note(job_id, **changed)
            if changed.get("status") is not None:
                seen.append(changed["status"].value)

        tracker.note = noted  # type: ignore[method-assign]
        job_id = await worker.embed_batch(chunks(2), "docs")
        pending = await worker.get_progress(job_id)
        assert pending is not None
        seen.append(pending.status.value)
        await worker.start()
        await ended(worker, job_id)
        await worker.stop()

    asyncio.run(run())
    assert list(dict.fromkeys(seen)) == [
        "pending",
        "processing",
        "caching",
        "storing",
        "completed",
    ]


def test_a_message_delivered_again_writes_nothing_twice() -> None:
    class Twice(MemoryQueue):
        """Loses each acknowledgement once."""

        def __init__(self) -> None:
            super().__init__()
            self.lost = set[str]()

        async def ack(self, task_id: str) -> None:
            if task_id in self.lost:
                await super().ack(task_id)
            else:
                self.lost.add(task_id)
                await self.nack(task_id, requeue=True)

    for store in (Rows(), Upserted()):
        done = asyncio.run(run_one(BatchEmbeddingWorker(store, Vectors(), Twice()), chunks(3)))
        assert done.status is EmbeddingStatus.COMPLETED
        assert len(store.rows) == 3


def test_a_store_that_fails_in_the_middle_gets_each_row_once_in_the_end() -> None:
    class Falters(Rows):
        def __init__(self) -> None:
            super().__init__()
            self.fails = [TimeoutError("slow")]

        async def add_texts(self, texts: list[str], *rest: Any, **more: Any) -> None:
            if len(self.rows) == 2 and self.fails:
                raise self.fails.pop()
            await super().add_texts(texts, *rest, **more)

    class Plain(Falters):
        async def add_texts(  # type: ignore[override]
            self, texts: Any, embeddings: Any, metadatas: Any, collection_name: Any
        ) -> None:
            await super().add_texts(texts, embeddings, metadatas, collection_name)

    store = Plain()
    done = asyncio.run(run_one(BatchEmbeddingWorker(store, Vectors()), chunks(6), batch_size=2))
    assert (done.status, done.texts_processed) == ("completed", 6)
    assert [row[0] for row in store.rows] == [chunk.text for chunk in chunks(6)]


def test_two_jobs_of_equal_size_at_once_never_mix() -> None:
    store = Rows()

    async def run() -> None:
        worker = BatchEmbeddingWorker(store, Vectors(), default_batch_size=2)
        await worker.start()
        jobs = [
            await worker.embed_batch(chunks(8, subject), subject) for subject in ("Mole", "Quay")
        ]
        for job_id in jobs:
            done = await ended(worker, job_id)
            assert (done.job_id, done.texts_processed, done.cache_misses) == (job_id, 8, 8)
        assert len(set(jobs)) == 2
        await worker.stop()

    asyncio.run(run())
    assert sorted((row[3], row[0].split()[0]) for row in store.rows) == [
        (name, name) for name in ("Mole", "Quay") for _ in range(8)
    ]


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_provider_that_is_stuck_holds_up_neither_the_health_check_nor_the_end(
    is_plain: bool,
) -> None:
    hangs, began = threading.Event(), threading.Event()

    class Stuck:
        async def embed_texts(self, texts: list[str]) -> list[list[float]]:
            began.set()
            await asyncio.sleep(600)
            return []

        async def health_check(self, timeout: float = 5.0) -> None:
            await asyncio.sleep(600)

    class StuckThread:
        def embed_texts(self, texts: list[str]) -> list[list[float]]:
            began.set()
            hangs.wait(60)
            return [[1.0] for _ in texts]

        def health_check(self) -> None:
            hangs.wait(60)

    queue = MemoryQueue()

    async def run() -> None:
        provider: Any = StuckThread() if is_plain else Stuck()
        worker = BatchEmbeddingWorker(Rows(), provider, queue, drain_seconds=0.2)
        await worker.start()
        job_id = await worker.embed_batch(chunks(2), "docs")
        while not began.is_set():
            await asyncio.sleep(0.01)
        started = time.monotonic()
        health = await worker.health_check(timeout=0.3)
        assert time.monotonic() - started < 1.5
        assert health.status is HealthStatus.DEGRADED
        assert health.error is not None
        assert worker.get_stats()["active_workers"] == 1
        await worker.stop()
        assert time.monotonic() - started < 8.0
        back = await worker.get_progress(job_id)
        assert back is not None
        assert back.status is EmbeddingStatus.PENDING
        assert await queue.get_task_count() == 1

    started = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started < 30.0
    hangs.set()


def test_a_queue_that_hands_nothing_out_is_told_by_the_health_check(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = AsyncMock(spec=["enqueue"])
    queue.enqueue.return_value = Ok("job-1")

    async def run() -> None:
        worker = BatchEmbeddingWorker(Rows(), Vectors(), queue)
        await worker.start()
        assert await worker.embed_batch(chunks(1), "docs") == "job-1"
        health = await worker.health_check()
        assert health.status is HealthStatus.UNHEALTHY
        assert "no dequeue" in (health.error or "")
        await worker.stop()

    with caplog.at_level(logging.WARNING, "lexigram_ray"):
        asyncio.run(run())
    assert "no dequeue" in caplog.text


# -- Only the queue, or only the provider, is of other code ----------------------------------------


def test_vectors_of_a_callers_provider_go_into_a_collection_as_a_job_of_the_store(
    state: Path,
) -> None:
    async def run() -> None:
        worker = BatchEmbeddingWorker(embedding_provider=Vectors())
        await worker.start()
        job_id = await worker.embed_batch([*chunks(5), Chunk(" ")], "docs", batch_size=2)
        done = await ended(worker, job_id)
        assert (done.status, done.total_texts, done.failed_texts) == ("completed", 6, 1)
        assert (done.cache_hits, done.cache_misses) == (0, 5)
        await worker.stop()
        assert [len(call) for call in worker.embedding_provider.calls] == [1, 2, 2, 1]

    asyncio.run(run())
    rows = rows_of(state, "docs")
    assert len(rows) == 5
    assert all(abs(np.linalg.norm(row["vector"]) - 1) < 1e-5 for row in rows)
    with Store.open(load_config().paths.store_url) as store:
        assert store.counts(kind="embed")[JobStatus.COMPLETED] == 1


def test_the_model_named_reaches_a_provider_that_takes_one_also_for_our_collections(
    state: Path,
) -> None:
    provider = Spoken()

    async def run() -> None:
        worker = BatchEmbeddingWorker(embedding_provider=provider)
        done = await run_one(worker, chunks(2), model_name="small")
        assert (done.status, done.error) == ("completed", None)

    asyncio.run(run())
    assert {call[0] for call in provider.calls} == {"small"}
    assert len(rows_of(state, "docs")) == 2


def test_one_worker_works_in_one_event_loop_after_another() -> None:
    store = Rows()
    worker = BatchEmbeddingWorker(store, Vectors())

    async def turn(number: int) -> None:
        await worker.start()
        job_id = await worker.embed_batch(chunks(2, f"Turn {number}"), "docs")
        assert (await ended(worker, job_id)).status is EmbeddingStatus.COMPLETED
        assert (await worker.health_check()).status is HealthStatus.HEALTHY

    for number in range(2):  # Left without stop, as a test may do it.
        asyncio.run(turn(number))
        assert not worker.get_stats()["running"]
    asyncio.run(worker.stop())
    assert len(store.rows) == 4


def test_a_message_delivered_again_is_the_same_job_of_the_store(state: Path) -> None:
    async def run() -> None:
        queue, ids = MemoryQueue(), list[str]()
        for _ in range(2):
            # Another worker each time: nothing in the process remembers the message.
            worker = BatchEmbeddingWorker(embedding_provider=Vectors(), queue=queue)
            await worker.start()
            task = {
                "id": "0123456789abcdef",
                "name": "batch_embed",
                "kwargs": {"chunks": [{"text": "a"}, "b"], "collection_name": "docs"},
            }
            await queue.enqueue(task)
            while await worker.get_progress(task["id"]) is None:  # type: ignore[arg-type]
                await asyncio.sleep(0.01)
            done = await ended(worker, "0123456789abcdef")
            assert (done.status, done.texts_processed) == ("completed", 2)
            await worker.stop()
            ids += [row["job_id"] for row in rows_of(state, "docs")]
        assert len(ids) == 4
        assert len(set(ids)) == 1

    asyncio.run(run())
    with Store.open(load_config().paths.store_url) as store:
        assert sum(store.counts(kind="embed").values()) == 1


def test_a_job_of_the_store_whose_message_failed_for_good_has_failed_too() -> None:
    provider = AsyncMock()
    provider.embed_texts.side_effect = [[[1.0, 0.0]], PermissionError("no"), PermissionError("no")]

    async def run() -> None:
        worker = BatchEmbeddingWorker(embedding_provider=provider)
        done = await run_one(worker, chunks(1))
        assert done.status is EmbeddingStatus.FAILED

    asyncio.run(run())
    with Store.open(load_config().paths.store_url) as store:
        assert store.counts(kind="embed")[JobStatus.PENDING] == 0
        assert store.counts(kind="embed")[JobStatus.FAILED] == 1


# -- Cache and tracker -----------------------------------------------------------------------------

SETS = """
import asyncio
from lexigram_ray.workers import EmbeddingCache
asyncio.run(EmbeddingCache().set("tide\\ud800", "m", [0.1, 2.5]))
"""


def test_fault_01_what_one_process_caches_every_other_one_finds() -> None:
    cache = EmbeddingCache()
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", SETS],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
        )
    assert cache.size() == 1
    assert asyncio.run(cache.get("tide\ud800", "m")) == [0.1, 2.5]
    # Neither another model's, nor another text's, however names and texts are glued together.
    for text, model in (("tide\ud801", "m"), ("tide\ud800", "n"), ("ide\ud800", "mt"), ("", "")):
        assert asyncio.run(cache.get(text, model)) is None
    asyncio.run(cache.clear())
    assert EmbeddingCache().size() == 0


def test_the_cache_asks_a_provider_for_what_it_does_not_know_once() -> None:
    async def run() -> None:
        cache, provider = EmbeddingCache(), Vectors()
        assert await cache.get_batch(["a", "b"], "m") == ([None, None], [(0, "a"), (1, "b")])
        await cache.set_batch([("a", [1.0])], "m")
        assert await cache.get_batch(["a", "b"], "m") == ([[1.0], None], [(1, "b")])
        found = await cache.get_embeddings_with_cache(["a", "bb", "bb", "c"], "m", provider)
        assert found == ([[1.0], [0.1, 2.0], [0.1, 2.0], [0.1, 1.0]], 1, 3)
        assert provider.calls == [["bb", "c"]]
        assert await cache.get_embeddings_with_cache([], "m", provider) == ([], 0, 0)
        # It says nothing of itself: another of its class may make others.
        assert cache.size() == 3
        assert EmbeddingCache().size() == 1

        provider.revision = "1"  # type: ignore[attr-defined]
        await cache.get_embeddings_with_cache(["ddd"], "m", provider)
        assert await EmbeddingCache().get("ddd", "m") == [0.1, 3.0]

    asyncio.run(run())


def test_vectors_are_kept_where_the_durable_queue_that_was_given_keeps_its_state(
    tmp_path: Path,
) -> None:
    provider = Vectors()
    provider.revision = "1"  # type: ignore[attr-defined]
    queue = DurableTaskQueue(state=tmp_path / "elsewhere")
    worker = BatchEmbeddingWorker(Rows(), provider, queue)
    done = asyncio.run(run_one(worker, chunks(3)))
    assert done.status is EmbeddingStatus.COMPLETED
    assert EmbeddingCache().size() == 0
    assert EmbeddingCache(state=tmp_path / "elsewhere").size() == 3
    assert worker.get_stats()["cache_size"] == 3
    asyncio.run(worker.clear_cache())
    assert EmbeddingCache(state=tmp_path / "elsewhere").size() == 0


def test_the_tracker_knows_jobs_by_their_ids_alone() -> None:
    async def run() -> None:
        tracker = ProgressTracker()
        await tracker.initialize_job("a", 5)
        await tracker.initialize_job("b", 5, EmbeddingStatus.PROCESSING)
        await tracker.update_progress("a", EmbeddingStatus.FAILED, texts_processed=2, error="no")
        await tracker.update_progress("nobody", EmbeddingStatus.FAILED)
        first, second = await tracker.get_progress("a"), await tracker.get_progress("b")
        assert first is not None
        assert second is not None
        assert (first.status, first.texts_processed, first.error) == ("failed", 2, "no")
        assert (second.status, second.texts_processed) == ("processing", 0)
        assert tracker.get_active_jobs() == ["b"]
        stats = tracker.get_stats()
        assert (stats["active_jobs"], stats["jobs_by_status"]["failed"]) == (1, 1)
        await tracker.remove_job("b")
        await tracker.remove_job("b")
        assert await tracker.get_progress("b") is None

    asyncio.run(run())
