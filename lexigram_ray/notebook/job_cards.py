"""HTML of jobs: what one has done, or how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from lexigram_ray.cli.ingest_summary import HEADLINES, left_to_do
from lexigram_ray.cli.job_words import (
    local_time,
    pace_in_words,
    progress_in_words,
    seconds_taken,
    style_of,
    title_of,
)
from lexigram_ray.cli.output import count, duration
from lexigram_ray.core.types import JobStatus, Outcome
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.report import Problem, problems_of
from lexigram_ray.jobs.watching import pace_since_start
from lexigram_ray.notebook.cards import COLOURS, DIM, ROWS_SHOWN, card, more_html, safe, table_html

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.report import IngestReport

COLOURS_OF_STATES = COLOURS | {"cyan": "#0b7285", "dim": "#777"}
"""Readable on white and on black."""
BAR_WIDTH = 320
BAR_HEIGHT = 8


def ingest_card(report: IngestReport) -> str:
    """Return an ingestion's counts and, if there are any, its first problems."""
    word, style = HEADLINES[report.status]
    documents = report.documents
    if report.status is JobStatus.COMPLETED and documents.failed:
        style = "yellow"
    outcomes = (
        (documents.ingested, "ingested"),
        (documents.unchanged, "unchanged"),
        (documents.skipped, "skipped"),
        (documents.failed, "failed"),
        (documents.removed, "removed"),
        (left_to_do(documents), "left to do"),
    )
    told = ", ".join(f"{number:,} {name}" for number, name in outcomes if number)
    lines = [
        f'<b style="color:{COLOURS[style]}">{word}</b> '
        f"{count(documents.found, 'document')} found: {told or 'nothing to do'}",
        f"{count(report.chunks_written, 'chunk')} written, {report.chunks_removed:,} removed; "
        f"{report.embeddings_computed:,} embedded, {report.embeddings_cached:,} from the cache",
        f"{count(report.rows, 'row')} in collection <b>{escape(report.collection)}</b>; "
        f"{duration(report.duration_seconds)}",
    ]
    if report.error:
        lines.append(f"<b>error</b> {safe(report.error)}")
    lines += [f"<b>note</b> {safe(note)}" for note in report.notes]
    lines.append(f'<span style="{DIM}">job {escape(report.job_id)}</span>')
    return card(lines, problems_table(report.problems))


def job_card(job: Job, now: datetime) -> str:
    """Return how a job stands: its state, a bar, its times, and its first problems."""
    colour = COLOURS_OF_STATES[style_of(job)]
    pace = pace_in_words(pace_since_start(job, now))
    lines = [
        f'<b style="color:{colour}">{job.status.value}</b> {safe(title_of(job))}',
        f"{_bar(job, colour)} {safe(', '.join([progress_in_words(job), *pace]))}",
        " · ".join(_times(job, now)),
    ]
    if job.error:
        code = f" ({escape(job.error_code)})" if job.error_code else ""
        lines.append(f"<b>error</b> {safe(job.error)}{code}")
    lines.append(f'<span style="{DIM}">job {escape(job.id)}</span>')
    return card(lines, problems_table([Problem.from_dict(each) for each in problems_of(job)]))


def problems_table(problems: Sequence[Problem]) -> str:
    """Return failures, then skips, as a table of at most `ROWS_SHOWN` rows; else nothing."""
    if not problems:
        return ""
    ordered = sorted(problems, key=lambda problem: problem.outcome is not Outcome.FAILED)
    shown = ordered[:ROWS_SHOWN]
    rows = [(p.outcome.value, safe(p.code), safe(p.source), safe(p.reason)) for p in shown]
    table = table_html(("outcome", "code", "source", "reason"), rows)
    return f"{table}{more_html(len(ordered), len(shown), '.problems')}"


def _bar(job: Job, colour: str) -> str:
    """Draw how much is done, as a picture that a saved notebook keeps."""
    done = Counts.of(job).fraction
    if done is None:
        done = 1.0 if job.status is JobStatus.COMPLETED else 0.0
    return (
        f'<svg width="{BAR_WIDTH}" height="{BAR_HEIGHT}" role="img" aria-label="{done:.0%}">'
        f'<rect width="{BAR_WIDTH}" height="{BAR_HEIGHT}" rx="4" fill="gray" opacity="0.25"></rect>'
        f'<rect width="{BAR_WIDTH * done:.1f}" height="{BAR_HEIGHT}" rx="4" fill="{colour}"></rect>'
        "</svg>"
    )


def _times(job: Job, now: datetime) -> list[str]:
    told = [f"created {escape(local_time(job.created_at))}"]
    if job.status is JobStatus.PENDING and job.run_after is not None:
        told.append(f"not before {escape(local_time(job.run_after))}")
    taken = seconds_taken(job, now)
    if taken is not None:
        told.append(f"{'took' if job.status.is_final else 'for'} {duration(taken)}")
    if job.attempt > 1:
        told.append(f"attempt {job.attempt}")
    return told
