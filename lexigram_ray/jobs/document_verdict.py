"""How a job ends that was given one document: as the document did."""

from __future__ import annotations

from dataclasses import replace

from lexigram_ray.core.types import JobStatus, Outcome
from lexigram_ray.jobs.commit import CODES_OF_NO_CONTENT
from lexigram_ray.jobs.records import DOCUMENT_FAILED
from lexigram_ray.jobs.report import IngestReport, Problem

NO_TEXT_CODES = CODES_OF_NO_CONTENT - {"unsupported"}
"""Of documents that are skipped because there is no text in them, which is no failure."""


def with_verdict(report: IngestReport) -> IngestReport:
    """Return the report of a job that was given one document: failed if that has failed.

    In a folder, a document that fails is one of many. Whoever gave this one waits for it.
    """
    wrong = next(filter(is_failure, report.problems), None)
    if report.status is not JobStatus.COMPLETED or wrong is None:
        return report
    # A failure is a dead letter already, a document that was skipped becomes one by its job.
    code = DOCUMENT_FAILED if wrong.outcome is Outcome.FAILED else wrong.code
    return replace(report, status=JobStatus.FAILED, error=wrong.reason, error_code=code)


def is_failure(problem: Problem) -> bool:
    """Whether nothing could be made of a document, although there may be something in it."""
    return problem.outcome is Outcome.FAILED or problem.code not in NO_TEXT_CODES
