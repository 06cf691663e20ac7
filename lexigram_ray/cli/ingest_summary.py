"""How an ingestion ended, and what a dry run found, in words and tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lexigram_ray.cli.output import (
    byte_size,
    count,
    duration,
    paint,
    print_table,
    write_json_line,
    write_line,
)
from lexigram_ray.core.types import JobStatus, Outcome
from lexigram_ray.jobs.report import DocumentCounts, DryRunReport, IngestReport, Problem

PROBLEMS_SHOWN = 20
HEADLINES = {
    JobStatus.COMPLETED: ("done", "green"),
    JobStatus.FAILED: ("failed", "red"),
    JobStatus.CANCELLED: ("cancelled", "red"),
    JobStatus.PENDING: ("interrupted", "yellow"),
    JobStatus.RUNNING: ("interrupted", "yellow"),
}


def print_summary(report: IngestReport) -> None:
    """Print what was ingested, what was not and why, and what it took, on stdout."""
    print_problems(report.problems)
    word, style = HEADLINES[report.status]
    if report.status is JobStatus.COMPLETED and report.documents.failed:
        style = "yellow"
    documents = report.documents
    outcomes = (
        ("ingested", documents.ingested),
        ("unchanged", documents.unchanged),
        ("skipped", documents.skipped),
        ("failed", documents.failed),
        ("removed", documents.removed),
        ("left to do", left_to_do(documents)),
    )
    told = ", ".join(f"{number:,} {name}" for name, number in outcomes if number) or "nothing to do"
    found = count(documents.found, "document")
    _print(f"{paint(word, style, sys.stdout)}: {found} found: {told}")
    _print(
        f"  {count(report.chunks_written, 'chunk')} written, {report.chunks_removed:,} removed; "
        f"{report.embeddings_computed:,} embedded, {report.embeddings_cached:,} from the cache"
    )
    _print(f"  {count(report.rows, 'row')} in collection {report.collection}; {_took(report)}")
    if report.job_id:
        _print(f"  job {report.job_id}")


def left_to_do(documents: DocumentCounts) -> int:
    """Return how many documents an interrupted run did not come to."""
    ended = documents.ingested + documents.unchanged + documents.skipped + documents.failed
    return documents.found - ended


def print_problems(problems: Sequence[Problem]) -> None:
    """Print failures, then skips, as a table of at most `PROBLEMS_SHOWN` rows."""
    if not problems:
        return
    ordered = sorted(problems, key=lambda problem: problem.outcome is not Outcome.FAILED)
    rows = [(p.outcome.value, p.code, p.source, p.reason) for p in ordered[:PROBLEMS_SHOWN]]
    print_table(("OUTCOME", "CODE", "SOURCE", "REASON"), rows)
    more = len(problems) - len(rows)
    if more > 0:
        _print(f"and {more:,} more: --json shows all")
    _print("")


def print_dry_run(report: DryRunReport) -> None:
    """Print what a run would do; `~` stands before what is estimated from a sample."""
    print_problems(report.problems)
    rows = [
        ("new", report.new),
        ("changed", report.changed),
        ("unchanged", report.unchanged),
        ("skipped or failed before", report.remembered),
        ("to be removed", report.removed),
    ]
    _print(f"{count(report.found, 'document')} found for collection {report.collection}")
    for name, number in rows:
        _print(f"  {number:>9,} {name}")
    _print(
        f"would cost ~{report.estimated_chunks:,} chunks, ~{report.estimated_tokens:,} tokens, "
        f"~{duration(report.estimated_seconds)}, ~{byte_size(report.estimated_disk_bytes)} on disk"
    )
    _print("nothing was changed: run it without --dry-run")


def write_summary_lines(report: IngestReport) -> None:
    """Write the failures and the summary of `--json-progress`."""
    for problem in report.problems:
        if problem.outcome is Outcome.FAILED:
            error = {"code": problem.code, "message": problem.reason}
            write_json_line(
                {
                    "message_type": "error",
                    "error": error,
                    "during": "ingest",
                    "item": problem.source,
                },
                sys.stderr,
            )
    write_json_line({"message_type": "summary", **report.to_dict()}, sys.stderr)


def _took(report: IngestReport) -> str:
    seconds = report.duration_seconds
    if not report.chunks_written or seconds <= 0:
        return duration(seconds)
    return f"{duration(seconds)}, {report.chunks_written / seconds:.0f} chunks/s"


def _print(line: str) -> None:
    write_line(sys.stdout, line)
