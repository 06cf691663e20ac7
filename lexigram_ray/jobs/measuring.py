"""What jobs measure: how long they waited and took, and what their commits have made durable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lexigram_ray.core.telemetry import (
    CHUNKS,
    COMMIT_SECONDS,
    DOCUMENTS,
    EMBEDDINGS,
    JOB_SECONDS,
    JOB_WAIT_SECONDS,
    MAINTENANCE_RUN_SECONDS,
    meter,
)
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.requests import EMBED, INGEST

if TYPE_CHECKING:
    from lexigram_ray.jobs.executor import Executed
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.schedule_records import Run
    from lexigram_ray.jobs.text_executor import RowsExecution


class ClaimedJob:
    """Measures a job that this process works on.

    Args:
        job: As it was before the claim.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._claimed_at = datetime.now(UTC)
        if job.started_at is None:
            waited = (self._claimed_at - job.created_at).total_seconds()
            meter().observe(JOB_WAIT_SECONDS, max(0.0, waited), kind=job.kind)

    def ended(self, outcome: JobStatus) -> None:
        """Measure its end, once that is durable."""
        _measure_end(self._job, self._job.started_at or self._claimed_at, outcome)


def measure_settled(job: Job, outcome: JobStatus) -> None:
    """Measure a job that was ended after an attempt of it had begun, by whomever."""
    if job.started_at is not None:
        _measure_end(job, job.started_at, outcome)


def measure_run(run: Run | None) -> None:
    """Measure a maintenance run that has ended; one that is forgotten already is not."""
    if run is None or run.started_at is None or run.finished_at is None:
        return
    seconds = (run.finished_at - run.started_at).total_seconds()
    meter().observe(
        MAINTENANCE_RUN_SECONDS, max(0.0, seconds), task=run.task, outcome=run.status.value
    )


def measure_documents(collection: str, units: Sequence[Executed]) -> None:
    """Count documents whose outcome is recorded, and their rows that are committed."""
    for outcome, number in Counter(unit.outcome for unit in units).items():
        meter().count(DOCUMENTS, number, collection=collection, outcome=outcome.value)
    _measure_rows(
        collection,
        INGEST,
        rows=sum(unit.chunks for unit in units),
        computed=sum(unit.computed for unit in units),
        cached=sum(unit.cached for unit in units),
    )


def measure_texts(collection: str, executions: Sequence[RowsExecution]) -> None:
    """Count the rows of a table that are committed."""
    _measure_rows(
        collection,
        EMBED,
        rows=sum(len(execution.rows) for execution in executions),
        computed=sum(execution.computed for execution in executions),
        cached=sum(execution.cached for execution in executions),
    )


def measure_commit(collection: str, kind: str, seconds: float) -> None:
    """Measure one commit of rows."""
    meter().observe(COMMIT_SECONDS, seconds, collection=collection, kind=kind)


def _measure_rows(collection: str, kind: str, *, rows: int, computed: int, cached: int) -> None:
    meter().count(CHUNKS, rows, collection=collection, kind=kind)
    meter().count(EMBEDDINGS, computed, collection=collection, origin="computed")
    meter().count(EMBEDDINGS, cached, collection=collection, origin="cached")


def _measure_end(job: Job, began: datetime, outcome: JobStatus) -> None:
    seconds = ((job.finished_at or datetime.now(UTC)) - began).total_seconds()
    meter().observe(JOB_SECONDS, max(0.0, seconds), kind=job.kind, outcome=outcome.value)
