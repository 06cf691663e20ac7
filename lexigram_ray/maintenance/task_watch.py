"""Watching over the process of a run: it is kept alive in the store, and ended when it must be.

The process that works claims the job, so that its death ends the claim at once. It is this side
that renews the lease: a task that holds the interpreter for long would not.
"""

from __future__ import annotations

import logging
import time
from enum import Enum
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import LeaseLostError, UnreachableError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.maintenance.task_order import BUSY, CLAIMED, TELL, Order
from lexigram_ray.maintenance.task_process import Reply, TaskProcess

if TYPE_CHECKING:
    from lexigram_ray.maintenance.supervising import Supervisor

POLL_SECONDS = 0.2
LOOK_SECONDS = 0.5
"""How soon it is seen that somebody has cancelled the job."""
START_SECONDS = 60.0
"""A process that has not claimed its job by then never will."""

logger = logging.getLogger("lexigram_ray")


class Why(Enum):
    """Why a process is no longer watched over."""

    IT_ENDED = "it has ended"
    JOB_ENDED = "the job has ended, or is another's"
    STOP = "a stop was asked for"
    LATE = "its time is over"
    NO_START = "it has not begun"


class Watch:
    """One process, watched over until it is ended.

    Attributes:
        claim: The process's own; None until it has one.
        is_busy: Whether it found another one at work.
        timeout_seconds: From the claim on.
    """

    def __init__(self, supervisor: Supervisor, job: Job) -> None:
        self.claim: Claim | None = None
        self.is_busy = False
        self.timeout_seconds = float(str(job.spec["timeout_seconds"]))
        self._supervisor = supervisor
        self._job = job
        self._store = supervisor.store
        self._beat_every = supervisor.config.jobs.heartbeat_seconds
        self._since = self._beaten = self._looked = time.monotonic()

    def until_it_ends(self) -> tuple[Why, int]:
        """Start the process and watch over it; return why that is over, and its exit code."""
        supervisor = self._supervisor
        order = Order(
            config=supervisor.config,
            job_id=self._job.id,
            actor=supervisor.actor,
            parent=0,
            function=supervisor.function,
        )
        process = TaskProcess(order, str(self._job.spec["schedule"]))
        why = Why.STOP
        try:
            why = self._watch(process)
        finally:
            code = process.end(ask_first=why is not Why.IT_ENDED)
        for reply in process.last_replies():
            self._heed(reply)
        return why, code

    def _watch(self, process: TaskProcess) -> Why:
        while True:
            # Before its replies: what it said last is not to be missed.
            has_ended = process.has_ended()
            for reply in process.replies(0.0 if has_ended else POLL_SECONDS):
                self._heed(reply)
            if has_ended:
                return Why.IT_ENDED
            why = self._reason_to_end(time.monotonic())
            if why is not None:
                return why

    def _heed(self, reply: Reply) -> None:
        if CLAIMED in reply:
            fence, owner = reply[CLAIMED]
            self.claim = Claim(job_id=self._job.id, fence=fence, owner=Owner.from_json(owner))
            self._since = self._beaten = time.monotonic()
        elif TELL in reply:
            self._supervisor.tell(str(reply[TELL]))
        elif BUSY in reply:
            self.is_busy = True

    def _reason_to_end(self, now: float) -> Why | None:
        if self._supervisor.should_stop():
            return Why.STOP
        if self.claim is None:
            return Why.NO_START if now - self._since > START_SECONDS else None
        if now - self._since > self.timeout_seconds:
            return Why.LATE
        try:
            return self._look(self.claim, now)
        except UnreachableError as error:
            logger.warning("job %s is not looked at for now: %s", self._job.id, error)
            return None

    def _look(self, claim: Claim, now: float) -> Why | None:
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            job = self._store.get(self._job.id)
            if job is None or job.status is not JobStatus.RUNNING or job.fence != claim.fence:
                return Why.JOB_ENDED
        if now - self._beaten >= self._beat_every:
            self._beaten = now
            try:
                self._store.beat(claim, self._supervisor.config.jobs.lease_seconds)
            except LeaseLostError:
                return Why.JOB_ENDED
        return None
