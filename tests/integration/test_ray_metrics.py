"""Metrics, names and logs on a real Ray: a job runs, and its node's metrics port is read."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
from numpy.typing import NDArray
from ray.util import list_named_actors

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.telemetry import (
    CHUNKS,
    DEAD_LETTERS,
    DISK_FREE_BYTES,
    DOCUMENTS,
    EMBEDDINGS,
    HEALTH,
    JOBS,
    METRICS,
    Metric,
    MetricKind,
    meter,
)
from lexigram_ray.core.types import JobStatus
from lexigram_ray.ingestion.tables import table_of
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport, EmbedRequest
from lexigram_ray.jobs.measuring import measure_run
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.report import IngestReport, IngestRequest, Progress
from lexigram_ray.jobs.schedule_records import Run
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.definitions import define_schedules
from lexigram_ray.runtime.cluster import NAMESPACE
from lexigram_ray.runtime.embed import run_embed
from lexigram_ray.runtime.gauges import Gauges
from lexigram_ray.runtime.ingest import run_ingest
from lexigram_ray.runtime.ray_metrics import measuring_while_attached
from tests.fakes import HashingProvider
from tests.integration.conftest import SUBJECTS

pytestmark = [pytest.mark.slow, pytest.mark.ray]

SERIES = re.compile(r"^(ray_lexigram_\w+)\{(.*)\} ([-+.\w]+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
WAIT_SECONDS = 30.0


class TalkingProvider(HashingProvider):
    """Logs what it does, as engines do."""

    def __reduce__(self) -> tuple[object, ...]:
        return TalkingProvider, (self.spec.dimension,)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        logging.getLogger("lexigram_ray.tests").info("embedding %d texts", len(texts))
        return super().embed_texts(texts)


@dataclass(frozen=True)
class Done:
    """What a module's two jobs have left.

    Attributes:
        names: Of all actors that were seen while they ran.
        titles: Of the processes of Ray's workers, seen then too.
    """

    config: WorkersConfig
    ingested: IngestReport
    embedded: EmbedReport
    names: frozenset[str]
    titles: frozenset[str]


@pytest.fixture(scope="module")
def node() -> Iterator[dict[str, object]]:
    """A cluster of two CPUs whose metrics are passed on each second."""
    ray.init(
        address="local",
        namespace=NAMESPACE,
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=300 * 1024 * 1024,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _system_config={"metrics_report_interval_ms": 1000},
    )
    try:
        yield ray.nodes()[0]
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def done(
    node: dict[str, object], converted_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Done:
    """A folder of five documents and a broken one, and a table of texts: both on Ray's workers."""
    root = tmp_path_factory.mktemp("metrics")
    docs = root / "docs"
    docs.mkdir()
    for name, text in SUBJECTS.items():
        (docs / name).write_text(text)
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    state = root / "state"
    state.mkdir()
    (state / "models").symlink_to(converted_models)
    config = load_config(state_dir=state, runtime={"inline_seconds": 0}, logging={"format": "json"})
    names, titles = set[str](), set[str]()

    def look(_: Progress | EmbedProgress) -> None:
        names.update(actor["name"] for actor in list_named_actors(all_namespaces=True))
        titles.update(_titles())

    # As in a runner, whose process measures from its beginning.
    with measuring_while_attached():
        ingested = run_ingest(
            config, IngestRequest(paths=(docs,), collection="docs"), look, threading.Event()
        )
        rows = [{"id": str(number), "text": f"text of {number}"} for number in range(600)]
        request = EmbedRequest(
            table=table_of(rows, source="records"), collection="texts", provider=TalkingProvider()
        )
        embedded = run_embed(config, request, look, threading.Event())
    return Done(config, ingested, embedded, frozenset(names), frozenset(titles))


@pytest.fixture(scope="module")
def read(node: dict[str, object], done: Done) -> Callable[[], dict[str, dict[str, float]]]:
    """Return all series, by name and then by their labels as `a=b,c=d`."""
    with Store.open(done.config.paths.store_url) as store, measuring_while_attached():
        run = _health_run(done.config, store)
        measure_run(run)
        gauges = Gauges(done.config, store)
        gauges.look()

        def series() -> dict[str, dict[str, float]]:
            # What was set once is dropped after two reports.
            gauges.look()
            address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            with urllib.request.urlopen(address, timeout=10) as answer:
                return _parsed(answer.read().decode())

        wanted = {name for metric in METRICS for name in metric.exported_names}
        deadline = time.monotonic() + WAIT_SECONDS
        while not wanted <= set(found := series()):
            assert time.monotonic() < deadline, wanted - set(found)
            time.sleep(0.5)
        return lambda: found


def test_every_metric_of_the_table_is_exported(
    read: Callable[[], dict[str, dict[str, float]]],
) -> None:
    found = read()
    assert set(found) == {name for metric in METRICS for name in metric.exported_names}
    for metric in METRICS:
        for labels in found[metric.exported_names[0]]:
            named = {part.partition("=")[0] for part in labels.split(",")} - {"le"}
            assert named == set(metric.labels)


