"""`DeadLetterQueueWorker` without a queue: the dead letters of the store, from any process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import DLQError, UsageError
from lexigram_ray.core.result import Err, Ok
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus, NewFailure, Subject
from lexigram_ray.jobs.letter_sweep import Sweeper
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.workers._durable_queue import DurableTaskQueue
from lexigram_ray.workers.dlq import DeadLetterQueueWorker
from lexigram_ray.workers.protocols import HealthStatus, TaskQueueProtocol
from lexigram_ray.workers.types import DLQItem
from tests.job_data import ended, ingest_spec, submitted
from tests.workers_doubles import run, until

EVERY = LetterFilter(statuses=tuple(LetterStatus))

# A process that fails a document for good, and is killed.
DIES = """
import os, signal, sys
from pathlib import Path
from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.letter_records import NewFailure, Subject
from lexigram_ray.jobs.store import Store
from tests.job_data import ended, ingest_spec, submitted
path = sys.argv[2]
with Store.open(load_config(state_dir=sys.argv[1]).paths.store_url) as store:
    job = submitted(store, ingest_spec(Path(path)))
    failure = NewFailure(subject=Subject.DOCUMENT, subject_id=path, source=path, origin=path,
        category=FailureCategory.TRANSIENT, code="busy", error="it did not answer")
    store.dead_letters.add("ingest", job.collection, job.id, [failure])
    print(ended(store, job).id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

# Another one that looks at it.
LOOKS = """
import asyncio, json, sys
from lexigram_ray.workers import DeadLetterQueueWorker
print(json.dumps(asyncio.run(DeadLetterQueueWorker(state=sys.argv[1]).get_items())))
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
    )


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def config(state: Path) -> WorkersConfig:
    return load_config(state_dir=state)


@pytest.fixture
def store(config: WorkersConfig) -> Iterator[Store]:
    with Store.open(config.paths.store_url) as opened:
        yield opened


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("An owl sees well at night.")
    return folder


def failure(path: Path, **changes: Any) -> NewFailure:
    given: dict[str, Any] = {
        "subject": Subject.DOCUMENT,
        "subject_id": str(path),
        "source": str(path),
        "origin": str(path),
        "category": FailureCategory.TRANSIENT,
        "code": "server_unavailable",
        "error": "it did not answer",
    }
    return NewFailure(**(given | changes))


def failed_job(store: Store, *paths: Path, **changes: Any) -> Job:
    """A job that has ended, in which these documents have failed."""
    job = submitted(store, ingest_spec(*paths))
    store.dead_letters.add("ingest", job.collection, job.id, [failure(p, **changes) for p in paths])
    return ended(store, job)


def pending(store: Store) -> list[Job]:
    return store.list_jobs(status=JobStatus.PENDING, limit=100)[0]


# -- Seeing them -----------------------------------------------------------------------------------


def test_fault_01_dead_letters_outlive_their_process(state: Path, docs: Path) -> None:
    died = python(DIES, state, docs / "a.txt")
    assert died.returncode == -9, died.stderr
    job_id = died.stdout.strip()

    looked = python(LOOKS, state)
    assert looked.returncode == 0, looked.stderr
    [item] = json.loads(looked.stdout)
    assert (item["job_id"], item["failure_category"]) == (job_id, "transient")
    assert item["last_error"] == "it did not answer"
    worker = DeadLetterQueueWorker(state=state)
    assert run(worker.get_items()) == [item]
    assert run(worker.retry_item(job_id))


def test_items_are_shown_newest_first_by_category_and_so_many(
    store: Store, state: Path, docs: Path
) -> None:
    first = failed_job(store, docs / "a.txt")
    second = failed_job(store, docs / "b.txt", category=FailureCategory.PERMANENT)
    worker = DeadLetterQueueWorker(state=state)

    items = run(worker.get_items())

    assert [item["job_id"] for item in items] == [second.id, first.id]
    assert [item["can_retry"] for item in items] == [False, True]
    assert items[1]["metadata"]["source"] == str(docs / "a.txt")
    assert run(worker.get_items(FailureCategory.TRANSIENT)) == items[1:]
    assert run(worker.get_items(limit=1)) == items[:1]
    assert run(worker.get_items(limit=0)) == []
    stats = run(worker.get_stats())
    assert stats.by_category == {"transient": 1, "permanent": 1}
    assert (stats.total_items, stats.permanent_failures) == (2, 1)


# -- Acting on them --------------------------------------------------------------------------------


def test_a_job_id_means_all_its_letters_and_a_letter_id_one(
    store: Store, state: Path, docs: Path
) -> None:
    job = failed_job(store, docs / "a.txt", docs / "b.txt")
    letters = list(store.dead_letters.each(EVERY))
    worker = DeadLetterQueueWorker(state=state)

    assert run(worker.retry_item(letters[0].id))
    assert not run(worker.retry_item(letters[0].id))
    assert store.dead_letters.counts()[LetterStatus.RETRYING] == 1
    assert run(worker.retry_item(job.id))
    assert {letter.status for letter in store.dead_letters.each(EVERY)} == {LetterStatus.RETRYING}
    assert {each.retry_of for each in pending(store)} == {job.id}
    assert run(worker.get_stats()).retried_count == 2
    assert not run(worker.retry_item("nobody"))


def test_a_letter_that_failed_again_is_found_by_the_job_in_which_it_failed_first(
    store: Store, state: Path, docs: Path
) -> None:
    job = failed_job(store, docs / "a.txt")
    worker = DeadLetterQueueWorker(state=state)
    assert run(worker.retry_item(job.id))
    [again] = pending(store)
    store.dead_letters.add("ingest", job.collection, again.id, [failure(docs / "a.txt")])
    ended(store, again)

    [item] = run(worker.get_items())
    assert (item["job_id"], item["failure_count"], item["retry_count"]) == (again.id, 2, 1)
    assert run(worker.retry_item(job.id))


def test_letters_are_archived_and_removed(store: Store, state: Path, docs: Path) -> None:
    one, two = failed_job(store, docs / "a.txt"), failed_job(store, docs / "b.txt")
    worker = DeadLetterQueueWorker(state=state)

    assert run(worker.archive_item(one.id))
    assert not run(worker.archive_item(one.id))
    assert not run(worker.retry_item(one.id))
    [archived] = run(worker.get_items(FailureCategory.PERMANENT))
    assert (archived["job_id"], archived["metadata"]["archived"]) == (one.id, True)
    assert run(worker.remove_item(two.id))
    assert not run(worker.remove_item(two.id))

    stats = run(worker.get_stats())
    assert (stats.total_items, stats.archived_count, stats.deleted_count) == (1, 1, 1)
    assert run(worker.remove_item(one.id))
    assert run(worker.get_items()) == []


def test_what_is_gone_is_not_retried_and_its_letter_stays(
    store: Store, state: Path, docs: Path
) -> None:
    job = failed_job(store, docs / "a.txt")
    (docs / "a.txt").unlink()
    worker = DeadLetterQueueWorker(state=state)

    assert not run(worker.retry_item(job.id))
    assert run(worker.get_stats()).total_items == 1


def test_a_job_of_the_store_may_be_added_once_and_no_other(store: Store, state: Path) -> None:
    job = ended(store, submitted(store))
    worker = DeadLetterQueueWorker(state=state)
    failed = SimpleNamespace(id=job.id, name="ingest_document", args=(), kwargs={}, priority=0)

    run(worker.add_failed_job(failed, "Connection timeout"))
    run(worker.add_failed_job(failed, "Connection timeout"))

    [item] = run(worker.get_items())
    assert (item["job_id"], item["failure_count"]) == (job.id, 1)
    assert item["failure_category"] == "transient"
    failed.id = "of a queue that nobody named"
    with pytest.raises(DLQError, match="none of the store's"):
        run(worker.add_failed_job(failed, "Connection timeout"))


def test_failures_of_a_queue_in_memory_go_back_there_and_not_into_the_store(
    store: Store, state: Path, docs: Path
) -> None:
    async def test() -> None:
        queue = MemoryQueue()
        worker = DeadLetterQueueWorker(state=state, base_backoff=1)
        of_store = failed_job(store, docs / "a.txt")
        failed = SimpleNamespace(id="x", name="embed", args=(), kwargs={"a": 1}, priority=0)
        await worker.add_failed_job(failed, "Connection timeout", queue=queue)

        assert [each["job_id"] for each in await worker.get_items()] == ["x", of_store.id]
        assert (await worker.get_stats()).total_items == 2
        assert await worker.retry_item("x")
        again = await queue.dequeue()
        assert again is not None
        assert again.kwargs == {"a": 1}
        assert await worker.job_succeeded(again.id)
        assert [each["job_id"] for each in await worker.get_items()] == [of_store.id]
        assert pending(store) == []

    run(test())


# -- Its own doing ---------------------------------------------------------------------------------


def test_two_workers_and_a_sweep_retry_each_letter_once(
    config: WorkersConfig, store: Store, docs: Path
) -> None:
    async def test() -> None:
        failed_job(store, docs / "a.txt", docs / "b.txt")
        workers = [
            DeadLetterQueueWorker(config=config, base_backoff=1, worker_id=f"dlq-{number}")
            for number in range(2)
        ]
        for worker in workers:
            await worker.start()
        sweeper = Sweeper(config, store, time.time, lambda: 0.5)
        await until(lambda: asyncio.to_thread(lambda: sweeper.look() and pending(store)))
        for worker in workers:
            await worker.stop()

        letters = list(store.dead_letters.each(EVERY))
        assert [letter.status for letter in letters] == [LetterStatus.RETRYING] * 2
        retried = {letter.retry_job_id for letter in letters}
        assert {job.id for job in pending(store)} == retried

    run(test())


def test_fault_08_a_letter_of_unknown_cause_is_not_retried_at_once(
    store: Store, state: Path, docs: Path
) -> None:
    async def test() -> None:
        failed_job(store, docs / "a.txt", category=FailureCategory.UNKNOWN, error="zork")
        worker = DeadLetterQueueWorker(state=state, check_interval=1)
        await worker.start()
        await until(lambda: _next_retry(worker))
        await asyncio.sleep(1.2)
        await worker.stop()

        assert pending(store) == []

    async def _next_retry(worker: DeadLetterQueueWorker) -> str | None:
        return (await worker.get_items())[0]["next_retry"]

    run(test())


def test_what_nobody_retries_is_told_once_across_processes_and_again_when_it_was_not_taken(
    store: Store, state: Path, docs: Path
) -> None:
    told: list[DLQItem] = []
    calls: list[str] = []

    async def handler(item: DLQItem) -> None:
        calls.append(item.job_id)
        if len(calls) == 1:
            raise RuntimeError("no mail today")
        told.append(item)

    async def told_by(worker: DeadLetterQueueWorker, count: int) -> None:
        worker.set_notification_handler(handler)
        await worker.start()
        await until(lambda: len(told) == count)
        await asyncio.sleep(0.3)
        await worker.stop()

    first = failed_job(store, docs / "a.txt", category=FailureCategory.PERMANENT)
    run(told_by(DeadLetterQueueWorker(state=state, check_interval=1), 1))
    assert [item.job_id for item in told] == [first.id]
    assert told[0].original_job.name == "ingest_document"

    second = failed_job(store, docs / "b.txt", category=FailureCategory.INVALID_INPUT)
    run(told_by(DeadLetterQueueWorker(state=state, check_interval=1), 2))

    assert [item.job_id for item in told] == [first.id, second.id]
    assert len(calls) == 3


def test_the_queue_of_dead_letters_gets_what_nobody_retries(
    store: Store, state: Path, docs: Path
) -> None:
    async def test() -> None:
        job = failed_job(store, docs / "a.txt", category=FailureCategory.PERMANENT)
        dead = AsyncMock()
        dead.enqueue.return_value = Ok("1")
        worker = DeadLetterQueueWorker(dlq_queue=dead, state=state, check_interval=1)
        await worker.start()
        await until(lambda: dead.enqueue.await_count)
        await asyncio.sleep(1.2)
        await worker.stop()

        [sent] = [call.args[0] for call in dead.enqueue.await_args_list]
        assert (sent["id"], sent["category"]) == (job.id, "permanent")

    run(test())


def test_health_tells_whether_it_runs_and_the_store_answers(state: Path) -> None:
    async def test() -> None:
        worker = DeadLetterQueueWorker(state=state)
        before = await worker.health_check()
        await worker.start()
        await worker.start()
        well = await worker.health_check()
        began = time.monotonic()
        slow = await worker.health_check(timeout=0)
        took = time.monotonic() - began
        await worker.stop()
        await worker.stop()
        after = await worker.health_check()
        (state / "jobs.db").write_bytes(b"no database at all" * 100)
        broken = await worker.health_check()

        assert [each.status for each in (before, well, slow, after, broken)] == [
            HealthStatus.UNHEALTHY,
            HealthStatus.HEALTHY,
            HealthStatus.DEGRADED,
            HealthStatus.UNHEALTHY,
            HealthStatus.UNHEALTHY,
        ]
        assert took < 0.5
        assert broken.error is not None

    run(test())


# -- The durable queue -----------------------------------------------------------------------------


def test_the_durable_queue_records_jobs_and_tells_of_them(state: Path, docs: Path) -> None:
    async def test() -> None:
        queue = DurableTaskQueue(state=state)
        assert isinstance(queue, TaskQueueProtocol)
        embedding = {
            "name": "batch_embed",
            "args": (),
            "kwargs": {
                "chunks": [{"text": "An owl", "metadata": {"k": 1}}],
                "collection_name": "docs",
                "model_name": "text-embedding-ada-002",
                "batch_size": 100,
                "use_cache": True,
            },
            "priority": 5,
        }
        document = {
            "name": "ingest_document",
            "args": (),
            "kwargs": {
                "document_id": "doc1",
                "file_path": str(docs / "a.txt"),
                "collection_name": "docs2",
                "parser_name": None,
                "metadata": {"a": 1},
                "batch_size": 50,
            },
            "priority": 0,
        }
        embed_id = (await queue.enqueue(embedding)).unwrap()
        document_id = (await queue.enqueue(SimpleNamespace(**document))).unwrap()
        assert (await queue.enqueue(embedding)).unwrap() == embed_id

        job = await queue.get_job(embed_id)
        assert job is not None
        assert (job.name, job.priority, job.status) == ("batch_embed", 5, "pending")
        assert job.kwargs["collection_name"] == "docs"
        assert await queue.get_task_count() == 2
        assert await queue.count("ingest_document") == 1
        assert await queue.count("ingest_document", "failed") == 0
        assert await queue.dequeue() is None
        assert await queue.delete_job(document_id)
        assert not await queue.delete_job(document_id)
        assert not await queue.delete_job("nobody")
        await queue.clear()
        assert await queue.get_task_count() == 0
        cancelled = await queue.get_job(embed_id)
        assert cancelled is not None
        assert cancelled.status == "cancelled"
        assert await queue.get_job("nobody") is None
        await queue.ack(embed_id)
        await queue.nack(embed_id)
        await queue.close()

    run(test())


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ({"name": "another", "kwargs": {}}, "another"),
        ({"name": "batch_embed", "kwargs": {"chunks": []}}, "collection_name"),
        ({"name": "batch_embed", "kwargs": {"text": "x"}}, "do not fit"),
        ({"name": "ingest_document", "kwargs": {"parser_name": "Mine"}}, "parser"),
        (3, "cannot do"),
    ],
)
def test_the_durable_queue_refuses_what_it_cannot_do(state: Path, task: Any, why: str) -> None:
    refused = run(DurableTaskQueue(state=state).enqueue(task))

    assert isinstance(refused, Err)
    assert isinstance(refused.error, UsageError)
    assert why in str(refused.error)


def test_a_worker_on_the_durable_queue_sees_to_its_store(
    store: Store, state: Path, docs: Path
) -> None:
    job = failed_job(store, docs / "a.txt")
    worker = DeadLetterQueueWorker(DurableTaskQueue(state=state))

    assert [item["job_id"] for item in run(worker.get_items())] == [job.id]
