"""A long run from its first moment to its answer, as users see it, whatever the run does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from lexigram_ray.cli.displays import Display
from lexigram_ray.cli.exit_codes import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
)
from lexigram_ray.cli.interrupts import Interrupts
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.job_next import is_up
from lexigram_ray.cli.messages import log_to
from lexigram_ray.cli.moment import Moment
from lexigram_ray.cli.output import restore_terminal
from lexigram_ray.cli.stray import stdout_is_for_results
from lexigram_ray.core.types import JobStatus

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig


class Report(Protocol):
    """What an answer needs to know of a run's end."""

    @property
    def collection(self) -> str:
        """The collection's name."""
        ...

    @property
    def status(self) -> JobStatus:
        """How it ended; one that is not final was interrupted."""
        ...

    @property
    def rows(self) -> int:
        """Rows of the collection."""
        ...

    @property
    def failed(self) -> int:
        """Records that failed."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        ...

    @property
    def error(self) -> str | None:
        """Why the job failed."""
        ...

    def to_dict(self) -> dict[str, object]:
        """Return the object of `--json`."""
        ...


Show = Callable[[Moment], None]
R = TypeVar("R", bound=Report)
T = TypeVar("T")


def run_shown(
    work: Callable[[Show, threading.Event], T],
    *,
    invocation: Invocation,
    display: Display,
    goes_on: Callable[[], bool] = lambda: False,
) -> T:
    """Do the work in view of the user: its progress, its log, what others print, and Ctrl-C.

    Args:
        work: Is given what shows a moment, and the event that asks it to stop. Where it was
            stopped, it returns the report of what was done by then.
        goes_on: Whether others go on with the job where this process leaves it.

    Raises:
        Exception: Whatever the work raises.
    """
    stop = threading.Event()
    latest: Moment | None = None

    def show(moment: Moment) -> None:
        nonlocal latest
        latest = moment
        interrupts.rearm()
        display.update(moment)

    def say_how_to_go_on() -> None:
        _say_how_to_go_on(invocation, display, latest, goes_on)

    def say_log(text: str, label: str, style: str) -> None:
        display.say(text, label=label, style=style)

    def say_stray(line: str) -> None:
        display.say(line, label="output", style="dim")

    with (
        stdout_is_for_results(say_stray),
        display,
        log_to(say_log, debug=invocation.debug),
    ):
        interrupts = Interrupts(stop=stop, on_first=say_how_to_go_on, on_exit=restore_terminal)
        with interrupts:
            return work(show, stop)


def run_and_answer(
    work: Callable[[Show, threading.Event], R],
    *,
    invocation: Invocation,
    config: WorkersConfig,
    display: Display,
    print_summary: Callable[[R], None],
    write_summary_lines: Callable[[R], None],
) -> R:
    """Do the work in view of the user, and print how it ended, why, and what to do next.

    Args:
        work: See `run_shown`.
        print_summary: Prints the report for people, on stdout.
        write_summary_lines: Writes it as the last lines of `--json-progress`.

    Raises:
        Exception: Whatever the work raises.
    """
    report = run_shown(work, invocation=invocation, display=display, goes_on=lambda: is_up(config))
    for note in report.notes:
        display.say(note, label="note")
    if invocation.json:
        invocation.answer(report.to_dict())
    else:
        print_summary(report)
        invocation.answered = True
    if report.error:
        display.say(report.error, label="error", style="red")
        display.say(f"{invocation.command_line()} goes on from there", label="try", style="cyan")
    if report.failed and not invocation.json:
        line = invocation.suggest("dlq", "list", "--collection", report.collection)
        display.say(line, label="see failures with", style="cyan")
    if report.status is JobStatus.COMPLETED and report.rows and not invocation.json:
        line = invocation.suggest("search", "your question", "--collection", report.collection)
        display.say(line, label="search with", style="cyan")
    if invocation.json_lines:
        write_summary_lines(report)
    return report


def exit_code_of(status: JobStatus, *, failed: int, of: int) -> int:
    """Return what a run's end means to a script; one that is not over was interrupted.

    Args:
        failed: Records that failed.
        of: All records.
    """
    if not status.is_final:
        return EXIT_INTERRUPTED
    if status is not JobStatus.COMPLETED:
        return EXIT_FAILED
    if not failed:
        return EXIT_DONE
    return EXIT_FAILED if failed == of else EXIT_SOME_FAILED


def _say_how_to_go_on(
    invocation: Invocation, display: Display, latest: Moment | None, goes_on: Callable[[], bool]
) -> None:
    kept = (latest.kept if latest else "") or "nothing was begun"
    job = f", job {latest.job_id}" if latest and latest.job_id else ""
    display.say(f"{kept}{job}; once more ends it at once", label="stopping")
    if latest and latest.job_id and goes_on():
        display.say("`lexigram-ray up` goes on with the job", label="note")
        line = invocation.suggest("jobs", "cancel", latest.job_id)
        display.say(line, label="end it with", style="cyan")
    display.say(invocation.command_line(), label="go on with", style="cyan")
