"""A long run from its first moment to its answer, as users see it, whatever the run does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from lexigram_ray.cli.displays import Display
from lexigram_ray.cli.interrupts import Interrupts
from lexigram_ray.cli.invocation import Invocation
from lexigram_ray.cli.messages import log_to
from lexigram_ray.cli.moment import Moment
from lexigram_ray.cli.output import restore_terminal
from lexigram_ray.cli.stray import stdout_is_for_results
from lexigram_ray.core.types import JobStatus


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


def run_shown(
    work: Callable[[Show, threading.Event], R], *, invocation: Invocation, display: Display
) -> R:
    """Do the work in view of the user: its progress, its log, what others print, and Ctrl-C.

    Args:
        work: Is given what shows a moment, and the event that asks it to stop. Where it was
            stopped, it returns the report of what was done by then.

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
        _say_how_to_go_on(invocation, display, latest)

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


def answer(
    report: R,
    *,
    invocation: Invocation,
    display: Display,
    print_summary: Callable[[R], None],
    write_summary_lines: Callable[[R], None],
) -> None:
    """Print how it ended, why, and what to do next.

    Args:
        print_summary: Prints the report for people, on stdout.
        write_summary_lines: Writes it as the last lines of `--json-progress`.
    """
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
    elif report.status is JobStatus.COMPLETED and report.rows and not invocation.json:
        line = invocation.suggest("search", "your question", "--collection", report.collection)
        display.say(line, label="search with", style="cyan")
    if invocation.json_lines:
        write_summary_lines(report)


def _say_how_to_go_on(invocation: Invocation, display: Display, latest: Moment | None) -> None:
    kept = (latest.kept if latest else "") or "nothing was begun"
    job = f", job {latest.job_id}" if latest and latest.job_id else ""
    display.say(f"{kept}{job}; once more ends it at once", label="stopping")
    display.say(invocation.command_line(), label="go on with", style="cyan")
