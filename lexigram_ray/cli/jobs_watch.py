"""`lexigram-ray jobs watch`: from the first look to the answer."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli import embed_summary, ingest_summary
from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_SOME_FAILED
from lexigram_ray.cli.interrupts import Interrupts
from lexigram_ray.cli.job_next import say_next
from lexigram_ray.cli.job_page import print_page
from lexigram_ray.cli.job_words import object_of, waits_for_a_worker
from lexigram_ray.cli.jobs_moment import JobsMoment
from lexigram_ray.cli.jobs_table import print_jobs
from lexigram_ray.cli.output import restore_terminal, write_json_line
from lexigram_ray.cli.shown_run import exit_code_of
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.counts import Counts
from lexigram_ray.jobs.embed_report import EmbedReport
from lexigram_ray.jobs.report import IngestReport
from lexigram_ray.jobs.watching import Watched, watch

if TYPE_CHECKING:
    from lexigram_ray.cli.displays import Display
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.store import Store

WORST_FIRST = (EXIT_INTERRUPTED, EXIT_FAILED, EXIT_SOME_FAILED, EXIT_DONE)
UNCLAIMED_SECONDS = 3.0
"""A job that nobody has claimed after so long waits for `up`."""

SILENT_SECONDS = 15.0
"""Owners save their progress more often than this: a silent one may be gone."""


def watch_shown(
    store: Store,
    jobs: Sequence[Job],
    *,
    invocation: Invocation,
    display: Display,
    has_workers: bool,
) -> list[Job]:
    """Show jobs until all of them have ended, or until Ctrl-C; return them as seen last.

    Args:
        has_workers: Whether something is up that works on recorded jobs.
    """
    stop = threading.Event()
    hints = Hints(store, invocation, display, has_workers=has_workers)

    def show(watched: Sequence[Watched]) -> None:
        display.update(JobsMoment(tuple(watched), datetime.now(UTC)))
        hints.look(watched)

    def say_detached() -> None:
        display.say("what is not over goes on without this command", label="detached")
        display.say(invocation.command_line(), label="watch again", style="cyan")

    with display, Interrupts(stop=stop, on_first=say_detached, on_exit=restore_terminal):
        return watch(store, jobs, show, stop)


def exit_code(jobs: Sequence[Job]) -> int:
    """Return what the end of a watch means to a script: that of the job that ended worst."""
    counts = [(job.status, Counts.of(job)) for job in jobs]
    codes = {exit_code_of(status, failed=each.failed, of=each.total) for status, each in counts}
    return next(code for code in WORST_FIRST if code in codes)


def answer(jobs: Sequence[Job], *, invocation: Invocation, has_workers: bool) -> None:
    """Print how the jobs ended, or how they are, and what to do next."""
    if invocation.json:
        invocation.answer(object_of(jobs))
    else:
        _print_ends(jobs)
        invocation.answered = True
    if invocation.json_lines:
        for job in jobs:
            write_json_line({"message_type": "summary", **job.to_dict()}, sys.stderr)
    elif not invocation.json:
        for job in jobs:
            say_next(job, invocation, datetime.now(UTC), has_workers=has_workers, is_watched=True)


def _print_ends(jobs: Sequence[Job]) -> None:
    if len(jobs) > 1:
        print_jobs(jobs, datetime.now(UTC))
    elif jobs[0].summary and jobs[0].kind == "ingest":
        ingest_summary.print_summary(IngestReport.of_job(jobs[0]))
    elif jobs[0].summary and jobs[0].kind == "embed":
        embed_summary.print_summary(EmbedReport.of_job(jobs[0]))
    else:
        print_page(jobs[0], (), datetime.now(UTC))


class Hints:
    """Says why nothing goes on, each once: nobody has a job, or who had it is gone."""

    def __init__(
        self, store: Store, invocation: Invocation, display: Display, *, has_workers: bool
    ) -> None:
        self._store = store
        self._invocation = invocation
        self._display = display
        self._has_workers = has_workers
        self._said: set[str] = set()

    def look(self, watched: Sequence[Watched]) -> None:
        """Take in how the jobs are."""
        now = datetime.now(UTC)
        for each in watched:
            job, seconds = each.job, each.seconds_unchanged
            if waits_for_a_worker(job, now) and seconds >= UNCLAIMED_SECONDS:
                if not self._has_workers:
                    self._say("nothing works on recorded jobs yet")
            elif job.status is JobStatus.RUNNING and seconds >= SILENT_SECONDS:
                gone = f"the process that worked on job {job.id} is gone"
                if gone not in self._said and self._is_orphaned(job):
                    self._say(gone)

    def _is_orphaned(self, job: Job) -> bool:
        return self._store.attempts_of(job.id)[-1].owner.is_gone()

    def _say(self, why: str) -> None:
        if why in self._said:
            return
        self._said.add(why)
        self._display.say(why, label="note")
        if not self._has_workers:
            self._display.say(self._invocation.suggest("up"), label="try", style="cyan")
