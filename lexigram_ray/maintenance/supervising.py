"""Having runs done by processes of their own, and recording how that ended where they could not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import LeaseLostError, MaintenanceError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import INTERRUPTED, LOST, Claim, Job
from lexigram_ray.jobs.schedule_records import Run
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.task_process import how_ended
from lexigram_ray.maintenance.task_watch import Watch, Why

DEATHS = 3
"""A task whose process died so often in a row fails."""
TIMED_OUT = "timed_out"
RUNNER_DIED = "runner_died"
NOT_STARTED = "not_started"

MOST_READY = 1000
PAUSE_SECONDS = 0.5
"""Between two looks while another process works on the job."""

logger = logging.getLogger("lexigram_ray")


class Attempted(Enum):
    """How an attempt at a job went."""

    ENDED = "the job has ended"
    BUSY = "another process works on it"
    STOPPED = "it was stopped from outside, and the job waits"
    DIED = "its process died, and the job waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Has jobs of runs worked on by processes of their own.

    Attributes:
        tell: Is given the lines of progress.
        should_stop: Whether to end what is under way; its job waits then.
        actor: Name of the Ray actor that this belongs to; empty where there is none.
        function: The task itself, pickled, where a job's task is no import path.
    """

    config: WorkersConfig
    store: Store
    tell: Callable[[str], None]
    should_stop: Callable[[], bool]
    actor: str = ""
    function: bytes | None = None

    def see_through(self, job_id: str) -> Run:
        """Work on a run's job until it has ended, or a stop is asked for.

        Earlier runs of the schedule that have not ended come first.

        Raises:
            MaintenanceError: There is no such run.
        """
        while True:
            run = self.store.schedules.run_of_job(job_id)
            job = self.store.get(job_id)
            if run is None or job is None:
                raise MaintenanceError(f"there is no run with the job {job_id}")
            if job.status.is_final or self.should_stop():
                return run
            before = self.store.schedules.unfinished(run.schedule)
            first = before[0] if before else job
            if self._is_held(first) or self.attempt(first) is Attempted.BUSY:
                time.sleep(PAUSE_SECONDS)

    def attempt(self, job: Job) -> Attempted:
        """Have a process work on a job, until that has ended in one way or another."""
        if self._is_given_up(job):
            return Attempted.ENDED
        watch = Watch(self, job)
        why, code = watch.until_it_ends()
        return self._settle(job, watch, why, code)

    def _settle(self, job: Job, watch: Watch, why: Why, code: int) -> Attempted:
        """Record how an attempt has ended, unless its process has done so."""
        try:
            return self._settled(job, watch, why, code)
        except LeaseLostError:
            return Attempted.ENDED if self._has_ended(job) else Attempted.BUSY

    def _settled(self, job: Job, watch: Watch, why: Why, code: int) -> Attempted:
        if self._has_ended(job):
            return Attempted.ENDED
        if watch.claim is None:
            if why is Why.STOP:
                return Attempted.STOPPED
            return Attempted.BUSY if watch.is_busy else self._fail_unstarted(job, code)
        if why is Why.LATE:
            self._fail(watch.claim, _too_long(watch.timeout_seconds), TIMED_OUT)
            return Attempted.ENDED
        if why is Why.STOP:
            self.store.release(watch.claim, INTERRUPTED)
            return Attempted.STOPPED
        self.store.release(watch.claim, LOST, error=f"its process {how_ended(code)}")
        logger.warning("job %s: its process %s", job.id, how_ended(code))
        return Attempted.ENDED if self._is_given_up(job) else Attempted.DIED

    def _is_given_up(self, job: Job) -> bool:
        """Fail a job that kills whatever process runs it; return whether it was one."""
        attempts = self.store.attempts_of(job.id)
        lost = [*takewhile(lambda each: each.outcome in (LOST, None), reversed(attempts))]
        if len(lost) < DEATHS:
            return False
        try:
            claim = self.store.claim(job.id, Owner.current(), self.config.jobs.lease_seconds)
        except LeaseLostError:
            return True
        if not isinstance(claim, Claim):
            return False
        last = next((each.error for each in lost if each.error), None)
        said = f"the process that ran it died {len(lost)} times in a row"
        self._fail(claim, f"{said}; at last: {last}" if last else said, RUNNER_DIED)
        return True

    def _fail_unstarted(self, job: Job, code: int) -> Attempted:
        claim = self.store.claim(job.id, Owner.current(), self.config.jobs.lease_seconds)
        if not isinstance(claim, Claim):
            return Attempted.BUSY
        error = f"the process that was to run it {how_ended(code)} before it had begun; see the log"
        self._fail(claim, error, NOT_STARTED)
        return Attempted.ENDED

    def _fail(self, claim: Claim, error: str, code: str) -> None:
        # The job says so too: who has asked for the run is told once.
        logger.info("job %s has failed: %s", claim.job_id, error)
        self.store.finish(
            claim,
            JobStatus.FAILED,
            error=error,
            error_code=code,
            summary={},
            category=FailureCategory.UNKNOWN,
        )

    def _is_held(self, job: Job) -> bool:
        """Whether another process works on a job: to find out by a process of ours takes longer."""
        if job.status is not JobStatus.RUNNING:
            return False
        return job.id not in {each.id for each in self.store.schedules.ready(MOST_READY)}

    def _has_ended(self, job: Job) -> bool:
        now = self.store.get(job.id)
        return now is None or now.status.is_final


def supervise(
    config: WorkersConfig,
    job_id: str,
    *,
    tell: Callable[[str], None],
    should_stop: Callable[[], bool],
    function: bytes | None = None,
) -> Run:
    """Have a run's job worked on by a process of its own, and return the run as it is then.

    Args:
        config: Of this process.
        job_id: Of the run.
        tell: Is given the lines of progress.
        should_stop: Whether to end what is under way; the job waits then.
        function: The task itself, pickled, where the job's task is no import path.

    Raises:
        MaintenanceError: There is no such run, or no process can be started.
        StoreUnreachableError: The store cannot be reached.
    """
    with Store.open(config.paths.store_url) as store:
        supervisor = Supervisor(
            config=config, store=store, tell=tell, should_stop=should_stop, function=function
        )
        return supervisor.see_through(job_id)


def _too_long(seconds: float) -> str:
    return (
        f"it took longer than {seconds:g} s and was ended "
        "(timeout_seconds of its schedule sets the limit)"
    )
