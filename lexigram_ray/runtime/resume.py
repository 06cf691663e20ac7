"""Working on a recorded job: what its submitter asked, done by this process on its Ray."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import LeaseLostError, UsageError, WorkerError
from lexigram_ray.jobs.claiming import Stopped, holding, take_recorded
from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.report import IngestReport, Progress, Resumption
from lexigram_ray.jobs.requests import (
    EMBED,
    INGEST,
    config_of,
    embed_request_of,
    ingest_request_of,
    refuse_object_of,
    request_of,
)
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.embed import run_embed
from lexigram_ray.runtime.ingest import run_ingest

AnyProgressCallback = Callable[[Progress | EmbedProgress], None]


def run_job(
    config: WorkersConfig,
    job_id: str,
    *,
    stop: threading.Event,
    actor: str = "",
    on_progress: AnyProgressCallback | None = None,
) -> IngestReport | EmbedReport:
    """Claim a recorded job by its id, and work on it to its end.

    Where state lies, how long leases last and which secrets there are is this process's; what
    decides the vectors is what the job has recorded. An error is an attempt of the job, whatever
    it came from.

    Args:
        actor: Name of the Ray actor that this process is; stands in the job's attempt.
        on_progress: Is told a few times a second, from the run's own thread.

    Raises:
        UsageError: There is no such job, it was recorded without a request or with an object of
            the program that submitted it, or its source, its model or a key is not here.
        Stopped: `stop` was set; the job can be resumed.
        LeaseLostError: The job is final, or another process has it.
        WorkerError: The run failed; the job can be resumed.
    """
    tell = on_progress or _tell_nobody
    with Store.open(config.paths.store_url) as store:
        job = store.get(job_id)
    if job is None:
        raise UsageError(f"no job {job_id!r}", hint="`lexigram-ray jobs list` shows them")
    resumes = Resumption(job=job, actor=actor)
    try:
        return _run(config, resumes, tell, stop)
    except (Stopped, LeaseLostError):
        raise
    except Exception as error:
        with contextlib.suppress(WorkerError):
            _record_early(config, resumes, error)
        raise


def _run(
    config: WorkersConfig, resumes: Resumption, tell: AnyProgressCallback, stop: threading.Event
) -> IngestReport | EmbedReport:
    job = resumes.job
    settings = config_of(config, job)
    if (ingestion := ingest_request_of(job)) is not None:
        refuse_object_of(job, request_of(job))
        return run_ingest(settings, replace(ingestion, resumes=resumes), tell, stop)
    if (embedding := embed_request_of(job, settings)) is not None:
        return run_embed(settings, replace(embedding, resumes=resumes), tell, stop)
    raise _unknown_kind(job)


def _record_early(config: WorkersConfig, resumes: Resumption, error: Exception) -> None:
    """Make an attempt of an error that came before the job was claimed.

    Else a job that cannot even begin would be tried for ever, and nobody could see why; one whose
    owner is dead would stand as running.

    Raises:
        WorkerError: Another process has it now, or the store cannot be reached.
    """
    with Store.open(config.paths.store_url) as store:
        now = store.get(resumes.job.id)
        if now is None or now.status.is_final or now.fence != resumes.job.fence:
            return
        taken = take_recorded(store, resumes, config.jobs.lease_seconds)
        with contextlib.suppress(type(error)), holding(store, taken.claim):
            raise error


def _unknown_kind(job: Job) -> UsageError:
    return UsageError(
        f"job {job.id} is of the kind {job.kind!r}, which this version cannot work on",
        hint=f"its kinds are {INGEST} and {EMBED}; bring this installation up to date",
    )


def _tell_nobody(_: Progress | EmbedProgress) -> None:
    """Show nothing."""
