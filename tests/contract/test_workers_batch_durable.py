"""`BatchEmbeddingWorker()` with nothing given: durable jobs, the local model, rows in Lance."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.embedding.adapters import as_provider
from lexigram_ray.jobs.embed_run import EmbedInterrupted
from lexigram_ray.jobs.foreign_jobs import embed_here
from lexigram_ray.jobs.records import LOST
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime import durable_work
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.workers import (
    BatchEmbeddingWorker,
    EmbeddingStatus,
    HealthStatus,
    WorkerHook,
    WorkerJobCompletedHook,
    subscribe,
)
from tests.ready_state import converted_models, state
from tests.small_models import save_small_model
from tests.tables import read as table_of
from tests.tables import rows_of, vectors
from tests.workers_batch import Chunk, chunks
from tests.workers_doubles import Rows, Vectors, ended, hooks

__all__ = ["converted_models", "hooks", "state"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHILD = Path(__file__).with_name("workers_batch_child.py")


def child(state: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(state), *more],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=None,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_worker_works_with_no_arguments_at_all(
    state: Path, hooks: list[WorkerHook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__STATE_DIR", str(state))

    async def run() -> None:
        worker = BatchEmbeddingWorker()
        assert (await worker.health_check()).status is HealthStatus.UNHEALTHY
        job_id = await worker.embed_batch([*chunks(5), Chunk("same"), Chunk("same")], "docs")
        waiting = await worker.get_progress(job_id)
        assert waiting is not None
        assert (waiting.status, waiting.total_texts) == (EmbeddingStatus.PENDING, 7)
        assert worker.get_stats()["jobs_by_status"]["pending"] == 1

        await worker.start()
        done = await ended(worker, job_id)
        assert (done.status, done.texts_processed, done.failed_texts) == ("completed", 7, 0)
        assert (done.cache_hits, done.cache_misses, done.error) == (1, 6, None)
        health = await worker.health_check()
        assert (health.status, health.error) == (HealthStatus.HEALTHY, None)
        assert health.component == "worker.batch_embedding.batch-embedding"

        stats = worker.get_stats()
        assert (stats["running"], stats["active_jobs"], stats["cache_size"]) == (True, 0, 6)
        await worker.clear_cache()
        assert worker.get_stats()["cache_size"] == 0
        await worker.stop()
        assert (await worker.health_check()).status is HealthStatus.UNHEALTHY

        rows = rows_of(state, "docs")
        assert len({row["id"] for row in rows}) == len(rows) == 7
        assert {row["job_id"] for row in rows} == {job_id}
        assert [hook.event_id for hook in hooks] == [f"{job_id}:started", f"{job_id}:completed"]
        assert await BatchEmbeddingWorker().get_progress("no-such-job") is None

    asyncio.run(run())


def test_the_local_models_vectors_go_into_a_callers_store(state: Path) -> None:
    store = Rows()

    async def run() -> None:
        worker = BatchEmbeddingWorker(store, state=state)
        await worker.start()
        for collection in ("one", "two"):
            done = await ended(worker, await worker.embed_batch(chunks(3), collection))
            assert done.status is EmbeddingStatus.COMPLETED
        assert (done.cache_hits, done.cache_misses) == (3, 0)
        await worker.stop()

    asyncio.run(run())
    assert [len(row[1]) for row in store.rows] == [384] * 6
    assert all(abs(np.linalg.norm(row[1]) - 1) < 1e-4 for row in store.rows)


def test_ids_are_the_chunks_own_or_the_same_each_time(state: Path) -> None:
    class Known:
        id = 7
        text = "known"
        metadata: dict[str, Any] = {}  # noqa: RUF012 - as test doubles have it

    given: list[Any] = [
        Known(),
        Chunk("by metadata", {"id": "m1"}),
        {"text": "of a document", "metadata": {"document_id": "d", "chunk_index": 3}},
        Chunk("by itself", {"k": 1}),
        "plain",
    ]

    async def run(worker: BatchEmbeddingWorker) -> None:
        for collection in ("one", "two"):
            await worker.embed_batch(given, collection)
        await worker.start()
        for job_id in [await worker.embed_batch(given, name) for name in ("one", "two")]:
            await ended(worker, job_id)
        await worker.stop()

    asyncio.run(run(BatchEmbeddingWorker(state=state)))
    ids = {row["id"] for row in rows_of(state, "one")}
    assert {"7", "m1", "d:3"} < ids
    assert len(ids) == 5
    assert ids == {row["id"] for row in rows_of(state, "two")}


def test_a_killed_process_loses_no_row_and_its_progress_is_seen_live(state: Path) -> None:
    given = chunks(1100, sentences=6)

    async def run() -> str:
        watcher = BatchEmbeddingWorker(state=state)
        job_id = await watcher.embed_batch(given, "docs", batch_size=4)
        process = child(state)
        try:
            seen = await _half_done(watcher, job_id)
        finally:
            process.kill()
            process.communicate()
        assert 0 < seen.texts_processed < seen.total_texts == len(given)
        assert seen.status is EmbeddingStatus.PROCESSING

        second = BatchEmbeddingWorker(state=state)
        await second.start()
        done = await ended(second, job_id)
        await second.stop()
        assert (done.status, done.texts_processed) == ("completed", len(given))
        return job_id

    job_id = asyncio.run(run())
    rows = rows_of(state, "docs")
    assert len({row["id"] for row in rows}) == len(rows) == len(given)
    assert {row["text"] for row in rows} == {chunk.text for chunk in given}
    with Store.open(load_config(state_dir=state).paths.store_url) as store:
        assert [attempt.outcome for attempt in store.attempts_of(job_id)] == [LOST, "completed"]


async def _half_done(watcher: BatchEmbeddingWorker, job_id: str) -> Any:
    deadline = time.monotonic() + 120
    while True:
        progress = await watcher.get_progress(job_id)
        assert progress is not None
        if progress.texts_processed > 0:
            return progress
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_a_hook_whose_subscriber_died_is_told_again_and_can_be_told_by_its_id(
    state: Path, hooks: list[WorkerHook]
) -> None:
    async def run() -> None:
        worker = BatchEmbeddingWorker(state=state)
        job_id = await worker.embed_batch(chunks(3), "docs")
        process = child(state, "dies-when-told")
        assert said(process) == "works"
        assert said(process) == "told"
        assert process.wait(30) == 9
        done = await worker.get_progress(job_id)
        assert done is not None
        assert done.status is EmbeddingStatus.COMPLETED

        # Another object: this one has watched its own job all the time.
        again = BatchEmbeddingWorker(state=state)
        await again.start()
        await asyncio.sleep(1.0)
        await again.stop()
        assert [hook.event_id for hook in hooks] == [f"{job_id}:completed"]

        third = BatchEmbeddingWorker(state=state)
        await third.start()
        await third.stop()
        assert len(hooks) == 1

    asyncio.run(run())


def test_a_subscriber_may_submit_the_next_job_and_a_failing_one_harms_nothing(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        worker = BatchEmbeddingWorker(state=state)
        made: list[str] = []

        async def go_on(hook: WorkerJobCompletedHook) -> None:
            if len(made) < 2:
                made.append(await worker.embed_batch(chunks(2, f"After {hook.job_id}"), "docs"))

        def fail(_: WorkerHook) -> None:
            raise RuntimeError("a subscriber of no use")

        ends = [subscribe(WorkerHook, fail), subscribe(WorkerJobCompletedHook, go_on)]
        await worker.start()
        made.append(await worker.embed_batch(chunks(2), "docs"))
        while len(made) < 2:
            await asyncio.sleep(0.02)
        for job_id in made:
            assert (await ended(worker, job_id)).status is EmbeddingStatus.COMPLETED
        await worker.stop()
        for end in ends:
            end()

    asyncio.run(run())
    assert len(rows_of(state, "docs")) == 4
    assert caplog.text.count("a subscriber of no use") >= 1


def test_stop_gives_back_what_does_not_end_in_time_and_the_next_worker_goes_on(
    state: Path,
) -> None:
    given = chunks(1100, sentences=6)

    async def run() -> None:
        first = BatchEmbeddingWorker(state=state, drain_seconds=0.0)
        job_id = await first.embed_batch(given, "docs", batch_size=4)
        await first.start()
        await _half_done(first, job_id)
        await first.stop()
        stopped = await first.get_progress(job_id)
        assert stopped is not None
        assert stopped.status is EmbeddingStatus.PENDING
        await asyncio.sleep(1.2)
        assert (await first.get_progress(job_id) or stopped).status is EmbeddingStatus.PENDING

        await first.start()
        done = await ended(first, job_id)
        first.drain_seconds = 30.0
        await first.stop()
        assert (done.status, done.texts_processed) == ("completed", len(given))

    asyncio.run(run())
    rows = rows_of(state, "docs")
    assert len({row["id"] for row in rows}) == len(rows) == len(given)


def test_a_subscriber_may_stop_the_worker_and_two_may_stop_it_at_once(state: Path) -> None:
    async def run() -> None:
        worker = BatchEmbeddingWorker(state=state)
        stopped: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        async def stop(_: WorkerJobCompletedHook) -> None:
            began = time.monotonic()
            await asyncio.gather(worker.stop(), worker.stop())
            stopped.set_result(time.monotonic() - began)

        end = subscribe(WorkerJobCompletedHook, stop)
        await worker.start()
        await worker.embed_batch(chunks(2), "docs")
        assert await asyncio.wait_for(stopped, 60) < 15.0
        end()
        assert not worker.get_stats()["running"]
        # And go on, in the end.
        await worker.start()
        assert worker.get_stats()["running"]
        job_id = await worker.embed_batch(chunks(3), "docs")
        assert (await ended(worker, job_id)).status is EmbeddingStatus.COMPLETED
        await worker.stop()

    asyncio.run(run())


def test_jobs_that_only_another_program_can_do_keep_no_other_job_waiting(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(state_dir=state)
    for number in range(3):
        stop = threading.Event()

        def ended_early(_: object, stop: threading.Event = stop) -> None:
            stop.set()

        with pytest.raises(EmbedInterrupted):
            embed_here(
                config,
                f"theirs{number}",
                chunks(200),
                message_id=f"a message of theirs {number}",
                priority=5,
                provider=as_provider(Vectors()),
                on_progress=ended_early,
                stop=stop,
            )
    monkeypatch.setattr(durable_work, "LOOK_AHEAD", 1)

    async def run() -> None:
        worker = BatchEmbeddingWorker(state=state, concurrency=1)
        await worker.start()
        job_id = await worker.embed_batch(chunks(2), "docs")
        assert (await ended(worker, job_id)).status is EmbeddingStatus.COMPLETED
        await worker.stop()

    asyncio.run(run())
    with Store.open(config.paths.store_url) as store:
        assert store.counts(kind="embed")[JobStatus.PENDING] == 3


def test_stop_lets_a_job_under_way_end(state: Path) -> None:
    async def run() -> None:
        worker = BatchEmbeddingWorker(state=state, concurrency=1)
        first = await worker.embed_batch(chunks(40, "Quay"), "docs", priority=1)
        second = await worker.embed_batch(chunks(40, "Mole"), "docs")
        await worker.start()
        while worker.get_stats()["active_workers"] == 0:
            await asyncio.sleep(0.01)
        await worker.stop()
        states = [await worker.get_progress(job_id) for job_id in (first, second)]
        assert [each.status.value for each in states if each] == ["completed", "pending"]

    asyncio.run(run())


def test_fault_04_two_jobs_of_equal_size_at_once_never_mix(state: Path) -> None:
    async def run() -> None:
        worker = BatchEmbeddingWorker(state=state)
        bad = [*chunks(9, "Quay"), Chunk("  ")]
        jobs = {
            await worker.embed_batch(chunks(10, "Mole"), "moles"): (0, "moles"),
            await worker.embed_batch(bad, "quays"): (1, "quays"),
        }
        await worker.start()
        for job_id, (failed, collection) in jobs.items():
            done = await ended(worker, job_id)
            assert (done.job_id, done.status, done.total_texts) == (job_id, "completed", 10)
            assert done.failed_texts == failed
            assert (done.error is not None) == bool(failed)
            rows = rows_of(state, collection)
            assert {row["job_id"] for row in rows} == {job_id}
            assert len(rows) == 10 - failed
        await worker.stop()

    asyncio.run(run())


def test_fault_05_the_model_named_makes_the_vectors(state: Path, tmp_path: Path) -> None:
    small = save_small_model(tmp_path / "small", "bert", pooling="mean")

    async def run() -> None:
        worker = BatchEmbeddingWorker(state=state)
        named = await worker.embed_batch(chunks(4), "small", model_name=str(small))
        default = await worker.embed_batch(chunks(4), "default")
        await worker.start()
        for job_id in (named, default):
            assert (await ended(worker, job_id)).status is EmbeddingStatus.COMPLETED
        await worker.stop()

    asyncio.run(run())
    assert vectors(table_of(state, "small")).shape == (4, 32)
    assert vectors(table_of(state, "default")).shape == (4, 384)
    config = load_config(state_dir=state)
    assert str(small) in Collections(config.paths.lancedb).open("small").settings.model


def test_without_the_cache_every_text_is_computed(state: Path) -> None:
    async def run() -> list[tuple[int, int]]:
        worker = BatchEmbeddingWorker(state=state)
        await worker.start()
        found: list[tuple[int, int]] = []
        for collection, use_cache in (("one", True), ("two", True), ("three", False)):
            job_id = await worker.embed_batch(chunks(4), collection, use_cache=use_cache)
            done = await ended(worker, job_id)
            found.append((done.cache_hits, done.cache_misses))
        await worker.stop()
        return found

    assert asyncio.run(run()) == [(0, 4), (4, 0), (0, 4)]


def test_a_job_that_cannot_be_is_refused_before_anything_is_recorded(state: Path) -> None:
    async def run(**wrong: Any) -> None:
        worker = BatchEmbeddingWorker(state=state)
        asked: dict[str, Any] = {"chunks": chunks(2), "collection_name": "docs"} | wrong
        with pytest.raises(Exception, match=r"name|chunks|model|text"):
            await worker.embed_batch(**asked)
        assert sum(worker.get_stats()["jobs_by_status"].values()) == 0

    asyncio.run(run(collection_name="a/b"))
    asyncio.run(run(chunks=[]))
    asyncio.run(run(chunks=[object()]))
    asyncio.run(run(model_name="no-such/model-of-anybody"))


def test_a_health_check_keeps_its_timeout_where_the_store_hangs(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()

    async def run() -> None:
        worker = BatchEmbeddingWorker(state=state)
        await worker.start()
        monkeypatch.setattr(Store, "counts", lambda *_, **__: hangs.wait(20))
        started = time.monotonic()
        health = await worker.health_check(timeout=0.3)
        assert time.monotonic() - started < 2.0
        assert health.status is HealthStatus.DEGRADED
        assert "0.3 s" in (health.error or "")
        hangs.set()
        monkeypatch.undo()
        await worker.stop()

    asyncio.run(run())


def test_priorities_decide_which_job_is_begun_first(state: Path, hooks: list[WorkerHook]) -> None:
    async def run() -> tuple[str, str]:
        worker = BatchEmbeddingWorker(state=state, concurrency=1)
        later = await worker.embed_batch(chunks(2, "Quay"), "docs")
        sooner = await worker.embed_batch(chunks(2, "Mole"), "docs", priority=5)
        await worker.start()
        for job_id in (later, sooner):
            await ended(worker, job_id)
        await worker.stop()
        return later, sooner

    later, sooner = asyncio.run(run())
    with Store.open(load_config(state_dir=state).paths.store_url) as store:
        jobs = [store.get(job_id) for job_id in (sooner, later)]
        starts = [job.started_at for job in jobs if job is not None and job.started_at is not None]
        assert store.counts(kind="embed")[JobStatus.COMPLETED] == 2
        assert store.counts(kind="ingest")[JobStatus.COMPLETED] == 0
    assert starts == sorted(starts)
    assert {hook.event_id.split(":")[0] for hook in hooks} == {later, sooner}
