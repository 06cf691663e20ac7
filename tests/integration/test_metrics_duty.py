"""The duty `metrics_rollup`: what has ended is counted, what there is is sampled, the old goes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import JobStatus
from lexigram_ray.embedding.cache import EmbeddingCache
from lexigram_ray.jobs.metrics_records import Metric, Resolution
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.metrics_rollup import run
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.rows import merge_rows
from tests.collections_data import SETTINGS, documents
from tests.contract.store_data import claimed, result, submit
from tests.fakes import HashingProvider
from tests.integration.duties import run_by_schedule, run_duty

BEGIN, END = datetime.now(UTC) - timedelta(days=400), datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state")


@pytest.fixture
def store(config: WorkersConfig) -> Iterator[Store]:
    with Store.open(config.paths.store_url) as opened:
        yield opened


def seen(store: Store, metric: Metric, *by: str) -> dict[tuple[str, ...], float | None]:
    found = store.metrics.totals(metric, Resolution.HOUR, BEGIN, END, by=by)
    return {labels: value.last for labels, value in found.items()}


def test_it_counts_what_has_ended_and_looks_how_much_there_is(
    config: WorkersConfig, store: Store
) -> None:
    collection = Collections(config.paths.lancedb).create("docs", SETTINGS, store.store_id)
    merge_rows(collection, documents({"a": 2, "b": 3}))
    provider = HashingProvider()
    cache = EmbeddingCache(config.paths.cache, provider.spec)
    texts = ["one", "two"]
    cache.put([hash_text(text) for text in texts], provider.embed_texts(texts))
    cache.close()
    claim = claimed(store)
    store.finish_units(claim, [result(1)])
    store.finish(claim, JobStatus.COMPLETED, summary={})
    submit(store, "waits")

    report = run_duty(run, config, store)

    assert report.figures["jobs_rolled_up"] == 1
    assert report.faults == ()
    assert seen(store, Metric.COLLECTION_ROWS, "collection") == {("docs",): 5}
    assert seen(store, Metric.COLLECTION_BYTES)[()] > 1000  # pyright: ignore[reportOptionalOperand]
    assert seen(store, Metric.CACHE_ROWS, "model") == {(provider.spec.name,): 2}
    # Of the run itself nobody but maintenance takes notice.
    jobs = {("pending",): 1, ("running",): 0}
    assert seen(store, Metric.UNFINISHED_JOBS, "status") == jobs
    assert set(seen(store, Metric.OPEN_DEAD_LETTERS).values()) == {0}
    assert seen(store, Metric.DISK_FREE_BYTES)[()] > 0  # pyright: ignore[reportOptionalOperand]
    # The run's own job has ended only now.
    store.metrics.roll_up()
    assert store.metrics.compare() == []


def test_a_damaged_collection_does_not_hide_the_others(config: WorkersConfig, store: Store) -> None:
    collections = Collections(config.paths.lancedb)
    for name in ("broken", "sound"):
        merge_rows(collections.create(name, SETTINGS, store.store_id), documents({"a": 1}))
    for manifest in (config.paths.lancedb / "broken.lance" / "_versions").iterdir():
        manifest.write_bytes(b"no manifest")

    run_duty(run, config, store)

    assert seen(store, Metric.COLLECTION_ROWS, "collection") == {("sound",): 1}


def test_what_is_older_than_kept_is_removed_finest_first(
    config: WorkersConfig, store: Store
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=30)
    with Store.open(config.paths.store_url, clock=long_ago.timestamp) as then:
        then.finish(claimed(then), JobStatus.COMPLETED, summary={})

    report = run_duty(run, config, store)

    def kept(resolution: Resolution) -> int:
        return len(store.metrics.series(Metric.JOBS, resolution, BEGIN, END))

    assert [kept(resolution) for resolution in Resolution] == [0, 1, 1]
    assert report.figures["records_pruned"]["minute"] > 0  # pyright: ignore[reportIndexIssue]
    run_duty(run, config, store, keep_hours_days=7, keep_days=20)
    assert [kept(resolution) for resolution in Resolution] == [0, 0, 0]


def test_a_clock_that_was_set_forward_takes_no_figures_before_a_day_has_passed_by_it(
    config: WorkersConfig, store: Store
) -> None:
    store.finish(claimed(store), JobStatus.COMPLETED, summary={})
    ahead = datetime.now(UTC) + timedelta(days=400)

    def minutes() -> int:
        return len(store.metrics.series(Metric.JOBS, Resolution.MINUTE, BEGIN, END))

    with Store.open(config.paths.store_url, clock=ahead.timestamp) as then:
        report = run_by_schedule(run, config, then, now=lambda: ahead)
    assert minutes() == 1
    assert report.figures["records_pruned"] == {}
    assert "this machine's clock" in report.lines[-1]

    later = ahead + timedelta(days=1, hours=1)
    with Store.open(config.paths.store_url, clock=later.timestamp) as then:
        run_by_schedule(run, config, then, now=lambda: later)
    assert minutes() == 0


def test_a_dry_run_only_says_what_waits(config: WorkersConfig, store: Store) -> None:
    store.finish(claimed(store), JobStatus.COMPLETED, summary={})

    report = run_duty(run, config, store, dry_run=True)

    assert report.lines == ["1 ended jobs would be added to the figures"]
    assert seen(store, Metric.DISK_FREE_BYTES) == {}


def test_an_unknown_option_is_wrong_use(config: WorkersConfig, store: Store) -> None:
    with pytest.raises(UsageError, match="keep_minute_hours"):
        run_duty(run, config, store, keep_minute_hours=3)
