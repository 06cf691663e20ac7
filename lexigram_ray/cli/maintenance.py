"""`lexigram-ray maintenance`: what keeps the system well, when it runs, and what it has found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexigram_ray.cli.help_text import help_of, refuse_without_command
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.job_options import CursorOption
from lexigram_ray.cli.maintenance_run import run_task
from lexigram_ray.cli.output import say

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.schedule_records import Run, Schedule

maintenance_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Of a schedule.", show_default=False)
]


def maintenance(ctx: typer.Context) -> None:
    """See when maintenance runs and what it has found, run it now, or switch it off.

    Examples:
      lexigram-ray maintenance list
      lexigram-ray maintenance run health_check
      lexigram-ray maintenance run cache_cleanup --dry-run
      lexigram-ray maintenance runs --status failed
      lexigram-ray maintenance disable document_cleanup

    Schedules run by themselves while `lexigram-ray up` has started what works on them.
    """
    refuse_without_command(ctx)


def list_schedules(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List what runs by itself: when, how it ended last, and when it is due next.

    Examples:
      lexigram-ray maintenance list
      lexigram-ray maintenance list --json | jq -r '.items[] | [.name, .next_run_at] | @tsv'

    Times are of this machine's clock; a schedule's own zone stands with its times.
    """
    from lexigram_ray.cli.maintenance_schedules import listed_schedules
    from lexigram_ray.cli.maintenance_table import print_schedules

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    now = datetime.now(UTC)
    listed = listed_schedules(settings, now)
    if invocation.json:
        invocation.answer({"items": [each.to_dict() for each in listed], "next": None})
        return
    print_schedules(listed, now)
    _say_if_nothing_runs(settings, invocation)
    say(invocation.suggest("maintenance", "run", "NAME"), label="run one now with", style="cyan")


def list_runs(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Only runs of this schedule.", show_default=False),
    ] = None,
    *,
    status: Annotated[
        Literal["pending", "running", "completed", "failed", "skipped"] | None,
        typer.Option("--status", envvar=env("status"), help="Only runs in this state."),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, max=1000, metavar="N", envvar=env("limit"), help="Most runs shown."
        ),
    ] = 20,
    cursor: CursorOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List runs, the latest first: also those that were skipped, with the reason.

    Examples:
      lexigram-ray maintenance runs
      lexigram-ray maintenance runs health_check --limit 5
      lexigram-ray maintenance runs --status failed --json | jq -r '.items[].reason'
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    page, following = _page(invocation.load_config(), name, status, limit, cursor)
    if invocation.json:
        invocation.answer({"items": [run.to_dict() for run in page], "next": following})
        return
    _print_runs(page, invocation, is_part=any((name, status, cursor)))
    if following is not None:
        asked = [*([name] if name else []), *(("--status", status) if status else ())]
        more = ("--limit", str(limit), "--cursor", following)
        line = invocation.suggest("maintenance", "runs", *asked, *more)
        say(line, label="more with", style="cyan")


def show_run(
    ctx: typer.Context,
    run_id: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's id, or its beginning; a schedule's name means its last run.",
            show_default=False,
        ),
    ],
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show one run: what it did, what it found to be wrong, and what to do about that.

    Examples:
      lexigram-ray maintenance show health_check
      lexigram-ray maintenance show 0193579e-1c2d
      lexigram-ray maintenance show cache_cleanup --json | jq .result.figures
    """
    from lexigram_ray.cli.job_ids import open_store
    from lexigram_ray.cli.maintenance_page import print_page, say_failure, say_faults
    from lexigram_ray.cli.maintenance_schedules import find_run

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    with open_store(invocation, invocation.load_config()) as store:
        run = find_run(store, run_id)
    if invocation.json:
        invocation.answer(run.to_dict())
        return
    print_page(run, datetime.now(UTC))
    say_failure(run, invocation)
    say_faults(run, invocation)


def enable(
    ctx: typer.Context,
    name: NameArgument,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Let a schedule run by itself, from now on.

    Examples:
      lexigram-ray maintenance enable document_cleanup
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    _switch(invocation, name, enabled=True)


def disable(
    ctx: typer.Context,
    name: NameArgument,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Keep a schedule from running by itself; it can still be run by name.

    Examples:
      lexigram-ray maintenance disable document_cleanup

    What comes due while it is off is not made up for.
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    _switch(invocation, name, enabled=False)


def _switch(invocation: Invocation, name: str, *, enabled: bool) -> None:
    import sys

    from lexigram_ray.cli.job_next import is_up
    from lexigram_ray.cli.output import printable, write_line
    from lexigram_ray.jobs.store import Store
    from lexigram_ray.maintenance.known_schedules import define_missing

    settings = invocation.load_config()
    with Store.open(settings.paths.store_url) as store:
        define_missing(settings, store, is_up=is_up(settings))
        schedule = store.schedules.enable(name, enabled)
    if invocation.json:
        invocation.answer(schedule.to_dict())
        return
    write_line(sys.stdout, f"{printable(schedule.name)} is {_how(schedule)}")
    if enabled:
        _say_if_nothing_runs(settings, invocation)


def _how(schedule: Schedule) -> str:
    from lexigram_ray.cli.maintenance_words import when

    return f"enabled: {when(schedule)}" if schedule.enabled else "disabled"


def _page(
    config: WorkersConfig, name: str | None, status: str | None, limit: int, cursor: str | None
) -> tuple[list[Run], str | None]:
    from lexigram_ray.cli.job_next import is_up
    from lexigram_ray.core.types import MaintenanceStatus
    from lexigram_ray.jobs.store import Store
    from lexigram_ray.maintenance.known_schedules import check_name

    store = Store.open_existing(config.paths.store_url)
    if store is None:
        return [], None
    with store:
        wanted = None if status is None else MaintenanceStatus(status)
        page = store.schedules.runs(name, status=wanted, limit=limit, cursor=cursor)
        if name is not None and not page[0]:
            # Of a schedule that is gone there may be runs; of one that never was there are none.
            check_name(config, store, name, is_up=is_up(config))
        return page


def _print_runs(page: list[Run], invocation: Invocation, *, is_part: bool) -> None:
    from lexigram_ray.cli.maintenance_table import print_runs

    if page:
        print_runs(page, datetime.now(UTC))
        if len(page) == 1:
            line = invocation.suggest("maintenance", "show", page[0].id)
            say(line, label="more with", style="cyan")
        return
    say("no run is like that" if is_part else "nothing has run yet", label="note")


def _say_if_nothing_runs(config: WorkersConfig, invocation: Invocation) -> None:
    from lexigram_ray.cli.job_next import say_what_is_missing

    if not config.enable_maintenance:
        say("enable_maintenance is off: nothing runs by itself", label="note")
        return
    say_what_is_missing("schedules", config, invocation)


maintenance_app.callback(help=help_of(maintenance))(maintenance)
maintenance_app.command("list", help=help_of(list_schedules))(list_schedules)
maintenance_app.command("run", help=help_of(run_task))(run_task)
maintenance_app.command("runs", help=help_of(list_runs))(list_runs)
maintenance_app.command("show", help=help_of(show_run))(show_run)
maintenance_app.command("enable", help=help_of(enable))(enable)
maintenance_app.command("disable", help=help_of(disable))(disable)
