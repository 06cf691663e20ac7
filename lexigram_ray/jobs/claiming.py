"""Getting a job and letting go of it: what every kind of job does before and after its work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from lexigram_ray.core.errors import LeaseLostError, UnreachableError, WorkerError
from lexigram_ray.core.types import CollectionSettings, JobStatus
from lexigram_ray.jobs.classifier import ErrorClassifier
from lexigram_ray.jobs.job_context import claiming
from lexigram_ray.jobs.records import ERROR, INTERRUPTED, Busy, Claim, Job, Owner
from lexigram_ray.jobs.redaction import error_text, traceback_text
from lexigram_ray.jobs.report import Resumption
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

    code = INTERRUPTED
    exit_code = 130

    def __init__(self, job_id: str) -> None:
        resumable = f"interrupted; job {job_id} can be resumed"
        super().__init__(resumable if job_id else "interrupted before anything was submitted")
        self.job_id = job_id


class EndedElsewhereError(LeaseLostError):
    """Somebody ended the job while this process worked on it: cancelled it, say.

    Args:
        job: As it is now; final.
    """

    def __init__(self, job: Job) -> None:
        if job.status is JobStatus.CANCELLED:
            message = f"job {job.id} was cancelled; what was done until then is kept"
        else:
            message = f"job {job.id} has {job.status.value}: {job.error or 'it was ended'}"
        super().__init__(message, hint="the same command makes a new job, which goes on from there")
        self.code = job.error_code or job.status.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A job that is ours to work on.

    Attributes:
        adopted: Whether it was there before.
    """

    job: Job
    claim: Claim
    adopted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a run does while another process has its job.

    Attributes:
        enter: Is given the phase `waiting`.
        show: Is given the job as it is, now and then.
        stop: Ends the waiting when set.
        interrupted: Makes the error of that end, of the job's id and the report, of which there is
            none.
    """

    enter: Callable[[str], None]
    show: Callable[[Job], None]
    stop: threading.Event
    interrupted: Callable[[str, None], Stopped]


def take(
    store: Store,
    *,
    submit: Callable[[], tuple[Job, bool]],
    lease_seconds: float,
    waiting: Waiting,
) -> Taken | Job:
    """Submit a job, or find the unfinished one of the same specification, and take it.

    Args:
        submit: Makes or finds it; returns the job, and whether it was made now.

    Returns:
        The job that is ours, or the one that another process has ended while we waited for it, or
        that has its unique key and ended before.

    Raises:
        Stopped: The waiting was ended.
    """
    while True:
        job, created = submit()
        if job.status.is_final:
            return job
        try:
            with claiming(job):
                claim = store.claim(job.id, Owner.current(), lease_seconds)
        except LeaseLostError:
            continue  # Another process has just ended it: ask for a new one.
        if isinstance(claim, Busy):
            claim = _wait_for_other(store, job, lease_seconds, waiting)
        if isinstance(claim, Job):
            return claim
        return Taken(job=job, claim=claim, adopted=not created)


def take_recorded(store: Store, resumption: Resumption, lease_seconds: float) -> Taken:
    """Take the recorded job that this process is to work on.

    Raises:
        LeaseLostError: It is final, or another process is at it.
    """
    job = resumption.job
    with claiming(job):
        claim = store.claim(job.id, Owner.current(), lease_seconds, actor=resumption.actor)
    if isinstance(claim, Busy):
        owner = claim.owner
        raise LeaseLostError(
            f"job {job.id} is being worked on by process {owner.pid} on {owner.host}",
            hint=f"`lexigram-ray jobs watch {job.id}` shows how far it is",
        )
    return Taken(job=job, claim=claim, adopted=claim.fence > 1)


@contextmanager
def holding(store: Store, claim: Claim) -> Generator[None]:
    """Give the claim back when the run does not come to its end, so that another may go on.

    Raises:
        EndedElsewhereError: Somebody cancelled the job meanwhile, or it failed at its deadline.
    """
    try:
        yield
    except LeaseLostError as error:
        ended = _ended(store, claim)
        if ended is None:
            raise
        raise EndedElsewhereError(ended) from error
    except BaseException as error:
        try:
            _give_back(store, claim, error)
        except WorkerError as second:
            # On a full disk nothing can be written; a dead owner's lease is taken at once anyway.
            logger.warning("the claim on job %s was not given back: %s", claim.job_id, second)
        raise


def open_or_create(
    collections: Collections,
    settings: CollectionSettings,
    name: str,
    store: Store,
    claim: Claim,
    *,
    any_chunker: bool = False,
) -> Collection:
    """Open a collection, or make it.

    Args:
        any_chunker: Whether it may have been made with another chunker.

    Raises:
        CollectionMismatchError: It was made with other settings.
    """
    if not collections.exists(name):
        # Two creates at once can lose one's rows: they take turns.
        with store.turn(name, claim.owner, CREATE_SECONDS):
            if not collections.exists(name):
                if store.forget_collection(name, keep_letters=True):
                    logger.warning("collection %s is gone from the disk: it is made anew", name)
                return collections.create(name, settings, store.store_id)
    collection = collections.open(name)
    collection.check_settings(settings, any_chunker=any_chunker)
    return collection


def _wait_for_other(store: Store, job: Job, lease_seconds: float, waiting: Waiting) -> Claim | Job:
    """Wait until the other process has ended the job, or a claim when the job fell to us."""
    waiting.enter("waiting")
    while not waiting.stop.wait(LOOK_EVERY_SECONDS):
        now = store.get(job.id)
        if now is None:
            raise LeaseLostError(
                f"job {job.id} is no longer in the store",
                hint="run the same command again: it makes a new job",
            )
        if now.status.is_final:
            return now
        try:
            claim = store.claim(job.id, Owner.current(), lease_seconds)
        except LeaseLostError:
            continue  # It has become final since the look.
        if not isinstance(claim, Busy):
            return claim
        waiting.show(now)
    raise waiting.interrupted(job.id, None)


def _ended(store: Store, claim: Claim) -> Job | None:
    """Return the job where it was ended by another hand than this run's or a later owner's."""
    try:
        job = store.get(claim.job_id)
    except UnreachableError:
        return None
    ended = (JobStatus.CANCELLED, JobStatus.FAILED)
    return job if job is not None and job.status in ended else None


def _give_back(store: Store, claim: Claim, error: BaseException) -> None:
    if isinstance(error, (Stopped, KeyboardInterrupt)):
        store.release(claim, INTERRUPTED)
        return
    store.release(
        claim,
        ERROR,
        error=error_text(error),
        category=ErrorClassifier.classify_exception(error),
        traceback=traceback_text(error),
    )
