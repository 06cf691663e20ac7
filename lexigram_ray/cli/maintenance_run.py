"""`lexigram-ray maintenance run`: a task now, and how it has ended."""

from __future__ import annotations

import json as json_text
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
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
from lexigram_ray.cli.output import printable, restore_terminal, say, write_line
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.schedule_records import Run, Schedule
    from lexigram_ray.jobs.store import Store

LOOK_SECONDS = 0.5
SAY_SECONDS = 2.0
READY_LOOKED_AT = 1000
UNCLAIMED_SECONDS = 15.0
"""What `up` has not begun after so long, this command does itself."""

ABANDONED_AFTER = timedelta(seconds=60)
"""A run that nobody has begun in this time was left by a command that is gone."""


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
    from lexigram_ray.cli.times import parse_duration

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    options = given_options(option or ())
    if dry_run:
        options["dry_run"] = True
    limit = None if timeout is None else parse_duration("--timeout", timeout).total_seconds()
    if no_wait:
        _refuse_without_workers(settings, invocation)
    from lexigram_ray.jobs.store import Store

    with Store.open(settings.paths.store_url) as store:
        run = _begin(settings, store, name, options, limit)
        if no_wait:
            _answer_recorded(run, invocation)
            return EXIT_DONE
        run, interrupted = _seen_through(settings, store, run, invocation)
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


def _begin(
    config: WorkersConfig,
    store: Store,
    name: str,
    options: dict[str, object],
    timeout_seconds: float | None,
) -> Run:
    """Record the run; what is wrong with it is found before.

    Raises:
        UsageError: There is no such schedule or option, or an earlier run has not ended.
    """
    from lexigram_ray.cli.maintenance_schedules import check_name, define_missing

    check_name(config, store, name)
    define_missing(config, store)
    schedule = store.schedules.get(name)
    if schedule is not None:
        _check_options(config, store, schedule, options)
    _end_abandoned(config, store, name)
    return store.schedules.run_now(name, options, timeout_seconds=timeout_seconds)


def _check_options(
    config: WorkersConfig, store: Store, schedule: Schedule, options: dict[str, object]
) -> None:
    """Refuse options that a built-in duty does not have; those of other tasks are their own."""
    from lexigram_ray.maintenance.duties import DUTIES
    from lexigram_ray.maintenance.duty import DutyContext
    from lexigram_ray.maintenance.options import settings_of

    if schedule.task not in DUTIES:
        return
    context = DutyContext(
        config=config,
        store=store,
        options={**schedule.options, **options},
        now=lambda: datetime.now(UTC),
        tell=lambda _: None,
        should_stop=lambda: True,
        dry_run=True,
    )
    settings_of(context, getattr(config.maintenance, schedule.task))


def _end_abandoned(config: WorkersConfig, store: Store, name: str) -> None:
    """Cancel an earlier run that a killed command has left: nobody would ever go on with it."""
    from lexigram_ray.cli.job_next import is_up
    from lexigram_ray.jobs.owner import Owner

    if is_up(config):
        return
    free = {job.id for job in store.schedules.ready(READY_LOOKED_AT)}
    for job in store.schedules.unfinished(name):
        begun_or_old = job.attempt or datetime.now(UTC) - job.created_at > ABANDONED_AFTER
        if job.id in free and begun_or_old:
            store.cancel(job.id, Owner.current(), turn_seconds=config.jobs.lease_seconds)
            say(f"an earlier run was left unfinished, and is cancelled: {job.id}", label="note")


def _refuse_without_workers(config: WorkersConfig, invocation: Invocation) -> None:
    if not _has_workers(config):
        raise UsageError(
            "--no-wait needs `lexigram-ray up`: nothing works on maintenance here yet",
            hint=f"{invocation.suggest('up')}, or leave --no-wait out",
        )


def _has_workers(config: WorkersConfig) -> bool:
    from lexigram_ray.cli.job_next import is_up

    return config.enable_maintenance and is_up(config)


def _seen_through(
    config: WorkersConfig, store: Store, run: Run, invocation: Invocation
) -> tuple[Run, bool]:
    """Return the run as it has ended, or as Ctrl-C has left it, and whether that came first."""
    from lexigram_ray.cli.interrupts import Interrupts

    # One that was asked for has a job; only those that are skipped have none.
    job_id = run.job_id or ""
    stop = threading.Event()
    elsewhere = _has_workers(config)

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
    say_faults(run)
