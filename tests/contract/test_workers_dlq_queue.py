"""`DeadLetterQueueWorker` with a queue of another's: failed jobs of this process."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import DLQError, UsageError
from lexigram_ray.core.result import Err, Ok
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.workers.dlq import DeadLetterQueueWorker, ErrorClassifier
from lexigram_ray.workers.dlq.classifier import Rule
from lexigram_ray.workers.protocols import HealthStatus
from lexigram_ray.workers.types import DLQItem, DLQStats, FailureCategory
from tests.workers_doubles import run, until

SHOWN = {
    "job_id",
    "failure_count",
    "first_failure",
    "last_failure",
    "last_error",
    "failure_category",
    "retry_count",
    "max_retries",
    "next_retry",
    "can_retry",
    "metadata",
}


def a_job(job_id: str = "job-1", **changes: Any) -> Any:
    given = {
        "id": job_id,
        "name": "embed",
        "args": (1,),
        "kwargs": {"chunks": [{"text": "a"}], "collection_name": "docs"},
        "priority": 3,
        "status": "failed",
        "max_retries": 2,
        "timeout": 5.0,
        "correlation_id": None,
        "causation_id": None,
    }
    return SimpleNamespace(**(given | changes))


def a_queue(answer: object = None) -> AsyncMock:
    queue = AsyncMock()
    queue.enqueue.return_value = Ok("job-2") if answer is None else answer
    return queue


async def never(*_: object) -> None:
    await asyncio.sleep(60)


async def only(worker: DeadLetterQueueWorker) -> dict[str, Any]:
    [item] = await worker.get_items()
    return item


# -- Keeping ---------------------------------------------------------------------------------------


def test_items_are_shown_newest_first_by_category_and_so_many() -> None:
    async def test() -> None:
        worker = DeadLetterQueueWorker(a_queue())
        await worker.add_failed_job(a_job("a"), "Connection timeout")
        await worker.add_failed_job(a_job("b"), "permission denied")
        await worker.add_failed_job(a_job("c"), "Connection timeout")

        shown = await worker.get_items()

        assert [item["job_id"] for item in shown] == ["c", "b", "a"]
        assert all(item.keys() == SHOWN for item in shown)
        transient = await worker.get_items(FailureCategory.TRANSIENT)
        assert [item["job_id"] for item in transient] == ["c", "a"]
        assert len(await worker.get_items(limit=2)) == 2
        stats = await worker.get_stats()
        assert stats == DLQStats(
            total_items=3, by_category={"transient": 2, "permanent": 1}, permanent_failures=1
        )

    run(test())


def test_two_workers_never_mix_their_items() -> None:
    async def test() -> None:
        one, other = DeadLetterQueueWorker(a_queue()), DeadLetterQueueWorker(a_queue())
        await one.add_failed_job(a_job(), "Connection timeout")

        assert await other.get_items() == []
        assert not await other.retry_item("job-1")

    run(test())


def test_a_job_may_be_a_mapping_or_a_test_double_but_needs_an_id() -> None:
    async def test() -> None:
        queue = a_queue()
        worker = DeadLetterQueueWorker(queue)
        await worker.add_failed_job(vars(a_job("mapping")), "x")
        double = MagicMock()
        double.id, double.name, double.kwargs = "double", "embed", {"a": 1}
        await worker.add_failed_job(double, "x")

        assert await worker.retry_item("mapping")
        assert await worker.retry_item("double")

        sent = [call.args[0] for call in queue.enqueue.await_args_list]
        assert [each["kwargs"] for each in sent] == [a_job().kwargs, {"a": 1}]
        with pytest.raises(DLQError, match="without an id"):
            await worker.add_failed_job({"name": "embed"}, "x")

    run(test())


def test_the_queue_of_dead_letters_gets_a_failed_job_once_and_may_refuse_it() -> None:
    async def test() -> None:
        dead = a_queue()
        worker = DeadLetterQueueWorker(a_queue(), dead)
        await worker.add_failed_job(a_job(), "Connection timeout")
        await worker.add_failed_job(a_job(), "Connection timeout")
        dead.enqueue.side_effect = ConnectionError("down")
        await worker.add_failed_job(a_job("b"), "Connection timeout")

        [first, _] = [call.args[0] for call in dead.enqueue.await_args_list]
        assert (first["id"], first["error"]) == ("job-1", "Connection timeout")
        assert first["kwargs"] == a_job().kwargs
        assert (await worker.get_stats()).total_items == 2

    run(test())


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="check_interval=0"):
        DeadLetterQueueWorker(a_queue(), check_interval=0)
    with pytest.raises(UsageError, match="max_retries=-1"):
        DeadLetterQueueWorker(a_queue(), max_retries=-1)
    with pytest.raises(UsageError, match="base_backoff=-1"):
        DeadLetterQueueWorker(a_queue(), base_backoff=-1)


# -- Categories ------------------------------------------------------------------------------------


def test_fault_08_the_category_follows_the_last_error() -> None:
    async def test() -> None:
        worker = DeadLetterQueueWorker(a_queue())
        seen: list[object] = []
        for error in ("Connection timeout", "invalid input", "rate limit exceeded", "zork"):
            await worker.add_failed_job(a_job(), error)
            item = await only(worker)
            seen.append((item["failure_category"], item["failure_count"], item["last_error"]))

        assert seen == [
            ("transient", 1, "Connection timeout"),
            ("invalid_input", 2, "invalid input"),
            ("throttled", 3, "rate limit exceeded"),
            ("unknown", 4, "zork"),
        ]

    run(test())


def test_fault_08_an_error_of_unknown_cause_is_never_retried_at_once() -> None:
    async def test() -> None:
        queue = a_queue()
        worker = DeadLetterQueueWorker(queue, check_interval=1, base_backoff=60)
        await worker.start()
        await worker.add_failed_job(a_job(), "zork")
        await asyncio.sleep(1.3)
        await worker.stop()

        queue.enqueue.assert_not_awaited()
        item = await only(worker)
        assert item["next_retry"] is not None
        assert item["can_retry"] is False

    run(test())


def test_users_add_rules_of_their_own() -> None:
    tenant = Rule(category=FailureCategory.PERMANENT, pattern="no such tenant", name="tenant")
    with ErrorClassifier.registered(tenant):
        job = a_job()
        assert ErrorClassifier.classify("No such tenant: x", job) is FailureCategory.PERMANENT
    assert ErrorClassifier.classify("zork", job) is FailureCategory.UNKNOWN
    assert ErrorClassifier.classify("Connection timeout", job) is FailureCategory.TRANSIENT
    assert ErrorClassifier.classify("rate limit exceeded", job) is FailureCategory.THROTTLED
    assert ErrorClassifier.classify("validation error", job) is FailureCategory.INVALID_INPUT


def test_a_rule_that_fails_loses_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> bool:
        raise RuntimeError("the rule is broken")

    async def test() -> None:
        worker = DeadLetterQueueWorker(a_queue())
        await worker.add_failed_job(a_job(), "Connection timeout")
        assert (await only(worker))["failure_category"] == "unknown"

    with ErrorClassifier.registered(Rule(category=FailureCategory.PERMANENT, function=broken)):
        run(test())
    assert "the rule is broken" in caplog.text


# -- Retrying --------------------------------------------------------------------------------------


def test_fault_06_a_retry_is_the_original_job_not_nested_in_itself() -> None:
    async def test() -> None:
        queue = a_queue()
        worker = DeadLetterQueueWorker(queue, check_interval=1, base_backoff=1)
        job = a_job()
        await worker.add_failed_job(job, "Connection timeout")
        job.kwargs["chunks"] = "changed since"
        expected = {
            "name": "embed",
            "args": (1,),
            "kwargs": {"chunks": [{"text": "a"}], "collection_name": "docs"},
            "priority": 3,
        }

        assert await worker.retry_item("job-1")
        queue.enqueue.assert_awaited_once_with(expected)

        queue.enqueue.return_value = Ok("job-3")
        await worker.add_failed_job(a_job("job-2"), "Connection timeout")
        await worker.start()
        await until(lambda: queue.enqueue.await_count == 2)
        await worker.stop()
        assert queue.enqueue.await_args.args == (expected,)
        item = await only(worker)
        assert (item["job_id"], item["failure_count"], item["retry_count"]) == ("job-1", 2, 2)

    run(test())


@pytest.mark.parametrize("how", ["err", "raises"])
def test_nothing_is_removed_before_the_queue_has_taken_the_retry(how: str) -> None:
    async def test() -> None:
        queue = a_queue(Err("full"))
        if how == "raises":
            queue.enqueue.side_effect = ConnectionError("down")
        worker = DeadLetterQueueWorker(queue)
        await worker.add_failed_job(a_job(), "Connection timeout")

        assert not await worker.retry_item("job-1")

        item = await only(worker)
        assert (item["retry_count"], item["failure_count"]) == (0, 1)
        queue.enqueue.side_effect, queue.enqueue.return_value = None, Ok("job-2")
        assert await worker.retry_item("job-1")
        assert (await only(worker))["retry_count"] == 1
        assert (await worker.get_stats()).retried_count == 1

    run(test())


def test_a_retry_that_is_under_way_is_not_begun_again() -> None:
    async def test() -> None:
        queue = a_queue()
        worker = DeadLetterQueueWorker(queue)
        await worker.add_failed_job(a_job(), "Connection timeout")

        began = await asyncio.gather(*(worker.retry_item("job-1") for _ in range(5)))

        assert began.count(True) == 1
        assert queue.enqueue.await_count == 1

    run(test())


def test_an_item_is_gone_once_its_job_succeeded() -> None:
    async def test() -> None:
        worker = DeadLetterQueueWorker(a_queue())
        await worker.add_failed_job(a_job(), "Connection timeout")
        await worker.retry_item("job-1")

        assert not await worker.job_succeeded("another")
        assert await worker.job_succeeded("job-2")

        assert await worker.get_items() == []
        assert not await worker.job_succeeded("job-2")

    run(test())


def test_a_queue_that_can_tell_how_a_retry_ended_is_asked() -> None:
    class TellingQueue(MemoryQueue):
        """As the reference's queues: it says of each job how it ended."""

    async def test() -> None:
        queue = TellingQueue()
        worker = DeadLetterQueueWorker(queue, check_interval=1)
        for job_id in ("good", "bad"):
            await worker.add_failed_job(a_job(job_id, kwargs={"of": job_id}), "Connection timeout")
            await worker.retry_item(job_id)
        taken = [await queue.dequeue(), await queue.dequeue()]
        good, bad = taken
        assert good is not None
        assert bad is not None
        await queue.ack(good.id)
        await queue.nack(bad.id, requeue=False)
        await worker.start()

        await until(lambda: _is_failed_twice(worker))
        await worker.stop()

        assert (await only(worker))["job_id"] == "bad"

    async def _is_failed_twice(worker: DeadLetterQueueWorker) -> bool:
        return [item["failure_count"] for item in await worker.get_items()] == [2]

    run(test())


