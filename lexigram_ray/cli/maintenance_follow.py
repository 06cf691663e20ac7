"""A run that is recorded, up to its end: done here, or watched where `up` does it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from lexigram_ray.cli.maintenance_begin import has_workers
from lexigram_ray.cli.output import printable, restore_terminal, say

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.schedule_records import Run
    from lexigram_ray.jobs.store import Store

LOOK_SECONDS = 0.5
SAY_SECONDS = 2.0
UNCLAIMED_SECONDS = 15.0
"""What `up` has not begun after so long, this command does itself."""


def see_through(
    config: WorkersConfig, store: Store, run: Run, invocation: Invocation
) -> tuple[Run, bool]:
    """Return the run as it has ended, or as Ctrl-C has left it, and whether that came first."""
    from lexigram_ray.cli.interrupts import Interrupts

    # One that was asked for has a job; only those that are skipped have none.
    job_id = run.job_id or ""
    stop = threading.Event()
    elsewhere = has_workers(config)

    def say_stopping() -> None:
        if elsewhere:
            say("the run goes on without this command", label="detached")
            say(invocation.suggest("maintenance", "show", run.id), label="try", style="cyan")
        else:
            say("the run is being cancelled", label="interrupted", style="yellow")
            say(invocation.command_line(), label="run it again with", style="cyan")

    with Interrupts(stop=stop, on_first=say_stopping, on_exit=restore_terminal):
        if elsewhere:
            elsewhere = _watched(store, job_id, stop)
        if not elsewhere:
            _supervised(config, job_id, stop)
        now = _now(store, run)
        if stop.is_set() and not elsewhere and not _has_ended(now):
            _cancel(config, store, job_id)
            now = _now(store, run)
    return now, stop.is_set() and not _has_completed(now)


def _supervised(config: WorkersConfig, job_id: str, stop: threading.Event) -> None:
    """Do a run's job here, and say how far it is."""
    from lexigram_ray.maintenance.supervising import supervise

    progress = _Progress()

    def should_stop() -> bool:
        progress.say_now_and_then()
        return stop.is_set()

    supervise(config, job_id, tell=progress.tell, should_stop=should_stop)


def _watched(store: Store, job_id: str, stop: threading.Event) -> bool:
    """Wait until `up` has done a job, or a stop; False where it has not even begun in time."""
    from lexigram_ray.core.types import JobStatus

    deadline = time.monotonic() + UNCLAIMED_SECONDS
    while True:
        job = store.get(job_id)
        if job is None or job.status.is_final or stop.is_set():
            return True
        if job.status is JobStatus.PENDING and time.monotonic() > deadline:
            say("`up` does not begin with it: it is done here", label="note")
            return False
        stop.wait(LOOK_SECONDS)


def _cancel(config: WorkersConfig, store: Store, job_id: str) -> None:
    from lexigram_ray.jobs.owner import Owner

    store.cancel(job_id, Owner.current(), turn_seconds=config.jobs.lease_seconds)


def _now(store: Store, run: Run) -> Run:
    return (store.schedules.run_of_job(run.job_id) if run.job_id else None) or run


def _has_ended(run: Run) -> bool:
    from lexigram_ray.core.types import MaintenanceStatus

    return run.status not in (MaintenanceStatus.PENDING, MaintenanceStatus.RUNNING)


def _has_completed(run: Run) -> bool:
    from lexigram_ray.core.types import MaintenanceStatus

    return run.status is MaintenanceStatus.COMPLETED


class _Progress:
    """Says what a run does, a line every few seconds: a short run says nothing."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()
        self._line: str | None = None

    def tell(self, line: str) -> None:
        """Take in what the run does now."""
        self._line = line

    def say_now_and_then(self) -> None:
        """Say it, if nothing was said for a while."""
        if self._line is not None and time.monotonic() - self._said_at >= SAY_SECONDS:
            say(printable(self._line), label="now", style="dim")
            self._said_at, self._line = time.monotonic(), None
