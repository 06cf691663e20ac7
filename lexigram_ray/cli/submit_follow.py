"""A job of a cluster, followed: its log, its end, its exit code, and Ctrl-C that lets go of it."""

from __future__ import annotations

import shlex
import sys
import threading
from typing import TYPE_CHECKING

from lexigram_ray.cli.displays import Display, JsonLines, Silent
from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED
from lexigram_ray.cli.interrupts import Interrupts
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.output import printable, restore_terminal, write_line
from lexigram_ray.cli.submit_log import JobLog, is_record
from lexigram_ray.runtime.job_following import follow
from lexigram_ray.runtime.job_submission import ClusterJobs, SubmittedJob

if TYPE_CHECKING:
    from collections.abc import Callable

NO_INTERPRETER = frozenset({126, 127})
"""What a shell answers where there is no such program, or none that it may run."""


def follow_and_answer(
    invocation: Invocation,
    jobs: ClusterJobs,
    job_id: str,
    *,
    wants_result: bool,
    display: Display | None = None,
    submit: Callable[[], None] | None = None,
) -> int:
    """Show what a job prints until it has ended, and return its exit code.

    Args:
        wants_result: Whether the one object of its `--json` is to be printed on stdout.
        display: Says what is not of the job; nothing is said without it.
        submit: Submits it, if it has not been yet, which is said then; Ctrl-C has it followed no
            further.

    Raises:
        WorkerError: It is not submitted, or the cluster does not answer any more.
    """
    display = display or Silent()
    log = JobLog(_sayer(display), wants_result=wants_result)
    stop, is_submitted = threading.Event(), threading.Event()

    def let_go() -> None:
        if submit is None or is_submitted.is_set():
            display.say(f"{job_id} goes on on the cluster", label="detached")
        else:
            display.say(f"{job_id} is just being submitted", label="stopping")
        say_how_to_go_on(invocation, jobs, job_id, display)

    with Interrupts(stop=stop, on_first=let_go, on_exit=restore_terminal):
        if submit is not None:
            submit()
            is_submitted.set()
            say_submitted(jobs, job_id, display)
        job = follow(jobs, job_id, log.take, stop)
    log.end()
    if job is None:
        if invocation.json:
            invocation.answer({"submission_id": job_id, "status": "RUNNING", "address": jobs.url})
        invocation.answered = True
        return EXIT_INTERRUPTED
    _say_how_it_ended(jobs, job, display)
    if wants_result:
        invocation.answer(log.result or _no_result(job))
    invocation.answered = True
    return _exit_code(job)


def stop_and_tell(invocation: Invocation, jobs: ClusterJobs, job_id: str) -> int:
    """Stop a job, say how it stands, and return the exit code.

    Raises:
        WorkerError: The cluster does not know it, or does not answer.
    """
    before = jobs.get(job_id)
    job = jobs.stop(job_id)
    if invocation.json:
        invocation.answer(
            {"submission_id": job_id, "status": job.status, "exit_code": job.exit_code}
        )
    elif before.is_final:
        write_line(sys.stdout, f"{job_id} had ended already ({job.status.lower()})")
    elif job.was_stopped:
        write_line(sys.stdout, f"{job_id} stopped; the same command goes on from there")
    else:
        write_line(sys.stdout, f"{job_id} was asked to stop ({job.status.lower()})")
    return EXIT_DONE


def say_submitted(jobs: ClusterJobs, job_id: str, display: Display) -> None:
    """Say that the cluster has taken a job."""
    display.say(f"{job_id} to {jobs.url}", label="submitted")


def say_how_to_go_on(
    invocation: Invocation, jobs: ClusterJobs, job_id: str, display: Display
) -> None:
    """Say how a job that nobody follows is followed, and how it is stopped."""
    where = ("--address", jobs.url)
    attach = invocation.suggest("submit", "--attach", job_id, *where)
    stop = invocation.suggest("submit", "--stop", job_id, *where)
    by_ray = shlex.join(["ray", "job", "logs", "-f", job_id, *where])
    display.say(attach, label="follow with", style="cyan")
    display.say(by_ray, label="or", style="cyan")
    display.say(stop, label="stop with", style="cyan")


def _sayer(display: Display) -> Callable[[str], None]:
    """Return what shows a line of the job's log on stderr, where every line may have to be JSON."""
    only_json = isinstance(display, JsonLines)

    def say(line: str) -> None:
        if only_json and not is_record(line):
            display.say(line, label="log")
        else:
            write_line(sys.stderr, line if only_json else printable(line))

    return say


def _say_how_it_ended(jobs: ClusterJobs, job: SubmittedJob, display: Display) -> None:
    if job.exit_code == EXIT_DONE:
        return
    if job.was_stopped:
        display.say(f"{job.id} was stopped; the same command goes on from there", label="note")
        return
    if job.exit_code is None:
        display.say(
            f"{job.id} failed on the cluster: {printable(job.message)}", label="error", style="red"
        )
        line = shlex.join(["ray", "job", "status", job.id, "--address", jobs.url])
        display.say(line, label="try", style="cyan")
        return
    display.say(f"{job.id} ended with exit code {job.exit_code} on the cluster", label="note")
    if job.exit_code in NO_INTERPRETER:
        display.say(
            "--python with the path of the interpreter there that has lexigram_ray",
            label="try",
            style="cyan",
        )


def _exit_code(job: SubmittedJob) -> int:
    if job.exit_code is not None:
        return job.exit_code
    return EXIT_INTERRUPTED if job.was_stopped else EXIT_FAILED


def _no_result(job: SubmittedJob) -> dict[str, object]:
    if job.exit_code == EXIT_DONE:
        return {"submission_id": job.id, "status": job.status, "exit_code": EXIT_DONE}
    return {
        "error": {
            "code": "no_result",
            "message": f"the job {job.id} printed no result ({job.status.lower()})",
            "hint": "what it printed is on stderr",
        }
    }