def test_settings_hold_where_the_worker_was_left_at_the_defaults(tmp_path: Path) -> None:
    async def next_retry_in(worker: DeadLetterQueueWorker) -> float:
        await worker.add_failed_job(a_job(), "Connection timeout")
        item = await only(worker)
        failed, due = (
            datetime.fromisoformat(item[name]) for name in ("last_failure", "next_retry")
        )
        return (due - failed).total_seconds()

    async def test() -> None:
        config = load_config(state_dir=tmp_path, dead_letters={"base_backoff_seconds": 1_000.0})
        by_settings = await next_retry_in(DeadLetterQueueWorker(a_queue(), config=config))
        by_argument = await next_retry_in(
            DeadLetterQueueWorker(a_queue(), base_backoff=10, config=config)
        )
        by_default = await next_retry_in(DeadLetterQueueWorker(a_queue()))

        assert 500 <= by_settings <= 1_000
        assert 5 <= by_argument <= 10
        assert 30 <= by_default <= 60

    run(test())


# -- Putting away ----------------------------------------------------------------------------------


def test_items_are_archived_and_removed() -> None:
    async def test() -> None:
        worker = DeadLetterQueueWorker(a_queue())
        await worker.add_failed_job(a_job(), "Connection timeout")

        assert await worker.archive_item("job-1")
        archived = await only(worker)
        assert archived["failure_category"] == "permanent"
        assert archived["metadata"]["archived"] is True
        assert not await worker.retry_item("job-1")
        assert await worker.remove_item("job-1")

        assert await worker.get_items() == []
        for act in (worker.retry_item, worker.archive_item, worker.remove_item):
            assert await act("nobody") is False
        stats = await worker.get_stats()
        assert (stats.archived_count, stats.deleted_count, stats.total_items) == (1, 1, 0)

    run(test())


