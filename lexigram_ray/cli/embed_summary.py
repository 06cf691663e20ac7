"""How an embedding job ended, in words and tables."""

from __future__ import annotations

import sys

from lexigram_ray.cli.ingest_summary import HEADLINES, print_problems
from lexigram_ray.cli.output import count, duration, paint, write_json_line, write_line
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.embed_report import EmbedReport, TextCounts


def print_summary(report: EmbedReport) -> None:
    """Print what was embedded, what was not and why, and what it took, on stdout."""
    print_problems(report.problems)
    word, style = HEADLINES[report.status]
    if report.status is JobStatus.COMPLETED and report.texts.failed:
        style = "yellow"
    read = count(report.texts.read, "text")
    told = ", ".join(outcomes(report)) or "nothing to do"
    _print(f"{paint(word, style, sys.stdout)}: {read} read: {told}")
    _print(f"  {count(report.rows, 'row')} in collection {report.collection}; {_took(report)}")
    if report.job_id:
        _print(f"  job {report.job_id}")


def outcomes(report: EmbedReport) -> list[str]:
    """Say how many texts ended how, such as `12 cached (10 in the collection already)`."""
    texts = report.texts
    cached = f"{texts.cached:,} cached"
    if report.unchanged:
        cached += f" ({report.unchanged:,} in the collection already)"
    said = (
        (texts.embedded, f"{texts.embedded:,} embedded"),
        (texts.cached, cached),
        (texts.failed, f"{texts.failed:,} failed"),
        (left_to_do(texts), f"{left_to_do(texts):,} left to do"),
    )
    return [words for number, words in said if number]


def left_to_do(texts: TextCounts) -> int:
    """Return how many texts an interrupted run did not come to."""
    return texts.read - texts.embedded - texts.cached - texts.failed


def write_summary_lines(report: EmbedReport) -> None:
    """Write the failures and the summary of `--json-progress`."""
    for problem in report.problems:
        write_json_line(
            {
                "message_type": "error",
                "error": {"code": problem.code, "message": problem.reason},
                "during": "embed",
                "item": problem.source,
            },
            sys.stderr,
        )
    write_json_line({"message_type": "summary", **report.to_dict()}, sys.stderr)


def _took(report: EmbedReport) -> str:
    seconds, texts = report.duration_seconds, report.texts
    took = duration(seconds)
    if texts.embedded and seconds > 0:
        done = texts.embedded + texts.cached
        took += f", {done / seconds:,.0f} texts/s"
    return f"{took}, {report.place}" if report.place else took


def _print(line: str) -> None:
    write_line(sys.stdout, line)
