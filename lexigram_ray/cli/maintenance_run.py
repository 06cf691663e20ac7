"""`lexigram-ray maintenance run`: a task now, and how it has ended."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.exit_codes import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
)
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.output import say, write_line
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.jobs.schedule_records import Run


def run_task(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Of a schedule: `maintenance list`.", show_default=False
        ),
    ],
    *,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="KEY=VALUE",
            help="Of the task, for this run; may be given more than once.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", envvar=env("dry-run"), help="Only say what would be done.")
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="TIME",
            envvar=env("timeout"),
            help="End the run after so long, such as 10m; else as its schedule says.",
        ),
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option(
            "--no-wait",
            envvar=env("no-wait"),
            help="Record the run, print its id and end: `lexigram-ray up` works on it.",
        ),
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Run a task now, be its schedule enabled or not, and say what it has done and found.

    Examples:
      lexigram-ray maintenance run health_check
      lexigram-ray maintenance run cache_cleanup --dry-run
      lexigram-ray maintenance run health_check -o dead_letter_growth=10 --timeout 2m
      lexigram-ray maintenance run index_optimization --json | jq .result.figures

    Options are the fields of the task's section of `maintenance:` in the configuration.
    Exit code 3: it is done, and has found what a person should see to.
    """
    from lexigram_ray.cli.maintenance_begin import begin_run, refuse_without_workers
    from lexigram_ray.cli.maintenance_follow import see_through
    from lexigram_ray.core.written_times import parse_duration

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    options = given_options(option or ())
    if dry_run:
        options["dry_run"] = True
    limit = None if timeout is None else parse_duration("--timeout", timeout).total_seconds()
    if no_wait:
        refuse_without_workers(settings, invocation)
    from lexigram_ray.jobs.store import Store

    with Store.open(settings.paths.store_url) as store:
        run = begin_run(settings, store, name, options, limit)
        if no_wait:
            _answer_recorded(run, invocation)
            return EXIT_DONE
        run, interrupted = see_through(settings, store, run, invocation)
    _answer(run, invocation)
    return EXIT_INTERRUPTED if interrupted else exit_code(run)


def given_options(given: Sequence[str]) -> dict[str, object]:
    """Return `key=value` words as options: a value is JSON where it can be, else a text.

    Raises:
        UsageError: One has no `=`, or a key comes twice.
    """
    options: dict[str, object] = {}
    for each in given:
        key, sign, value = each.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"--option {each!r} is no option", hint="write --option key=value")
        if key in options:
            raise UsageError(f"--option {key} is given twice", hint="leave one of them out")
        try:
            options[key] = json_text.loads(value)
        except ValueError:
            options[key] = value
    return options


def exit_code(run: Run) -> int:
    """Return what the end of a run means to a script."""
    from lexigram_ray.core.types import MaintenanceStatus

    if run.status is not MaintenanceStatus.COMPLETED:
        return EXIT_FAILED
    return EXIT_SOME_FAILED if run.faults else EXIT_DONE


def _answer_recorded(run: Run, invocation: Invocation) -> None:
    if invocation.json:
        invocation.answer(run.to_dict())
        return
    write_line(sys.stdout, run.id)
    say(invocation.suggest("maintenance", "show", run.id), label="look at it with", style="cyan")


def _answer(run: Run, invocation: Invocation) -> None:
    from lexigram_ray.cli.maintenance_page import print_result, say_failure, say_faults

    if invocation.json:
        invocation.answer(run.to_dict())
    else:
        print_result(run)
        invocation.answered = True
        say_failure(run, invocation)
    say_faults(run, invocation)