# -- Telling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "coroutine", "mock"])
def test_permanent_failures_are_told_once_and_stay(kind: str) -> None:
    async def test() -> None:
        told: list[DLQItem] = []

        async def note(item: DLQItem) -> None:
            told.append(item)

        mock = AsyncMock(side_effect=told.append)
        worker = DeadLetterQueueWorker(a_queue(), check_interval=1)
        worker.set_notification_handler(
            {"plain": told.append, "coroutine": note, "mock": mock}[kind]
        )
        await worker.add_failed_job(a_job("bad"), "permission denied")
        await worker.add_failed_job(a_job("late"), "Connection timeout")
        await worker.start()
        await until(lambda: told)
        await asyncio.sleep(1.2)
        assert [item.job_id for item in told] == ["bad"]
        assert told[0].original_job.kwargs == a_job().kwargs
        # A failure that comes while it runs is told without waiting for the next look.
        await worker.add_failed_job(a_job("late"), "invalid input")
        await until(lambda: len(told) == 2, 0.8)
        await worker.stop()

        assert (await worker.get_stats()).permanent_failures == 2
        assert {item["job_id"] for item in await worker.get_items()} == {"bad", "late"}

    run(test())


def test_retries_that_are_used_up_are_told_of() -> None:
    async def test() -> None:
        told: list[str] = []
        worker = DeadLetterQueueWorker(a_queue(), max_retries=0)
        worker.set_notification_handler(lambda item: told.append(item.job_id))
        await worker.add_failed_job(a_job(), "Connection timeout")
        await worker.start()
        await until(lambda: told)
        await worker.stop()

        assert (await worker.get_stats()).permanent_failures == 1

    run(test())


