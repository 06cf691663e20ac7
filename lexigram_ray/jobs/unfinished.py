"""The jobs that have not ended: what they name must not be cleared away."""

from __future__ import annotations

from collections.abc import Generator

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store

JOBS_AT_ONCE = 1_000


def unfinished_jobs(store: Store, *, kind: str, collection: str | None = None) -> Generator[Job]:
    """Yield each unfinished job of a kind at least once, also one that begins or waits meanwhile.

    Args:
        collection: Whose jobs; None for all of them.
    """
    # Running ones twice: a job that went back to waiting, or began, between two looks is seen.
    for status in (JobStatus.RUNNING, JobStatus.PENDING, JobStatus.RUNNING):
        cursor: str | None = None
        while True:
            jobs, cursor = store.list_jobs(
                status=status, kind=kind, collection=collection, limit=JOBS_AT_ONCE, cursor=cursor
            )
            yield from jobs
            if cursor is None:
                break
