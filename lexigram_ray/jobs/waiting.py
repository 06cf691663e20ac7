"""Waiting for a job that another process is working on."""

from __future__ import annotations

import threading
from dataclasses import replace

from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Busy, Claim, Job, Owner
from lexigram_ray.jobs.report import IngestReport
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.tracker import Tracker

LOOK_EVERY_SECONDS = 0.5


def wait_for_other(
    store: Store, job_id: str, lease_seconds: float, tracker: Tracker, stop: threading.Event
) -> Claim | IngestReport | None:
    """Wait until the other process has finished the job or lost it.

    Returns:
        The other's report; a claim, when the job fell to us; None when `stop` was set.
    """
    tracker.enter("waiting")
    while not stop.wait(LOOK_EVERY_SECONDS):
        job = store.get(job_id)
        if job is None or job.status.is_final:
            return _report_of(job) if job is not None else None
        try:
            claim = store.claim(job_id, Owner.current(), lease_seconds)
        except LeaseLostError:
            continue  # It has become final since the look.
        if not isinstance(claim, Busy):
            return claim
        _show(tracker, job)
    return None


def _show(tracker: Tracker, job: Job) -> None:
    count = {key: value for key, value in job.progress.items() if isinstance(value, int)}
    tracker.now = replace(
        tracker.now,
        job_id=job.id,
        documents_done=count.get("done", 0),
        documents_total=count.get("total", 0),
        failed=count.get("failed", 0),
    )
    tracker.pulse()


def _report_of(job: Job) -> IngestReport:
    report = IngestReport.from_dict(job.summary, adopted=True)
    return replace(report, status=JobStatus(job.status), error=job.error)
