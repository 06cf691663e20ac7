"""The actor that works on one job, and what becomes of the job when that does not end well."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from datetime import UTC, datetime

import ray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.giving_up import (
    FREE_LOSSES,
    GiveUp,
    LeaveIt,
    Verdict,
    after_error,
    losses_in_a_row,
)
from lexigram_ray.jobs.measuring import measure_settled
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.actor_names import job_tag_of, runner_name
from lexigram_ray.runtime.cluster import NAMESPACE
from lexigram_ray.runtime.ray_process import begin_ray_process
from lexigram_ray.runtime.resume import run_job

LAST_SECONDS = 10.0

logger = logging.getLogger("lexigram_ray")


class JobRunner:
    """Works on one recorded job from the moment it exists, and ends itself when that is over.

    It is detached, so that it outlives the queue that started it. The workers that it starts are
    its own: they end with it.
    """

    def __init__(self, config: WorkersConfig, job_id: str, name: str) -> None:
        begin_ray_process(config, job_tag_of(name))
        self._config = config
        self._job_id = job_id
        self._name = name
        self._stop = threading.Event()
        self._me = ray.get_runtime_context().current_actor
        # A thread, so that the actor answers while it works.
        threading.Thread(target=self._run, name="job", daemon=True).start()

    def __repr__(self) -> str:
        return self._name

    def stop(self) -> None:
        """Have the job given back: pending, with what was done until then committed."""
        logger.info("%s is asked to stop", self._name)
        self._stop.set()

    def describe(self) -> dict[str, object]:
        """Return where it runs."""
        return {"pid": os.getpid(), "node": socket.gethostname()}

    def _run(self) -> None:
        try:
            work_on(self._config, self._job_id, self._stop, actor=self._name)
        except Exception:
            logger.exception("%s: what became of its job was not recorded", self._name)
        self._me.__ray_terminate__.remote()
        time.sleep(LAST_SECONDS)
        logger.warning("%s does not end in good order, and so ends at once", self._name)
        os._exit(1)


def start_runner(config: WorkersConfig, job: Job) -> None:
    """Start the runner of a job; one that exists already is left as it is."""
    name = runner_name(job)
    runner = ray.remote(JobRunner).options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        # The work is done by the workers that it starts: they get the CPUs.
        num_cpus=0,
        max_restarts=0,
    )
    runner.remote(config, job.id, name)


def work_on(config: WorkersConfig, job_id: str, stop: threading.Event, *, actor: str) -> None:
    """Work on a job in this process, and settle what becomes of it where it does not end.

    Args:
        config: Of this cluster; what decides the result comes with the job.
        actor: Name of the actor that this is.

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


def _carry_out(store: Store, job: Job, verdict: Verdict) -> None:
    if isinstance(verdict, GiveUp):
        if store.give_up(job.id, job.fence, error=verdict.error, error_code=verdict.code):
            measure_settled(job, JobStatus.FAILED)
    elif not isinstance(verdict, LeaveIt):
        store.postpone(job.id, job.fence, verdict.seconds)
    elif job.status.is_final:
        # It was cancelled, or its deadline passed, while this process worked on it.
        measure_settled(job, job.status)


def _on_workers_only(config: WorkersConfig) -> WorkersConfig:
    """Return settings with which this process runs no model: what kills it kills a worker then."""
    runtime = config.runtime.model_copy(update={"inline_seconds": 0.0})
    return config.model_copy(update={"runtime": runtime})
