"""A job that was recorded for later, as users see it: its id, how it stands, who works on it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from lexigram_ray.cli.displays import Display
from lexigram_ray.cli.exit_codes import EXIT_DONE
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.job_next import is_up
from lexigram_ray.cli.job_words import local_time
from lexigram_ray.cli.output import write_line
from lexigram_ray.cli.shown_run import Show, run_shown
from lexigram_ray.core.types import JobStatus

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.records import Job

Submit = Callable[[Show, threading.Event], "tuple[Job, bool]"]

STANDS = {JobStatus.PENDING: "waiting", JobStatus.RUNNING: "running"}


def submit_shown(
    submit: Submit,
    left_out: Callable[[Job], list[str]],
    *,
    invocation: Invocation,
    config: WorkersConfig,
    display: Display,
) -> int:
    """Record a job in view of the user, and print its id, or with `--json` the job.

    Args:
        left_out: Returns which of the command's options a job that was found has not.
    """
    job, created = run_shown(submit, invocation=invocation, display=display)
    if invocation.json:
        invocation.answer(job.to_dict())
    else:
        write_line(sys.stdout, job.id)
        invocation.answered = True
    _say_how_it_stands(job, display, created=created)
    if not created and (missed := left_out(job)):
        display.say(
            f"it was submitted without {', '.join(missed)}: submit this again when it has ended, "
            "or cancel it before",
            label="note",
        )
    _say_what_next(job, invocation, config, display)
    return EXIT_DONE


def _say_how_it_stands(job: Job, display: Display, *, created: bool) -> None:
    if not created:
        stands = STANDS.get(job.status, f"{job.status.value}, and has this key")
        display.say(f"job {job.id} is already {stands}", label="note")
        return
    begins = ""
    if job.run_after is not None:
        begins = f", not before {local_time(job.run_after)}"
    display.say(f"job {job.id}{begins}", label="submitted")


def _say_what_next(
    job: Job, invocation: Invocation, config: WorkersConfig, display: Display
) -> None:
    if job.status.is_final:
        display.say(invocation.suggest("jobs", "show", job.id), label="see", style="cyan")
        return
    if job.status is JobStatus.PENDING and not is_up(config):
        display.say("it waits until `lexigram-ray up` works on it", label="note")
        display.say(invocation.suggest("up"), label="try", style="cyan")
    display.say(invocation.suggest("jobs", "watch", job.id), label="watch with", style="cyan")
