"""One trace from the submission of a job to its commits, whichever processes have worked on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import REPOSITORY, clean_environment, run_cli
from tests.ready_state import converted_models, state
from tests.trace_collector import Collector, collecting

__all__ = ["converted_models", "state"]

STEPS = ["submit", "claim", "job", "parse", "embed", "commit"]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"The text of document {number}.")
    return folder


def ingest(documents: Path, state: Path, **env: str) -> None:
    result = run_cli("ingest", str(documents), "-c", "docs", "--json", state=state, env=env)
    assert result.code == 0, result.stderr


def check(collector: Collector) -> None:
    spans = {step: collector.named(f"lexigram.{step}") for step in STEPS}
    assert all(spans.values()), sorted(span.name for span in collector.spans)
    assert len({span.trace for found in spans.values() for span in found}) == 1
    assert len(spans["parse"]) == 3
    submit, job = spans["submit"][0], spans["job"][0]
    assert job.parent == submit.id
    assert all(span.parent == job.id for span in spans["commit"])
    assert job.attributes["lexigram.collection"] == "docs"
    sources = {Path(span.attributes["lexigram.source"]).name for span in spans["parse"]}
    assert sources == {"0.txt", "1.txt", "2.txt"}


def test_a_job_in_one_process_is_one_trace(
    collector: Collector, documents: Path, state: Path
) -> None:
    ingest(documents, state, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    check(collector)


@pytest.mark.slow
@pytest.mark.ray
def test_a_job_on_ray_is_one_trace_too(collector: Collector, documents: Path, state: Path) -> None:
    ingest(
        documents,
        state,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS="0",
    )
    check(collector)


def test_a_job_submitted_over_http_goes_on_with_the_trace_of_its_request(
    collector: Collector, state: Path
) -> None:
    trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    command = [sys.executable, "-m", "tests.contract.traced_service_child", str(state)]
    done = subprocess.run(
        [*command, f"00-{trace}-{caller}-01"],
        cwd=REPOSITORY,
        env=clean_environment(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    spans = {step: collector.named(f"lexigram.{step}") for step in STEPS if step != "parse"}
    assert all(spans.values()), sorted(span.name for span in collector.spans)
    assert {span.trace for found in spans.values() for span in found} == {trace}
    request = [span for span in collector.spans if span.parent == caller]
    assert len(request) == 1
    assert spans["submit"][0].parent == request[0].id


def test_a_collector_that_is_away_costs_the_job_nothing(documents: Path, state: Path) -> None:
    ingest(documents, state, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")


def test_without_an_exporter_nothing_is_recorded(documents: Path, state: Path) -> None:
    ingest(documents, state)
    listed = run_cli("jobs", "list", "--json", state=state).object["items"]
    job = run_cli("jobs", "show", listed[0]["id"], "--json", state=state).object
    assert "trace" not in job["spec"]["request"]
