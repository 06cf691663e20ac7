"""What each of our processes on Ray does first: its log, its metrics, and whose work it does."""

from __future__ import annotations

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.job_logging import JobTag, all_is_of_job
from lexigram_ray.runtime.actor_log import log_to_worker_file
from lexigram_ray.runtime.ray_metrics import measure_with_ray


def begin_ray_process(config: WorkersConfig, job: JobTag | None = None) -> None:
    """Log to the file that Ray keeps, and measure with Ray's metrics.

    Args:
        job: The one that this process works for; None where it works for any.
    """
    log_to_worker_file(config.logging)
    measure_with_ray()
    if job is not None:
        all_is_of_job(job.job_id, job.collection, job.trace)
