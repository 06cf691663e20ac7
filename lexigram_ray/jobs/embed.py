"""An embedding job, from a table of texts to a searchable collection: stage, claim, run, finish.

Nothing here knows Ray: the place where ranges are embedded comes in as an argument.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from functools import partial

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.claiming import holding, open_or_create, submit_and_claim, wait_for_other
from lexigram_ray.jobs.embed_report import EmbedReport, EmbedRequest, TextCounts
from lexigram_ray.jobs.embed_run import EmbedInterrupted, EmbedRun, PlaceFactory
from lexigram_ray.jobs.recipes import Recipe, read_text_recipe
from lexigram_ray.jobs.records import Busy, Job
from lexigram_ray.jobs.staged import StagedTable
from lexigram_ray.jobs.staging import StagingStopped, stage
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.text_tracker import EmbedProgressCallback, TextTracker
from lexigram_ray.vectors.collections import Collections, validate_name

__all__ = ["EmbedInterrupted", "embed"]

KIND = "embed"
CLEARING_SECONDS = 30.0
ABANDONED_AFTER_SECONDS = 24 * 3600.0


def embed(
    config: WorkersConfig,
    request: EmbedRequest,
    make_place: PlaceFactory,
    on_progress: EmbedProgressCallback,
    stop: threading.Event,
) -> EmbedReport:
    """Embed a table, or go on with the unfinished job over the same rows.

    Raises:
        UsageError: Name, table, model or collection do not fit; nothing was done.
        EmbedInterrupted: `stop` was set.
        WorkerError: The run failed; the same command goes on from where it stopped.
    """
    started = time.monotonic()
    tracker = TextTracker(on_progress)
    validate_name(request.collection)
    recipe = read_text_recipe(config, request.provider)
    collections = Collections(config.paths.lancedb)
    if collections.exists(request.collection):
        collections.open(request.collection).check_settings(recipe.settings)
    staged = _staged(config, request, tracker, stop)
    with Store.open(config.paths.store_url) as store:
        job, created, claim = submit_and_claim(
            store,
            kind=KIND,
            collection=request.collection,
            spec=_specification(request, recipe, staged),
            lease_seconds=config.jobs.lease_seconds,
        )
        if isinstance(claim, Busy):
            tracker.enter("waiting")
            got = wait_for_other(
                store, job.id, config.jobs.lease_seconds, partial(_show, tracker), stop
            )
            if got is None:
                raise EmbedInterrupted(job.id, None)
            if isinstance(got, Job):
                return _report_of(got)
            claim = got
        with holding(store, claim):
            # Between the claim and the look, nobody may clear up: the turn is that of `_discard`.
            with store.turn(f"staged:{staged.digest}", claim.owner, CLEARING_SECONDS):
                staged = _staged_again(config, request, staged, tracker, stop)
            collection = open_or_create(
                collections, recipe.settings, request.collection, store, claim
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
            report = replace(run.to_the_end(make_place), adopted=not created)
            store.finish(
                claim,
                report.status,
                error=report.error,
                error_code="integrity" if report.status is JobStatus.FAILED else None,
                summary=report.to_summary(),
            )
        with store.turn(f"staged:{staged.digest}", claim.owner, CLEARING_SECONDS):
            _discard(store, staged)
    return report


def _staged(
    config: WorkersConfig, request: EmbedRequest, tracker: TextTracker, stop: threading.Event
) -> StagedTable:
    try:
        return stage(
            request.table,
            config.paths.staged,
            on_progress=tracker.read,
            keep_on=lambda: not stop.is_set(),
        )
    except StagingStopped:
        raise EmbedInterrupted("", None) from None


def _staged_again(
    config: WorkersConfig,
    request: EmbedRequest,
    staged: StagedTable,
    tracker: TextTracker,
    stop: threading.Event,
) -> StagedTable:
    """Return the staged rows; another job over the same ones may have cleared them away."""
    if staged.path.exists():
        return staged
    again = _staged(config, request, tracker, stop)
    if again.digest != staged.digest:
        raise UsageError(
            f"{request.table.source} changed while it was read",
            hint="run the same command again",
        )
    return again


def _discard(store: Store, staged: StagedTable) -> None:
    """Remove staged rows that no unfinished job has: this job's, and those left by killed ones."""
    wanted = {
        job.spec.get("rows")
        for status in (JobStatus.PENDING, JobStatus.RUNNING)
        for job in store.list_jobs(status=status, kind=KIND, limit=1000)[0]
    }
    for path in staged.path.parent.glob(f"*{staged.path.suffix}"):
        is_ours = path == staged.path
        with contextlib.suppress(FileNotFoundError):
            is_old = time.time() - path.stat().st_mtime > ABANDONED_AFTER_SECONDS
            if path.stem not in wanted and (is_ours or is_old):
                path.unlink()


def _specification(request: EmbedRequest, recipe: Recipe, staged: StagedTable) -> dict[str, object]:
    """What makes two commands the same job."""
    return {
        "source": request.table.source,
        "rows": staged.digest,
        "collection": request.collection,
        "model": recipe.model_key,
        "dimension": recipe.model.spec.dimension,
    }


def _show(tracker: TextTracker, job: Job) -> None:
    count = {key: value for key, value in job.progress.items() if isinstance(value, int)}
    tracker.now = replace(
        tracker.now,
        job_id=job.id,
        texts_done=count.get("done", 0),
        texts_total=count.get("total", 0),
        failed=count.get("failed", 0),
    )
    tracker.pulse()


def _report_of(job: Job) -> EmbedReport:
    if not job.summary:  # cancelled, say
        return EmbedReport(
            job_id=job.id,
            collection=job.collection,
            status=JobStatus(job.status),
            texts=TextCounts(),
            rows=0,
            duration_seconds=0.0,
            adopted=True,
            error=job.error,
        )
    report = EmbedReport.from_summary(job.summary, adopted=True)
    return replace(report, status=JobStatus(job.status), error=job.error)
