"""Reports of embedding jobs that never ran, for the tests of what is shown of them."""

from __future__ import annotations

from lexigram_ray.core.types import FailureCategory, JobStatus, Outcome
from lexigram_ray.jobs.embed_report import EmbedReport, TextCounts
from lexigram_ray.jobs.report import Problem


def make_report(
    status: JobStatus = JobStatus.COMPLETED,
    *,
    problems: tuple[Problem, ...] = (),
    unchanged: int = 0,
    truncated: int = 0,
    notes: tuple[str, ...] = (),
    **texts: int,
) -> EmbedReport:
    return EmbedReport(
        job_id="0192",
        collection="faq",
        status=status,
        texts=TextCounts(**texts),
        rows=1000,
        duration_seconds=4.0,
        problems=problems,
        unchanged=unchanged,
        truncated=truncated,
        notes=notes,
        place="this process",
    )


def make_problem(source: str) -> Problem:
    return Problem(
        source=source,
        outcome=Outcome.FAILED,
        category=FailureCategory.INVALID_INPUT,
        code="empty_text",
        reason="the text is empty",
    )
