"""Working on a recorded job in this process, and what becomes of it where that does not end well.

Nothing here needs Ray by itself; a large job starts it (`runtime.resume`).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import UTC, datetime

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.giving_up import (
    FREE_LOSSES,
    GiveUp,
    LeaveIt,
    Verdict,
    after_error,
    is_lost_for_good,
    losses_in_a_row,
    wait_after_losses,
)
from lexigram_ray.jobs.measuring import measure_settled
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import ERROR, Claim, Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.resume import run_job

logger = logging.getLogger("lexigram_ray")


def work_on(config: WorkersConfig, job_id: str, stop: threading.Event, *, actor: str) -> None:
    """Work on a job in this process, and settle what becomes of it where it does not end.

    Args:
        config: Of this process; what decides the result comes with the job.
        stop: Has the job given back when it is set: pending, with what is done committed.
        actor: Name of the actor or worker that this is.

    Raises:
        WorkerError: The store cannot be reached.
    """
    with Store.open(config.paths.store_url) as store:
        losses = losses_in_a_row(store.attempts_of(job_id), datetime.now(UTC))
        if losses >= FREE_LOSSES:
            logger.warning("job %s: its process died %d times; now on workers", job_id, losses)
            config = _on_workers_only(config)
        started = time.monotonic()
        logger.info("job %s begins as %s", job_id, actor)
        try:
            report = run_job(config, job_id, stop=stop, actor=actor)
        except Exception as error:  # noqa: BLE001 - it is told by the job's own record
            settle(store, job_id, error, max_attempts=config.jobs.max_attempts)
            return
        seconds = time.monotonic() - started
        logger.info("job %s is %s after %.1f s", job_id, report.status.value, seconds)


def settle(store: Store, job_id: str, error: Exception, *, max_attempts: int) -> None:
    """Postpone a job whose attempt has failed, or give it up.

    Args:
        error: What ended the attempt; the job was given back before.
        max_attempts: So many errors in a row, and the job fails.
    """
    job = store.get(job_id)
    verdict = after_error(
        error,
        errors_in_a_row=store.errors_in_a_row(job_id),
        max_attempts=max_attempts,
        jitter=random.random(),  # noqa: S311 - no secret
    )
    if job is None or job.status is not JobStatus.PENDING:
        verdict = LeaveIt()
    logger.warning("job %s: %s: %s (%s)", job_id, type(error).__name__, error, verdict)
    if job is not None:
        _carry_out(store, job, verdict)


def may_start(config: WorkersConfig, store: Store, job: Job) -> bool:
    """Whether a job that is ready may be begun now; one that kills each process is given up.

    Args:
        job: As `Store.ready` returned it: a running one has lost its owner.
    """
    if job.status is not JobStatus.RUNNING:
        return True
    attempts = store.attempts_of(job.id)
    now = datetime.now(UTC)
    losses = losses_in_a_row(attempts, now)
    if is_lost_for_good(losses, config.jobs.max_attempts):
        _give_up_lost(config, store, job, losses)
        return False
    age = (now - attempts[-1].started_at).total_seconds() if attempts else 0.0
    return age >= wait_after_losses(losses)


def _carry_out(store: Store, job: Job, verdict: Verdict) -> None:
    if isinstance(verdict, GiveUp):
        if store.give_up(job.id, job.fence, error=verdict.error, error_code=verdict.code):
            measure_settled(job, JobStatus.FAILED)
    elif not isinstance(verdict, LeaveIt):
        store.postpone(job.id, job.fence, verdict.seconds)
    elif job.status.is_final:
        # It was cancelled, or its deadline passed, while this process worked on it.
        measure_settled(job, job.status)


def _give_up_lost(config: WorkersConfig, store: Store, job: Job, losses: int) -> None:
    claim = store.claim(job.id, Owner.current(), config.jobs.lease_seconds)
    if not isinstance(claim, Claim):
        return
    error = f"the process that worked on it died {losses} times in a row"
    store.release(claim, ERROR, error=error, category=FailureCategory.UNKNOWN)
    store.give_up(job.id, claim.fence, error=error, error_code="runner_died")
    measure_settled(job, JobStatus.FAILED)
    logger.warning("job %s has failed: %s", job.id, error)


def _on_workers_only(config: WorkersConfig) -> WorkersConfig:
    """Return settings with which this process runs no model: what kills it kills a worker then."""
    runtime = config.runtime.model_copy(update={"inline_seconds": 0.0})
    return config.model_copy(update={"runtime": runtime})
