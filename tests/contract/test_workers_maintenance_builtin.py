"""The built-in handlers of `MaintenanceWorker`: what they do is done, on real state."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import lance
import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.result import Err
from lexigram_ray.core.types import JobStatus
from lexigram_ray.embedding.cache import EmbeddingCache, days_now
from lexigram_ray.jobs.metrics_records import Metric, Resolution
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.rows import merge_rows
from lexigram_ray.workers.exceptions import MaintenanceError
from lexigram_ray.workers.maintenance import MaintenanceWorker, _handler_call
from lexigram_ray.workers.types import MaintenanceStatus, MaintenanceTaskType
from tests.collections_data import SETTINGS, documents
from tests.contract.store_data import claimed, result
from tests.fakes import HashingProvider
from tests.workers_doubles import until

PROVIDER = HashingProvider(16)


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state")


def cached(root: Path, *texts: str, days_ago: int = 0) -> Path:
    cache = EmbeddingCache(root, PROVIDER.spec, today=lambda: days_now() - days_ago)
    cache.put([hash_text(text) for text in texts], PROVIDER.embed_texts(list(texts)))
    cache.close()
    return cache.path


def used(root: Path, *texts: str) -> None:
    cache = EmbeddingCache(root, PROVIDER.spec)
    cache.lookup([hash_text(text) for text in texts])
    cache.close()


def kept(path: Path) -> set[str]:
    keys = lance.dataset(str(path)).to_table(columns=["key"])["key"].to_pylist()
    return {bytes(key).hex() for key in keys}


def test_fault_09_the_cache_clean_up_removes_what_nobody_has_used_for_long(
    config: WorkersConfig,
) -> None:
    root = config.paths.cache
    path = cached(root, "old", "old but used", days_ago=40)
    cached(root, "young", days_ago=10)
    used(root, "old but used")

    said = asyncio.run(MaintenanceWorker(config=config).cleanup_old_embeddings_cache())

    assert kept(path) == {hash_text("old but used"), hash_text("young")}
    assert (said["items_processed"], said["items_deleted"]) == (3, 1)
    assert said["metadata"]["max_age_days"] == 30
    said = asyncio.run(MaintenanceWorker(config=config).cleanup_old_embeddings_cache(5))
    assert kept(path) == {hash_text("old but used")}
    assert said["items_deleted"] == 1


def test_fault_09_the_metrics_roll_up_adds_what_has_ended(config: WorkersConfig) -> None:
    with Store.open(config.paths.store_url) as store:
        claim = claimed(store)
        store.finish_units(claim, [result(1)])
        store.finish(claim, JobStatus.COMPLETED, summary={})
    worker = MaintenanceWorker(config=config)

    first = asyncio.run(worker.aggregate_metrics())
    second = asyncio.run(worker.aggregate_metrics())

    assert (first["items_processed"], second["items_processed"]) == (1, 0)
    assert first["metadata"]["samples"] > 0
    now = datetime.now(UTC)
    span = (now - timedelta(days=400), now + timedelta(days=1))
    with Store.open(config.paths.store_url) as store:
        assert store.metrics.totals(Metric.DISK_FREE_BYTES, Resolution.HOUR, *span)
        assert store.metrics.compare() == []


def test_fault_09_index_optimization_looks_after_all_our_collections(
    config: WorkersConfig,
) -> None:
    collections = Collections(config.paths.lancedb)
    with Store.open(config.paths.store_url) as store:
        for name in ("docs", "notes"):
            collection = collections.create(name, SETTINGS, store.store_id)
            for number in range(4):
                merge_rows(collection, documents({f"d{number}": 5}))
    assert len(collections.open("docs").dataset.get_fragments()) > 1

    said = asyncio.run(MaintenanceWorker(config=config).optimize_vector_indexes())

    assert said["items_processed"] == 2
    for name in ("docs", "notes"):
        collection = collections.open(name)
        assert len(collection.dataset.get_fragments()) == 1
        assert collection.count_rows() == 20
        assert said["metadata"]["collections"][name]["fragments_merged"] > 1


def test_built_in_handlers_are_tasks_like_others(config: WorkersConfig) -> None:
    cached(config.paths.cache, "old", days_ago=100)
    worker = MaintenanceWorker(config=config)
    worker.register_task(
        "cache",
        MaintenanceTaskType.CACHE_CLEANUP,
        worker.cleanup_old_embeddings_cache,
        schedule_cron="0 2 * * *",
    )

    run = asyncio.run(worker.run_task_now("cache"))

    assert run.status is MaintenanceStatus.COMPLETED
    assert (run.items_processed, run.items_deleted) == (1, 1)
    assert run.metadata["max_age_days"] == 30


def test_a_collection_that_is_damaged_is_a_fault_of_the_run(config: WorkersConfig) -> None:
    with Store.open(config.paths.store_url) as store:
        collection = Collections(config.paths.lancedb).create("docs", SETTINGS, store.store_id)
        merge_rows(collection, documents({"d": 5}))
    for file in collection.path.rglob("*.manifest"):
        file.write_bytes(b"")
    worker = MaintenanceWorker(config=config)

    said = asyncio.run(worker.optimize_vector_indexes())

    assert said["metadata"]["faults"][0]["name"] == "collection docs"


@pytest.mark.parametrize("days", [-1, True])
def test_wrong_days_are_refused(config: WorkersConfig, days: int) -> None:
    with pytest.raises(ValueError, match="max_age_days") as raised:
        asyncio.run(MaintenanceWorker(config=config).cleanup_old_embeddings_cache(days))

    assert isinstance(raised.value, MaintenanceError)


def test_a_duty_that_is_cancelled_stops_at_its_next_step_and_is_waited_for(
    config: WorkersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_handler_call, "CANCEL_SECONDS", 0.1)
    asked, go_on = threading.Event(), threading.Event()

    def run(context: DutyContext) -> DutyReport:
        while not context.should_stop():
            time.sleep(0.01)
        asked.set()
        go_on.wait(60)
        return DutyReport(figures={})

    monkeypatch.setattr("lexigram_ray.maintenance.metrics_rollup.run", run)
    worker = MaintenanceWorker(config=config)
    rollup = MaintenanceTaskType.METRICS_ROLLUP
    worker.register_task("t", rollup, worker.aggregate_metrics, interval_seconds=60, timeout=0.1)

    async def scenario() -> None:
        first = await worker.run_task_now("t")
        assert "timed out" in str(first.error)
        await until(asked.is_set)
        # Its thread works on: it must not be beside itself.
        assert (await worker.run_task_now("t")).status is MaintenanceStatus.SKIPPED
        go_on.set()
        await until(lambda: worker.get_stats()["stuck_runs"] == 0)

    asyncio.run(scenario())


class Optimizing:
    async def optimize_indexes(self) -> dict[str, object]:
        return {"items_processed": 3, "index": "hnsw"}


class OptimizingPlainly:
    def create_index(self, name: str) -> None:
        raise AssertionError("it needs an argument")

    def optimize(self) -> None:
        return None


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (Optimizing(), {"items_processed": 3, "metadata": {"items_processed": 3, "index": "hnsw"}}),
        (OptimizingPlainly(), {"items_processed": 0, "metadata": {}}),
        (AsyncMock(), {"items_processed": 0, "metadata": {}}),
        (MagicMock(), {"items_processed": 0, "metadata": {}}),
    ],
)
def test_a_foreign_vector_store_optimises_itself(
    config: WorkersConfig, store: Any, said: dict[str, object]
) -> None:
    assert asyncio.run(MaintenanceWorker(store, config=config).optimize_vector_indexes()) == said
    assert not config.paths.root.exists()


def test_a_foreign_vector_store_that_cannot_is_named(config: WorkersConfig) -> None:
    store: Any = type("Plain", (), {})()

    with pytest.raises(ValueError, match="Plain cannot optimise its indexes") as raised:
        asyncio.run(MaintenanceWorker(store, config=config).optimize_vector_indexes())

    assert isinstance(raised.value, MaintenanceError)


def test_a_foreign_vector_store_that_refuses_has_failed(config: WorkersConfig) -> None:
    store = MagicMock()
    store.optimize_indexes = AsyncMock(return_value=Err("too busy"))

    with pytest.raises(MaintenanceError, match="too busy"):
        asyncio.run(MaintenanceWorker(store, config=config).optimize_vector_indexes())


def test_the_handlers_are_coroutine_functions_of_the_references_shape() -> None:
    assert inspect.iscoroutinefunction(MaintenanceWorker.optimize_vector_indexes)
    given = inspect.signature(MaintenanceWorker.cleanup_old_embeddings_cache).parameters
    assert given["max_age_days"].default == 30
