"""The actor that works on one job; see `settling` for what becomes of the job."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

import ray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.records import Job
from lexigram_ray.runtime.actor_names import job_tag_of, runner_name
from lexigram_ray.runtime.cluster import NAMESPACE
from lexigram_ray.runtime.ray_process import begin_ray_process
from lexigram_ray.runtime.settling import work_on

LAST_SECONDS = 10.0

logger = logging.getLogger("lexigram_ray")


class JobRunner:
    """Works on one recorded job from the moment it exists, and ends itself when that is over.

    It is detached, so that it outlives the queue that started it. The workers that it starts are
    its own: they end with it.
    """

    def __init__(self, config: WorkersConfig, job_id: str, name: str) -> None:
        begin_ray_process(config, job_tag_of(name))
        self._config = config
        self._job_id = job_id
        self._name = name
        self._stop = threading.Event()
        self._me = ray.get_runtime_context().current_actor
        # A thread, so that the actor answers while it works.
        threading.Thread(target=self._run, name="job", daemon=True).start()

    def __repr__(self) -> str:
        return self._name

    def stop(self) -> None:
        """Have the job given back: pending, with what was done until then committed."""
        logger.info("%s is asked to stop", self._name)
        self._stop.set()

    def describe(self) -> dict[str, object]:
        """Return where it runs."""
        return {"pid": os.getpid(), "node": socket.gethostname()}

    def _run(self) -> None:
        try:
            work_on(self._config, self._job_id, self._stop, actor=self._name)
        except Exception:
            logger.exception("%s: what became of its job was not recorded", self._name)
        self._me.__ray_terminate__.remote()
        time.sleep(LAST_SECONDS)
        logger.warning("%s does not end in good order, and so ends at once", self._name)
        os._exit(1)


def start_runner(config: WorkersConfig, job: Job) -> None:
    """Start the runner of a job; one that exists already is left as it is."""
    name = runner_name(job)
    runner = ray.remote(JobRunner).options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        # The work is done by the workers that it starts: they get the CPUs.
        num_cpus=0,
        max_restarts=0,
    )
    runner.remote(config, job.id, name)
