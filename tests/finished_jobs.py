"""Jobs of the store, worked on in this process until they have ended."""

from __future__ import annotations

import threading

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.requests import EMBED, INGEST
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.durable_work import DurableWork


def finish(config: WorkersConfig, *job_ids: str) -> dict[str, Job]:
    """Work on all jobs that wait until these have ended, and return them."""
    workers = [DurableWork(config, kind) for kind in (INGEST, EMBED)]
    for each in workers:
        each.start(1)
    try:
        with Store.open(config.paths.store_url) as store:
            while True:
                jobs = {each: job for each in job_ids if (job := store.get(each)) is not None}
                if all(job.status.is_final for job in jobs.values()):
                    return jobs
                threading.Event().wait(0.05)
    finally:
        for each in workers:
            each.stop(0)
            each.close()