def test_a_failing_handler_is_logged_harms_nothing_and_is_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        calls: list[str] = []

        def handler(item: DLQItem) -> None:
            calls.append(item.job_id)
            if len(calls) <= 2:
                raise RuntimeError("no mail today")

        queue = a_queue()
        worker = DeadLetterQueueWorker(queue, check_interval=1, base_backoff=1)
        worker.set_notification_handler(handler)
        await worker.add_failed_job(a_job("one"), "permission denied")
        await worker.add_failed_job(a_job("two"), "permission denied")
        await worker.add_failed_job(a_job("late"), "Connection timeout")
        await worker.start()
        await until(lambda: len(calls) == 4 and queue.enqueue.await_count == 1)
        await worker.stop()

        assert calls == ["one", "two", "one", "two"]

    with caplog.at_level(logging.WARNING, "lexigram_ray"):
        run(test())
    assert "no mail today" in caplog.text


# -- Running ---------------------------------------------------------------------------------------


def test_health_tells_whether_it_runs_and_its_queue_answers_in_time() -> None:
    async def test() -> None:
        queue = a_queue()
        queue.get_task_count.return_value = 0
        worker = DeadLetterQueueWorker(queue, worker_id="mine")
        before = await worker.health_check()
        await worker.start()
        well = await worker.health_check()
        queue.get_task_count.side_effect = never
        began = time.monotonic()
        slow = await worker.health_check(timeout=0.2)
        took = time.monotonic() - began
        queue.get_task_count.side_effect = ConnectionError("down")
        broken = await worker.health_check()
        await worker.stop()
        after = await worker.health_check(timeout=0.5)

        assert before.component == "worker.dlq.mine"
        assert before.details == (await worker.get_stats()).to_dict()
        assert [each.status for each in (before, well, slow, broken, after)] == [
            HealthStatus.UNHEALTHY,
            HealthStatus.HEALTHY,
            HealthStatus.DEGRADED,
            HealthStatus.DEGRADED,
            HealthStatus.UNHEALTHY,
        ]
        assert took < 0.5
        assert slow.error == "no answer within 0.2 s"
        assert broken.error is not None
        assert "down" in broken.error

    run(test())


def test_stopping_lets_the_retry_under_way_come_to_its_end() -> None:
    async def test() -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def enqueue(_: object) -> Ok[str, Any]:
            begun.set()
            await may_end.wait()
            return Ok("job-2")

        queue = a_queue()
        queue.enqueue.side_effect = enqueue
        worker = DeadLetterQueueWorker(queue, base_backoff=1)
        await worker.add_failed_job(a_job(), "Connection timeout")
        await worker.start()
        await worker.start()
        await asyncio.wait_for(begun.wait(), 5)
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        may_end.set()
        await stopping

        assert (await only(worker))["retry_count"] == 1
        assert queue.enqueue.await_count == 1
        # It can be started again, in another event loop too.
        await worker.start()
        await worker.stop()

    run(test())


def test_stopping_does_not_wait_for_a_queue_that_does_not_answer() -> None:
    async def test() -> None:
        queue = a_queue()
        queue.enqueue.side_effect = never
        worker = DeadLetterQueueWorker(queue, base_backoff=1, drain_seconds=0.2)
        await worker.add_failed_job(a_job(), "Connection timeout")
        await worker.start()
        await until(lambda: queue.enqueue.await_count == 1)
        began = time.monotonic()
        await worker.stop()

        assert time.monotonic() - began < 3
        assert (await only(worker))["retry_count"] == 0

    run(test())
