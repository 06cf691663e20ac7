"""The main job, from paths to a searchable table: submit, claim, run, finish.

Nothing here knows Ray: the pool of workers comes in as an argument.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import LeaseLostError, WorkerError
from lexigram_ray.core.ids import hash_text, source_name
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Busy, Claim, Job, Owner
from lexigram_ray.jobs.report import IngestReport, IngestRequest, ProgressCallback
from lexigram_ray.jobs.run import Interrupted, PoolFactory, Run
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.toolbox import Checked, Recipe, check_request
from lexigram_ray.jobs.tracker import Tracker
from lexigram_ray.jobs.waiting import wait_for_other
from lexigram_ray.vectors.collection import Collection

logger = logging.getLogger("lexigram_ray")

KIND = "ingest"
CREATE_SECONDS = 30.0


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
        job, created, claim = _submit_and_claim(store, config, request, recipe)
        if isinstance(claim, Busy):
            got = wait_for_other(store, job.id, config.jobs.lease_seconds, tracker, stop)
            if got is None:
                raise Interrupted(job.id, None)
            if isinstance(got, IngestReport):
                if not (request.prune or request.retry_failed):
                    return got
                # The other run may have been asked for neither: now it is our turn.
                return ingest(config, request, make_pool, on_progress, stop)
            claim = got
        with _holding(store, claim):
            run = Run(
                config,
                request,
                recipe,
                store=store,
                claim=claim,
                collection=_open_or_create(checked, request.collection, store, claim),
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


def _submit_and_claim(
    store: Store, config: WorkersConfig, request: IngestRequest, recipe: Recipe
) -> tuple[Job, bool, Claim | Busy]:
    spec = _specification(request, recipe)
    key = hash_text(json.dumps(spec, sort_keys=True))
    while True:
        job, created = store.submit(
            kind=KIND, collection=request.collection, spec=spec, spec_key=key
        )
        try:
            return job, created, store.claim(job.id, Owner.current(), config.jobs.lease_seconds)
        except LeaseLostError:
            continue  # Another process has just finished it: ask for a new one.


def _specification(request: IngestRequest, recipe: Recipe) -> dict[str, object]:
    """What makes two commands the same job. `--prune` and `--retry-failed` belong to the run."""
    return {
        "paths": sorted(source_name(Path(os.path.realpath(path))) for path in request.paths),
        "collection": request.collection,
        "model": recipe.model_key,
        "chunker": recipe.chunker.name,
    }


def _open_or_create(checked: Checked, name: str, store: Store, claim: Claim) -> Collection:
    collections, settings = checked.collections, checked.recipe.settings
    if not collections.exists(name):
        # Two creates at once can lose one's rows: they take turns.
        with store.turn(name, claim.owner, CREATE_SECONDS):
            if not collections.exists(name):
                if store.forget_collection(name):
                    logger.warning("collection %s is gone from the disk: it is made anew", name)
                return collections.create(name, settings, store.store_id)
    collection = collections.open(name)
    collection.check_settings(settings)
    return collection


@contextmanager
def _holding(store: Store, claim: Claim) -> Generator[None]:
    """Give the claim back when the run does not come to its end, so that another may go on."""
    try:
        yield
    except LeaseLostError:
        raise
    except BaseException as error:
        why = (
            "interrupted" if isinstance(error, Interrupted) else f"{type(error).__name__}: {error}"
        )
        try:
            store.release(claim, why)
        except WorkerError as second:
            # On a full disk nothing can be written; a dead owner's lease is taken at once anyway.
            logger.warning("the claim on job %s was not given back: %s", claim.job_id, second)
        raise
