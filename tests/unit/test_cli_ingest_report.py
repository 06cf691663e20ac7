"""What an ingestion's report means to a script and looks like to a person."""

from __future__ import annotations

import json

import pytest

from lexigram_ray.cli.ingest import exit_code
from lexigram_ray.cli.ingest_summary import (
    PROBLEMS_SHOWN,
    print_dry_run,
    print_summary,
    write_summary_lines,
)
from lexigram_ray.core.types import FailureCategory, JobStatus, Outcome
from lexigram_ray.jobs.report import DocumentCounts, DryRunReport, IngestReport, Problem


def make_report(
    status: JobStatus = JobStatus.COMPLETED,
    problems: tuple[Problem, ...] = (),
    **documents: int,
) -> IngestReport:
    return IngestReport(
        job_id="0192",
        collection="docs",
        status=status,
        documents=DocumentCounts(**documents),
        chunks_written=100,
        chunks_removed=7,
        embeddings_computed=90,
        embeddings_cached=10,
        rows=1000,
        duration_seconds=4.0,
        problems=problems,
    )


def make_problem(source: str, outcome: Outcome) -> Problem:
    category = FailureCategory.INVALID_INPUT
    return Problem(
        source=source, outcome=outcome, category=category, code="encrypted", reason="a password"
    )


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (make_report(), 0),
        (make_report(found=2, ingested=1, skipped=1), 0),
        (make_report(found=3, ingested=2, failed=1), 3),
        (make_report(found=3, unchanged=2, failed=1), 3),
        (make_report(found=2, skipped=1, failed=1), 3),
        (make_report(found=2, failed=2), 1),
        (make_report(JobStatus.FAILED, found=2, ingested=2), 1),
        (make_report(JobStatus.CANCELLED, found=2), 1),
        (make_report(JobStatus.RUNNING, found=2, failed=1), 130),
        (make_report(JobStatus.PENDING), 130),
    ],
)
def test_the_exit_code_tells_how_it_ended(report: IngestReport, code: int) -> None:
    assert exit_code(report) == code


def test_the_summary_counts_everything(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(make_report(found=6, ingested=2, unchanged=1, skipped=1, failed=2, removed=3))
    shown = capsys.readouterr().out

    assert "6 documents found: 2 ingested, 1 unchanged, 1 skipped, 2 failed, 3 removed" in shown
    assert "100 chunks written, 7 removed; 90 embedded, 10 from the cache" in shown
    assert "1,000 rows in collection docs; 4.0 s, 25 chunks/s" in shown


def test_failures_come_before_skips_and_the_rest_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    skips = [make_problem(f"/skip{number}", Outcome.SKIPPED) for number in range(PROBLEMS_SHOWN)]
    failures = [make_problem("/fail\n1", Outcome.FAILED), make_problem("/fail2", Outcome.FAILED)]
    print_summary(make_report(problems=(*skips, *failures), found=22, skipped=20, failed=2))
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["OUTCOME", "CODE", "SOURCE", "REASON"]
    assert lines[1].split() == ["failed", "encrypted", "/fail\\n1", "a", "password"]
    assert lines[2].startswith("failed")
    assert lines[3].startswith("skipped")
    assert lines[PROBLEMS_SHOWN + 1] == "and 2 more: --json shows all"


def test_a_dry_run_marks_what_is_estimated(capsys: pytest.CaptureFixture[str]) -> None:
    print_dry_run(
        DryRunReport(
            collection="docs",
            found=10_000,
            new=130,
            changed=0,
            unchanged=9_870,
            remembered=0,
            removed=0,
            estimated_chunks=1234,
            estimated_tokens=200_000,
            estimated_seconds=15.0,
            estimated_disk_bytes=2_500_000,
        )
    )
    shown = capsys.readouterr().out

    assert "10,000 documents found" in shown
    assert "9,870 unchanged" in shown
    assert "~1,234 chunks, ~200,000 tokens, ~15 s, ~2.5 MB on disk" in shown


def test_json_lines_end_with_the_failures_and_the_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = (make_problem("/f", Outcome.FAILED), make_problem("/s", Outcome.SKIPPED))
    report = make_report(problems=problems, found=2, skipped=1, failed=1)
    write_summary_lines(report)
    error, summary = map(json.loads, capsys.readouterr().err.splitlines())

    assert (error["message_type"], error["during"], error["item"]) == ("error", "ingest", "/f")
    assert summary == {"message_type": "summary", **report.to_dict()}
