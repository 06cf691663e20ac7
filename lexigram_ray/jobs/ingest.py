"""The main job, from paths to a searchable table: submit, claim, run, finish.

Nothing here knows Ray: the pool of workers comes in as an argument.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.ids import source_name
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.claiming import holding, open_or_create, submit_and_claim, wait_for_other
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.records import Busy, Job
from lexigram_ray.jobs.report import IngestReport, IngestRequest, ProgressCallback
from lexigram_ray.jobs.run import Interrupted, PoolFactory, Run
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.toolbox import check_request
from lexigram_ray.jobs.tracker import Tracker

KIND = "ingest"


def ingest(
    config: WorkersConfig,
    request: IngestRequest,
    make_pool: PoolFactory,
    on_progress: ProgressCallback,
    stop: threading.Event,
) -> IngestReport:
    """Ingest, or go on with the unfinished job of the same specification.

    Raises:
        UsageError: Name, path, model or collection do not fit; nothing was done.
        Interrupted: `stop` was set.
        WorkerError: The run failed; the same command goes on from where it stopped.
    """
    started = time.monotonic()
    tracker = Tracker(on_progress)
    checked = check_request(config, request)
    recipe = checked.recipe
    with Store.open(config.paths.store_url) as store:
        job, created, claim = submit_and_claim(
            store,
            kind=KIND,
            collection=request.collection,
            spec=_specification(request, recipe),
            lease_seconds=config.jobs.lease_seconds,
        )
        if isinstance(claim, Busy):
            tracker.enter("waiting")
            got = wait_for_other(
                store, job.id, config.jobs.lease_seconds, partial(_show, tracker), stop
            )
            if got is None:
                raise Interrupted(job.id, None)
            if isinstance(got, Job):
                if not (request.prune or request.retry_failed):
                    return _report_of(got)
                # The other run may have been asked for neither: now it is our turn.
                return ingest(config, request, make_pool, on_progress, stop)
            claim = got
        with holding(store, claim):
            collection = open_or_create(
                checked.collections, recipe.settings, request.collection, store, claim
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
            report = replace(run.to_the_end(checked.scan, make_pool), adopted=not created)
            store.finish(
                claim,
                report.status,
                error=report.error,
                error_code="integrity" if report.status is JobStatus.FAILED else None,
                summary=report.to_dict(),
            )
    shutil.rmtree(config.paths.scratch / job.id, ignore_errors=True)
    return report


def _specification(request: IngestRequest, recipe: Recipe) -> dict[str, object]:
    """What makes two commands the same job. `--prune` and `--retry-failed` belong to the run."""
    return {
        "paths": sorted(source_name(Path(os.path.realpath(path))) for path in request.paths),
        "collection": request.collection,
        "model": recipe.model_key,
        "chunker": recipe.chunker.name,
    }


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
