"""Getting a job and letting go of it: what every kind of job does before and after its work."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from lexigram_ray.core.errors import LeaseLostError, WorkerError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import CollectionSettings
from lexigram_ray.jobs.records import Busy, Claim, Job, Owner
from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections

logger = logging.getLogger("lexigram_ray")

CREATE_SECONDS = 30.0
LOOK_EVERY_SECONDS = 0.5


class Stopped(WorkerError):
    """The user stopped a run; the same command goes on from there.

    Args:
        job_id: Empty when nothing was submitted yet.
    """

    code = "interrupted"
    exit_code = 130

    def __init__(self, job_id: str) -> None:
        resumable = f"interrupted; job {job_id} can be resumed"
        super().__init__(resumable if job_id else "interrupted before anything was submitted")
        self.job_id = job_id


def submit_and_claim(
    store: Store, *, kind: str, collection: str, spec: dict[str, object], lease_seconds: float
) -> tuple[Job, bool, Claim | Busy]:
    """Make a job, or find the unfinished one of the same specification, and take it.

    Returns:
        The job, whether it was made now, and the claim or who holds it.
    """
    key = hash_text(json.dumps(spec, sort_keys=True))
    while True:
        job, created = store.submit(kind=kind, collection=collection, spec=spec, spec_key=key)
        try:
            return job, created, store.claim(job.id, Owner.current(), lease_seconds)
        except LeaseLostError:
            continue  # Another process has just finished it: ask for a new one.


def wait_for_other(
    store: Store,
    job_id: str,
    lease_seconds: float,
    show: Callable[[Job], None],
    stop: threading.Event,
) -> Claim | Job | None:
    """Wait until the other process has finished the job or lost it.

    Args:
        show: Is given the job as it is, now and then.

    Returns:
        The finished job; a claim, when it fell to us; None when `stop` was set.
    """
    while not stop.wait(LOOK_EVERY_SECONDS):
        job = store.get(job_id)
        if job is None or job.status.is_final:
            return job
        try:
            claim = store.claim(job_id, Owner.current(), lease_seconds)
        except LeaseLostError:
            continue  # It has become final since the look.
        if not isinstance(claim, Busy):
            return claim
        show(job)
    return None


@contextmanager
def holding(store: Store, claim: Claim) -> Generator[None]:
    """Give the claim back when the run does not come to its end, so that another may go on."""
    try:
        yield
    except LeaseLostError:
        raise
    except BaseException as error:
        why = "interrupted" if isinstance(error, Stopped) else f"{type(error).__name__}: {error}"
        try:
            store.release(claim, why)
        except WorkerError as second:
            # On a full disk nothing can be written; a dead owner's lease is taken at once anyway.
            logger.warning("the claim on job %s was not given back: %s", claim.job_id, second)
        raise


def open_or_create(
    collections: Collections, settings: CollectionSettings, name: str, store: Store, claim: Claim
) -> Collection:
    """Open a collection, or make it.

    Raises:
        CollectionMismatchError: It was made with other settings.
    """
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
