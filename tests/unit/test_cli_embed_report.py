"""What an embedding job's report means to a script and looks like to a person."""

from __future__ import annotations

import json

import pytest

from lexigram_ray.cli.embed import exit_code
from lexigram_ray.cli.embed_summary import print_summary, write_summary_lines
from lexigram_ray.cli.ingest_summary import PROBLEMS_SHOWN
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.embed_report import EmbedReport
from tests.embed_reports import make_problem, make_report


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (make_report(), 0),
        (make_report(read=3, embedded=1, cached=2), 0),
        (make_report(read=3, embedded=2, failed=1), 3),
        (make_report(read=2, failed=2), 1),
        (make_report(JobStatus.FAILED, read=2, embedded=2), 1),
        (make_report(JobStatus.CANCELLED, read=2), 1),
        (make_report(JobStatus.RUNNING, read=2, failed=1), 130),
        (make_report(JobStatus.PENDING), 130),
    ],
)
def test_the_exit_code_tells_how_it_ended(report: EmbedReport, code: int) -> None:
    assert exit_code(report) == code


def test_the_summary_counts_everything(capsys: pytest.CaptureFixture[str]) -> None:
    report = make_report(read=1300, embedded=900, cached=300, failed=100, unchanged=50, truncated=7)
    print_summary(report)
    shown = capsys.readouterr().out

    assert "1,300 texts read: 900 embedded, 300 cached (50 in the collection already)" in shown
    assert ", 100 failed" in shown
    assert "1,000 rows in collection faq; 4.0 s, 300 texts/s, this process" in shown
    assert "job 0192" in shown


def test_an_interrupted_run_counts_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(make_report(JobStatus.PENDING, read=10, embedded=3, cached=1, failed=1))

    assert "interrupted: 10 texts read: 3 embedded, 1 cached, 1 failed, 5 left to do" in (
        capsys.readouterr().out
    )


def test_an_empty_table_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(make_report())

    assert "done: 0 texts read: nothing to do" in capsys.readouterr().out


def test_problems_are_a_table_that_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    problems = tuple(make_problem(f"faq.csv, row {row}\x1b[31m") for row in range(30))
    print_summary(make_report(problems=problems, read=40, embedded=10, failed=30))
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["OUTCOME", "CODE", "SOURCE", "REASON"]
    assert "faq.csv, row 0\\x1b[31m" in lines[1]
    assert lines[PROBLEMS_SHOWN + 1] == "and 10 more: --json shows all"


def test_json_lines_end_with_the_failures_and_the_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = (make_problem("faq.csv, row 3"),)
    report = make_report(problems=problems, read=2, embedded=1, failed=1)
    write_summary_lines(report)
    error, summary = map(json.loads, capsys.readouterr().err.splitlines())

    assert (error["message_type"], error["during"]) == ("error", "embed")
    assert error["item"] == "faq.csv, row 3"
    assert error["error"] == {"code": "empty_text", "message": "the text is empty"}
    assert summary == {"message_type": "summary", **report.to_dict()}
