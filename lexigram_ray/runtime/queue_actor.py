"""The actor that starts a runner for each job whose turn it is."""

from __future__ import annotations

import logging
import time

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.requests import EMBED, INGEST, needs_object
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.actor_names import job_id_of, kill_actor, names_in_use, runner_name
from lexigram_ray.runtime.gauges import Gauges
from lexigram_ray.runtime.job_runner import start_runner
from lexigram_ray.runtime.kept_actor import KeptActor
from lexigram_ray.runtime.settling import may_start

KINDS = (INGEST, EMBED)
POLL_SECONDS = 0.5
MEASURE_SECONDS = 10.0
LOOK_AHEAD = 16
"""Jobs looked at beyond those that may run: the first ones may have to wait after a death."""

LOOK_FAR_AHEAD = 2_000
"""Where all of the first ones need an object of the program that submitted them."""

AGAIN_SECONDS = 3.0
"""Between two runners of one job: what cannot even begin is not tried twice a second."""

CLAIM_SECONDS = 90.0
"""A runner that has not claimed its job by then never will."""

logger = logging.getLogger("lexigram_ray")


class JobQueueActor(KeptActor):
    """Looks into the store twice a second. It holds nothing that the store does not."""

    def __init__(self, config: WorkersConfig, name: str, settings_key: str) -> None:
        super().__init__(config, name, settings_key)
        self._keep_doing(self._start_runners)
        # In a thread of its own: a slow disk under a collection does not delay the queue.
        self._keep_doing(self._measure)

    def _start_runners(self, store: Store) -> None:
        queue = RunnerStarter(self._config, store)
        while not self._ending.wait(POLL_SECONDS):
            queue.look()

    def _measure(self, store: Store) -> None:
        gauges = Gauges(self._config, store)
        while not self._ending.wait(MEASURE_SECONDS):
            gauges.look()


class RunnerStarter:
    """Starts runners for what the store says is due, as many as may work at once."""

    def __init__(self, config: WorkersConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._me = Owner.current()
        self._started = dict[str, float]()
        self._idle = dict[str, dict[str, float]]()

    def look(self) -> None:
        """Look once, and start what is to be started."""
        lease = self._config.jobs.lease_seconds
        for job_id in self._store.fail_overdue(self._me, turn_seconds=lease):
            logger.warning("job %s has failed: its deadline has passed", job_id)
        for kind in KINDS:
            self._look_at(kind, self._config.jobs.concurrency.get(kind, 1))

    def _look_at(self, kind: str, most: int) -> None:
        # Over a look that ends early they are not seen, and so are given their time anew.
        before = self._idle.pop(kind, {})
        free = most - self._store.running(kind)
        if free <= 0:
            return
        ready = self._ready(kind, most)
        if not ready:
            return
        names = names_in_use()
        free -= len(self._starting(kind, names, {job.id for job in ready}, before))
        for job in ready:
            if free <= 0:
                return
            if runner_name(job) not in names and self._start(job):
                free -= 1

    def _ready(self, kind: str, most: int) -> list[Job]:
        """Return what may be started; what only the program that submitted it can do is not."""
        for limit in (most + LOOK_AHEAD, LOOK_FAR_AHEAD):
            ready = self._store.ready([kind], limit=limit)
            ours = [job for job in ready if not needs_object(job.spec)]
            if ours or len(ready) < limit:
                return ours
        return []

    def _starting(
        self, kind: str, names: set[str], ready: set[str], before: dict[str, float]
    ) -> list[str]:
        """Return the runners that have no claim yet, and end those that will not get one.

        Args:
            before: Those of the look before, and since when they have had none.
        """
        now = time.monotonic()
        idle = {name: before.get(name, now) for name in names if self._is_idle(name, kind, ready)}
        for name, since in idle.items():
            if now - since > CLAIM_SECONDS:
                logger.warning("%s has no claim after %.0f s: it is ended", name, CLAIM_SECONDS)
                kill_actor(name)
        self._idle[kind] = idle
        return list(idle)

    def _is_idle(self, name: str, kind: str, ready: set[str]) -> bool:
        job_id = job_id_of(name)
        job = self._store.get(job_id) if job_id else None
        if job is None or job.kind != kind:
            return False
        return job.status is JobStatus.PENDING or job.id in ready

    def _start(self, job: Job) -> bool:
        """Start a runner, unless it is too early; return whether one was started."""
        now = time.monotonic()
        if now - self._started.get(job.id, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        if not may_start(self._config, self._store, job):
            return False
        self._started = {
            job_id: at for job_id, at in self._started.items() if now - at < AGAIN_SECONDS
        } | {job.id: now}
        logger.info("starting %s", runner_name(job))
        start_runner(self._config, job)
        return True
