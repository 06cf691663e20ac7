"""What is measured, and that it is measured once, after it has become durable."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.telemetry import (
    CHUNKS,
    COMMIT_SECONDS,
    DOCUMENTS,
    EMBEDDINGS,
    METRICS,
    Metric,
    MetricKind,
    NoMeter,
    meter,
    set_meter,
)
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.measuring import ClaimedJob, measure_settled
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.store import Store
from tests.integration.local_ingest import ingest_here
from tests.recording_meter import RecordingMeter, recording

PACKAGE = Path(__file__).resolve().parents[2] / "lexigram_ray"
OF_NO_BOUND = {"job_id", "source", "document_id", "path", "id", "letter_id"}

__all__ = ["recording"]


def test_every_metric_is_named_once_with_its_unit() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"lexigram_[a-z_]+", metric.name), metric
        # Ray adds `_total` itself.
        assert not metric.name.endswith("_total")
        if metric.kind is MetricKind.HISTOGRAM:
            assert metric.name.endswith("_seconds")
            assert list(metric.boundaries) == sorted(set(metric.boundaries))


def test_no_label_has_a_value_a_job_or_a_file() -> None:
    assert not {label for metric in METRICS for label in metric.labels} & OF_NO_BOUND


def test_what_is_defined_is_in_the_table() -> None:
    tree = ast.parse((PACKAGE / "core" / "telemetry.py").read_text())
    made = {
        node.value.args[0].value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") in {"_counter", "_gauge", "_histogram"}
        and isinstance(node.value.args[0], ast.Constant)
    }
    assert made == {metric.name for metric in METRICS}


def test_a_label_that_is_not_given_is_empty_and_one_too_many_is_an_error() -> None:
    assert DOCUMENTS.tags({"collection": "docs"}) == {"collection": "docs", "outcome": ""}
    with pytest.raises(ValueError, match="no label job_id"):
        DOCUMENTS.tags({"job_id": "1"})


@pytest.mark.parametrize(
    ("metric", "exported"),
    [
        (DOCUMENTS, ("ray_lexigram_documents_total",)),
        (
            COMMIT_SECONDS,
            (
                "ray_lexigram_commit_seconds_bucket",
                "ray_lexigram_commit_seconds_count",
                "ray_lexigram_commit_seconds_sum",
            ),
        ),
    ],
)
def test_exported_names_are_those_of_ray(metric: Metric, exported: tuple[str, ...]) -> None:
    assert metric.exported_names == exported


def test_outside_ray_nothing_is_measured_and_nothing_fails() -> None:
    assert isinstance(meter(), NoMeter)
    meter().count(CHUNKS, 3, collection="docs")
    before = set_meter(RecordingMeter())
    try:
        assert isinstance(before, NoMeter)
    finally:
        set_meter(before)


def test_every_metric_is_measured_somewhere() -> None:
    """Each constant of the table is used outside of the table."""
    code = "\n".join(
        path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "telemetry.py"
    )
    table = (PACKAGE / "core" / "telemetry.py").read_text()
    for metric in METRICS:
        found = re.search(rf'^(\w+) = _\w+\(\s*"{metric.name}"', table, re.MULTILINE)
        assert found, metric.name
        used = rf"meter\(\)\.\w+\(\s*{found[1]}\b|self\._set\({found[1]}\b"
        assert re.search(used, code), f"{metric.name} is never measured"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as opened:
        yield opened


def _job(store: Store) -> Job:
    return store.submit(kind="ingest", collection="docs", spec={}, spec_key="key")[0]


def test_a_job_s_wait_is_measured_at_its_first_claim_only(
    store: Store, recording: RecordingMeter
) -> None:
    job = _job(store)
    ClaimedJob(job)
    assert recording.observed("lexigram_job_wait_seconds", kind="ingest") == 1
    claim = store.claim(job.id, Owner.current(), 60)
    assert isinstance(claim, Claim)
    store.release(claim, "interrupted")
    again = store.get(job.id)
    assert again is not None
    ClaimedJob(again).ended(JobStatus.COMPLETED)
    assert recording.observed("lexigram_job_wait_seconds", kind="ingest") == 1
    assert recording.observed("lexigram_job_seconds", kind="ingest", outcome="completed") == 1


def test_a_job_that_nobody_has_begun_has_no_duration(
    store: Store, recording: RecordingMeter
) -> None:
    measure_settled(_job(store), JobStatus.CANCELLED)
    assert recording.values == {}


def test_an_ingestion_counts_what_it_has_committed_and_once(
    tmp_path: Path, recording: RecordingMeter
) -> None:
    config = load_config(state_dir=tmp_path / "state", embedding={"cache": False})
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("tides", "bread", "chess"):
        (docs / f"{name}.md").write_text(f"# {name}\n\nAll about {name}.\n")
    (docs / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")

    report = ingest_here(config, docs)

    counts = recording.counted
    assert counts(DOCUMENTS, collection="docs", outcome="ingested") == 3
    assert counts(DOCUMENTS, collection="docs", outcome="failed") == 1
    assert counts(CHUNKS, collection="docs", kind="ingest") == report.chunks_written
    assert counts(EMBEDDINGS, collection="docs", origin="computed") == report.chunks_written
    assert recording.observed("lexigram_commit_seconds", collection="docs", kind="ingest") >= 1
    assert recording.observed("lexigram_embed_batch_seconds") >= 1
    assert recording.observed("lexigram_job_seconds", kind="ingest", outcome="completed") == 1

    ingest_here(config, docs)
    assert counts(DOCUMENTS, collection="docs", outcome="ingested") == 3