def test_counters_say_what_was_committed(
    done: Done, read: Callable[[], dict[str, dict[str, float]]]
) -> None:
    assert _of(read(), DOCUMENTS) == {
        "collection=docs,outcome=ingested": 5,
        "collection=docs,outcome=failed": 1,
    }
    chunks = done.ingested.chunks_written
    assert _of(read(), CHUNKS) == {
        "collection=docs,kind=ingest": chunks,
        "collection=texts,kind=embed": 600,
    }
    assert _of(read(), EMBEDDINGS) == {
        "collection=docs,origin=computed": chunks,
        "collection=texts,origin=computed": 600,
    }


def test_histograms_count_each_commit_batch_and_job(
    read: Callable[[], dict[str, dict[str, float]]],
) -> None:
    found = read()
    jobs = found["ray_lexigram_job_seconds_count"]
    assert jobs == {"kind=ingest,outcome=completed": 1, "kind=embed,outcome=completed": 1}
    assert found["ray_lexigram_job_wait_seconds_count"] == {"kind=ingest": 1, "kind=embed": 1}
    assert found["ray_lexigram_commit_seconds_count"]["collection=docs,kind=ingest"] >= 1
    assert found["ray_lexigram_commit_seconds_count"]["collection=texts,kind=embed"] >= 1
    # The model runs in Ray's workers, and what they measure comes from there.
    batches = found["ray_lexigram_embed_batch_seconds_count"]
    assert set(batches) == {"model=all-MiniLM-L6-v2", "model=hashing-32"}
    assert found["ray_lexigram_maintenance_run_seconds_count"] == {
        "outcome=completed,task=health_check": 1
    }


def test_gauges_say_what_stands_in_the_store_and_on_the_disk(
    done: Done, read: Callable[[], dict[str, dict[str, float]]]
) -> None:
    found = read()
    jobs = _of(found, JOBS)
    assert jobs["status=completed"] == 2
    assert jobs["status=running"] == 0
    letters = _of(found, DEAD_LETTERS)
    assert sum(letters.values()) == 1
    assert letters["category=invalid_input"] == 1
    rows = found["ray_lexigram_collection_rows"]
    assert rows == {
        "collection=docs": done.ingested.rows,
        "collection=texts": done.embedded.rows,
    }
    size = found["ray_lexigram_collection_bytes"]["collection=texts"]
    on_disk = sum(
        file.stat().st_size
        for file in (done.config.paths.lancedb / "texts.lance").rglob("*")
        if file.is_file()
    )
    assert size == pytest.approx(on_disk, rel=0.05)
    free = _of(found, DISK_FREE_BYTES)
    assert set(free) == {"place=state", "place=data", "place=scratch"}
    assert free["place=state"] == pytest.approx(psutil.disk_usage("/tmp").free, rel=0.2)
    assert _of(found, HEALTH) == {"check=disk": 0, "check=store": 1}


def test_actors_and_workers_are_named_after_their_job_and_collection(done: Done) -> None:
    job = done.ingested.job_id
    for begins in (f"ingest:docs:{job}:0:", f"ingest:docs:{job}:1:", f"embed:docs:{job}:"):
        assert [name for name in done.names if name.startswith(begins)], done.names
    pool = f"EmbedUnits:texts:{done.embedded.job_id}"
    assert [title for title in done.titles if pool in title], done.titles


def test_the_logs_of_workers_are_lines_of_json_with_their_job(done: Done) -> None:
    logs = Path(ray.worker.global_worker.node.get_logs_dir_path())  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    ours = [
        json.loads(line)
        for file in logs.glob("worker-*.err")
        for line in file.read_text(errors="replace").splitlines()
        if line.startswith('{"time"')
    ]
    assert [record for record in ours if record["message"].startswith("embedding ")]
    known = {done.ingested.job_id: "docs", done.embedded.job_id: "texts"}
    for record in ours:
        assert known[record["job_id"]] == record["collection"]


def test_outside_of_a_connection_nothing_is_measured() -> None:
    before = meter()
    with measuring_while_attached():
        assert meter() is not before
    assert meter() is before


def _titles() -> set[str]:
    titles = set[str]()
    for process in psutil.Process().children(recursive=True):
        try:
            titles.add(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return titles


def _health_run(config: WorkersConfig, store: Store) -> Run | None:
    """Record a run of the health check as its process would have ended it."""
    define_schedules(config, store)
    run = store.schedules.run_now("health_check")
    assert run.job_id is not None
    claim = store.claim(run.job_id, Owner.current(), 60)
    assert isinstance(claim, Claim)
    checks = [{"name": "disk", "status": "fail"}, {"name": "store", "status": "warn"}]
    store.finish(
        claim,
        JobStatus.COMPLETED,
        error=None,
        error_code=None,
        summary={"figures": {"checks": checks}},
    )
    return store.schedules.run_of_job(run.job_id)


def _parsed(text: str) -> dict[str, dict[str, float]]:
    labels = {name: metric for metric in METRICS for name in metric.exported_names}
    found: dict[str, dict[str, float]] = {}
    for name, given, value in SERIES.findall(text):
        wanted = {*labels[name].labels, "le"}
        kept = [f"{label}={said}" for label, said in LABEL.findall(given) if label in wanted]
        series = found.setdefault(name, {})
        key = ",".join(sorted(kept))
        # Each process has a series of its own.
        is_gauge = labels[name].kind is MetricKind.GAUGE
        series[key] = float(value) if is_gauge else series.get(key, 0.0) + float(value)
    return found


def _of(found: dict[str, dict[str, float]], metric: Metric) -> dict[str, float]:
    return found[metric.exported_names[0]]
