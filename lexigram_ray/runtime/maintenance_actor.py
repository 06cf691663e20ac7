"""The actor that makes the runs of schedules, and has them done by processes of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.measuring import measure_run
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.definitions import define_schedules
from lexigram_ray.maintenance.scheduler import Scheduler
from lexigram_ray.maintenance.supervising import Attempted, Supervisor
from lexigram_ray.runtime.kept_actor import KeptActor

POLL_SECONDS = 1.0
"""Between two looks at what is due."""

WORK_POLL_SECONDS = 0.5
"""Between two looks at what there is to do: a run that is asked for begins soon."""

EXPIRE_SECONDS = 3600.0
"""Between two times that old runs are forgotten."""

LOOK_AHEAD = 16

logger = logging.getLogger("lexigram_ray")


class MaintenanceActor(KeptActor):
    """Looks into the store once a second. It holds nothing that the store does not."""

    def __init__(self, config: WorkersConfig, name: str, settings_key: str) -> None:
        super().__init__(config, name, settings_key)
        self._taking = threading.Lock()
        self._taken: set[str] = set()
        self._keep_doing(self._schedule)
        for _ in range(config.maintenance.concurrency):
            self._keep_doing(self._work)

    def _schedule(self, store: Store) -> None:
        define_schedules(self._config, store)
        scheduler = Scheduler(store, lambda: datetime.now(UTC))
        expired = -EXPIRE_SECONDS
        while not self._ending.is_set():
            scheduler.look()
            if time.monotonic() - expired >= EXPIRE_SECONDS:
                store.schedules.expire(self._config.maintenance.history)
                expired = time.monotonic()
            self._ending.wait(POLL_SECONDS)

    def _work(self, store: Store) -> None:
        supervisor = Supervisor(
            config=self._config,
            store=store,
            tell=lambda line: logger.info("%s", line),
            should_stop=self._ending.is_set,
            actor=self._name,
        )
        while not self._ending.is_set():
            attempted = None
            with self._next(store) as job:
                if job is not None:
                    logger.info("job %s begins: %s", job.id, job.spec["task"])
                    attempted = supervisor.attempt(job)
                    logger.info("job %s: %s", job.id, attempted.value)
                    if attempted is Attempted.ENDED:
                        measure_run(store.schedules.run_of_job(job.id))
            if attempted is not Attempted.ENDED:
                self._ending.wait(WORK_POLL_SECONDS)

    @contextmanager
    def _next(self, store: Store) -> Generator[Job | None]:
        """Give the next job, of a schedule of which no other thread has one."""
        with self._taking:
            ready = store.schedules.ready(self._config.maintenance.concurrency + LOOK_AHEAD)
            free = [job for job in ready if str(job.spec["schedule"]) not in self._taken]
            job = free[0] if free else None
            taken = {str(job.spec["schedule"])} if job is not None else set[str]()
            self._taken |= taken
        try:
            yield job
        finally:
            with self._taking:
                self._taken -= taken
