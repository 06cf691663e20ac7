"""A run that a call waits for: it shows its progress, and the first Ctrl-C stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lexigram_ray.core.errors import IntegrityError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.notebook.bar import display_for
from lexigram_ray.notebook.interrupt import stopping_on_interrupt

if TYPE_CHECKING:
    from lexigram_ray.cli.moment import Moment
    from lexigram_ray.jobs.claiming import Stopped
    from lexigram_ray.jobs.embed_report import EmbedReport
    from lexigram_ray.jobs.report import IngestReport

GO_ON = "the same call goes on from there"

EndT = TypeVar("EndT")
NowT = TypeVar("NowT")
ReportT = TypeVar("ReportT", bound="IngestReport | EmbedReport")
StoppedT = TypeVar("StoppedT", bound="Stopped")

Run = Callable[[Callable[[NowT], None], threading.Event], EndT]
"""Does the work: tells how far it is, and stops soon after the event is set."""


def run_shown(
    run: Run[NowT, EndT],
    moment_of: Callable[[NowT], Moment],
    *,
    progress: bool | None,
    stopping: str,
    stopped: type[StoppedT],
    how_far: Callable[[StoppedT], str],
) -> EndT:
    """Return what a run returns.

    Args:
        run: The run.
        moment_of: What displays make of its progress.
        progress: Whether to show it; see `display_for`.
        stopping: What is said at the first Ctrl-C.
        stopped: What the run raises when it has stopped.
        how_far: What the interrupt then says.

    Raises:
        KeyboardInterrupt: It was interrupted.
    """
    stop = threading.Event()
    display = display_for(progress)

    def say_stopping() -> None:
        display.say(stopping, label="stopping")

    def on_progress(now: NowT) -> None:
        interrupts.rearm()
        display.update(moment_of(now))

    with display, stopping_on_interrupt(stop, say_stopping) as interrupts:
        try:
            return run(on_progress, stop)
        except stopped as error:
            raise KeyboardInterrupt(how_far(error)) from error


def run_of_call(
    run: Run[NowT, ReportT],
    moment_of: Callable[[NowT], Moment],
    *,
    progress: bool | None,
    stopped: type[StoppedT],
    how_far: Callable[[StoppedT], str],
) -> ReportT:
    """Return the report of a run that the same call goes on with; see `run_shown`.

    Raises:
        KeyboardInterrupt: It was interrupted.
        IntegrityError: The job has failed.
    """
    report = run_shown(
        run,
        moment_of,
        progress=progress,
        stopping=f"what is done is kept, and {GO_ON}",
        stopped=stopped,
        how_far=how_far,
    )
    if report.status is JobStatus.FAILED:
        raise IntegrityError(report.error or f"job {report.job_id} failed", hint=GO_ON)
    return report


def kept(job_id: str, done: int, total: int, things: str) -> str:
    """Return what an interrupt says of a run that has begun."""
    return f"interrupted: {done:,} of {total:,} {things} are done and kept (job {job_id}); {GO_ON}"
