"""The main job, from paths to a searchable table: submit, claim, run, finish.

Nothing here knows Ray: the pool of workers comes in as an argument.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from dataclasses import replace
from functools import partial

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.claiming import (
    Taken,
    Waiting,
    holding,
    open_or_create,
    take,
    take_recorded,
)
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.job_context import working_on
from lexigram_ray.jobs.measuring import ClaimedJob
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.report import IngestReport, IngestRequest, ProgressCallback
from lexigram_ray.jobs.requests import require_same, retries_failed
from lexigram_ray.jobs.run import Interrupted, PoolFactory, Run
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.submitting import left_undone, record_ingest
from lexigram_ray.jobs.toolbox import check_request
from lexigram_ray.jobs.tracker import Tracker

logger = logging.getLogger("lexigram_ray")


def ingest(
    config: WorkersConfig,
    request: IngestRequest,
    make_pool: PoolFactory,
    on_progress: ProgressCallback,
    stop: threading.Event,
) -> IngestReport:
    """Ingest, or go on with the unfinished job of the same specification.

    A request that resumes a recorded job works on that one.

    Raises:
        UsageError: Name, path, model or collection do not fit, or are not those that the recorded
            job was submitted with; nothing was done.
        Interrupted: `stop` was set.
        LeaseLostError: Another process has the job, or it was ended from outside.
        WorkerError: The run failed; the same command goes on from where it stopped.
    """
    started = time.monotonic()
    tracker = Tracker(on_progress)
    checked = check_request(config, request)
    recipe = checked.recipe
    with Store.open(config.paths.store_url) as store:
        taken = _take(store, config, request, recipe=recipe, tracker=tracker, stop=stop)
        if isinstance(taken, Job):
            if not (request.prune or request.retry_failed):
                return IngestReport.of_job(taken)
            # The other run may have been asked for neither: now it is our turn.
            return ingest(config, request, make_pool, on_progress, stop)
        if request.resumes is not None and _retries_failed(store.get(taken.job.id)):
            # Dead letters may have been given to it since it was read.
            request = replace(request, retry_failed=True)
        for option in left_undone(taken.job, request):
            logger.warning(
                "job %s was submitted with %s, and is now done without", taken.job.id, option
            )
        claim, clocked = taken.claim, ClaimedJob(taken.job)
        with working_on(taken.job), holding(store, claim):
            collection = open_or_create(
                checked.collections,
                checked.settings,
                request.collection,
                store,
                claim,
                any_chunker=request.document is not None,
            )
            run = Run(
                config,
                request,
                recipe,
                store=store,
                claim=claim,
                collection=collection,
                tracker=tracker,
                stop=stop,
                started=started,
            )
            report = replace(run.to_the_end(checked.scan, make_pool), adopted=taken.adopted)
            store.finish(
                claim,
                report.status,
                error=report.error,
                error_code=report.error_code if report.status is JobStatus.FAILED else None,
                summary=report.to_dict(),
            )
    clocked.ended(report.status)
    shutil.rmtree(config.paths.scratch / taken.job.id, ignore_errors=True)
    return report


def _take(
    store: Store,
    config: WorkersConfig,
    request: IngestRequest,
    *,
    recipe: Recipe,
    tracker: Tracker,
    stop: threading.Event,
) -> Taken | Job:
    """Take the job; return it as it ended where another process has done it meanwhile."""
    if request.resumes is not None:
        found = {"model": recipe.model_key, "chunker": recipe.chunker.name}
        require_same(request.resumes.job, found)
        return take_recorded(store, request.resumes, config.jobs.lease_seconds)
    return take(
        store,
        submit=partial(record_ingest, store, config, request, recipe),
        lease_seconds=config.jobs.lease_seconds,
        waiting=Waiting(
            enter=tracker.enter,
            show=partial(_show, tracker),
            stop=stop,
            interrupted=Interrupted,
        ),
    )


def _show(tracker: Tracker, job: Job) -> None:
    counts = Counts.of(job)
    tracker.now = replace(
        tracker.now,
        job_id=job.id,
        documents_done=counts.done,
        documents_total=counts.total,
        failed=counts.failed,
    )
    tracker.pulse()


def _retries_failed(job: Job | None) -> bool:
    return job is not None and retries_failed(job.spec)
