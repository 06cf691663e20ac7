"""An embedding job, from a table of texts to a searchable collection: stage, claim, run, finish.

Nothing here knows Ray: the place where ranges are embedded comes in as an argument.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from functools import partial

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import WorkerError
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
from lexigram_ray.jobs.embed_report import EmbedReport, EmbedRequest
from lexigram_ray.jobs.embed_run import EmbedInterrupted, EmbedRun, PlaceFactory
from lexigram_ray.jobs.job_context import working_on
from lexigram_ray.jobs.measuring import ClaimedJob
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.report import INTEGRITY
from lexigram_ray.jobs.requests import require_same
from lexigram_ray.jobs.staged import StagedTable
from lexigram_ray.jobs.staged_files import discard, rows_of_job, staged_rows, still_staged, turn_of
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.submitting import SubmitOptions, check_embed, record_embed
from lexigram_ray.jobs.text_tracker import EmbedProgressCallback, TextTracker
from lexigram_ray.vectors.collections import Collections

__all__ = ["EmbedInterrupted", "embed"]

logger = logging.getLogger("lexigram_ray")


def embed(
    config: WorkersConfig,
    request: EmbedRequest,
    make_place: PlaceFactory,
    on_progress: EmbedProgressCallback,
    stop: threading.Event,
) -> EmbedReport:
    """Embed a table, or go on with the unfinished job over the same rows.

    A request that resumes a recorded job works on that one, whose rows are staged already.

    Raises:
        UsageError: Name, table, model or collection do not fit, or are not those that the recorded
            job was submitted with; nothing was done.
        EmbedInterrupted: `stop` was set.
        LeaseLostError: Another process has the job, or it was ended from outside.
        WorkerError: The run failed; the same command goes on from where it stopped.
    """
    started = time.monotonic()
    tracker = TextTracker(on_progress)
    recipe = check_embed(config, request)
    staged = _rows(config, request, recipe, tracker, stop)
    with Store.open(config.paths.store_url) as store:
        taken = _take(
            store, config, request, recipe=recipe, staged=staged, tracker=tracker, stop=stop
        )
        if isinstance(taken, Job):
            return EmbedReport.of_job(taken)
        claim, clocked = taken.claim, ClaimedJob(taken.job)
        with working_on(taken.job), holding(store, claim):
            # Between the submission and the claim, another process may have ended the job.
            with turn_of(store, staged.digest, claim.owner):
                staged = still_staged(
                    store, config, request.table, staged, on_read=tracker.read, stop=stop
                )
            collection = open_or_create(
                Collections(config.paths.lancedb),
                recipe.settings,
                request.collection,
                store,
                claim,
            )
            run = EmbedRun(
                config,
                recipe,
                staged,
                store=store,
                claim=claim,
                collection=collection,
                tracker=tracker,
                stop=stop,
                started=started,
            )
            report = replace(run.to_the_end(make_place), adopted=taken.adopted)
            store.finish(
                claim,
                report.status,
                error=report.error,
                error_code=INTEGRITY if report.status is JobStatus.FAILED else None,
                summary=report.to_summary(),
            )
        clocked.ended(report.status)
        try:
            discard(store, staged, claim.owner)
        except (WorkerError, OSError) as error:
            # The job is done all the same; they are cleared away as a killed job's are.
            logger.warning("the rows of job %s are not cleared away: %s", taken.job.id, error)
    return report


def _rows(
    config: WorkersConfig,
    request: EmbedRequest,
    recipe: Recipe,
    tracker: TextTracker,
    stop: threading.Event,
) -> StagedTable:
    if request.resumes is None:
        return staged_rows(config, request.table, tracker.read, stop)
    found = {"model": recipe.model_key, "dimension": recipe.model.spec.dimension}
    require_same(request.resumes.job, found)
    return rows_of_job(config, request.resumes.job, request.table, tracker.read, stop)


def _take(
    store: Store,
    config: WorkersConfig,
    request: EmbedRequest,
    *,
    recipe: Recipe,
    staged: StagedTable,
    tracker: TextTracker,
    stop: threading.Event,
) -> Taken | Job:
    """Take the job; return it as it ended where another process has done it meanwhile."""
    if request.resumes is not None:
        return take_recorded(store, request.resumes, config.jobs.lease_seconds)
    return take(
        store,
        submit=partial(
            record_embed,
            store,
            config,
            request,
            recipe,
            staged,
            on_read=tracker.read,
            stop=stop,
            options=SubmitOptions(priority=request.priority, unique_key=request.unique_key),
        ),
        lease_seconds=config.jobs.lease_seconds,
        waiting=Waiting(
            enter=tracker.enter,
            show=partial(_show, tracker),
            stop=stop,
            interrupted=EmbedInterrupted,
        ),
    )


def _show(tracker: TextTracker, job: Job) -> None:
    counts = Counts.of(job)
    tracker.now = replace(
        tracker.now,
        job_id=job.id,
        texts_done=counts.done,
        texts_total=counts.total,
        failed=counts.failed,
    )
    tracker.pulse()
