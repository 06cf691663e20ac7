"""A job as it is answered, with the tag by which a client knows it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from lexigram_ray.jobs.job_object import page_object
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.answers import json_bytes
from lexigram_ray.service.models.common import LONGEST_ID
from lexigram_ray.service.problems import NotFound

JOBS_LISTED = "GET /v1/jobs lists them"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownJob:
    """A job at one moment.

    Attributes:
        body: The object of `jobs show --json`.
        tag: Its ETag, equal for equal content. Weak while the body has an estimate of the time that
            is left: the estimate follows the clock, and is not part of the tag.
    """

    body: bytes
    tag: str
    is_final: bool

    def is_known(self, if_none_match: str) -> bool:
        """Whether the header `If-None-Match` names this content."""
        named = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
        return "*" in named or self.tag.removeprefix("W/") in named


def shown_job(store: Store, job_id: str) -> ShownJob:
    """Read a job.

    Raises:
        NotFound: There is none of this id.
    """
    job = job_of(store, job_id)
    shown = page_object(job, store.attempts_of(job_id), datetime.now(UTC))
    content = json_bytes(shown | {"seconds_remaining": None})
    is_estimated = shown["seconds_remaining"] is not None
    digest = hashlib.sha256(content).hexdigest()[:32]
    return ShownJob(
        body=json_bytes(shown) if is_estimated else content,
        tag=f'W/"{digest}"' if is_estimated else f'"{digest}"',
        is_final=job.status.is_final,
    )


def job_of(store: Store, job_id: str) -> Job:
    """Return a job.

    Raises:
        NotFound: There is none of this id.
    """
    job = store.get(job_id)
    if job is None:
        raise NotFound("job", job_id[:LONGEST_ID], hint=JOBS_LISTED)
    return job
