"""`lexigram-ray jobs`: what was asked, how far it is, and how to end it or do it again."""

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
from lexigram_ray.cli.job_actions import cancel_jobs, retry_jobs
from lexigram_ray.cli.job_events import job_events
from lexigram_ray.cli.job_ids import IdArgument, IdsArgument, find_job, find_jobs, open_store
from lexigram_ray.cli.job_options import (
    CursorOption,
    JsonProgressOption,
    NoProgressOption,
    TracebackOption,
)
from lexigram_ray.cli.output import say
from lexigram_ray.core.types import JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.records import Job

jobs_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)


def jobs(ctx: typer.Context) -> None:
    """List, show, watch, follow, cancel and retry jobs.

    Examples:
      lexigram-ray jobs list --status running
      lexigram-ray jobs show 0193579e-1c2d
      lexigram-ray jobs watch 0193579e-1c2d
      lexigram-ray jobs events 0193579e-1c2d --follow
      lexigram-ray jobs retry 0193579e-1c2d --failed
    """
    refuse_without_command(ctx)


def list_jobs(
    ctx: typer.Context,
    *,
    status: Annotated[
        Literal["pending", "running", "completed", "failed", "cancelled"] | None,
        typer.Option("--status", envvar=env("status"), help="Only jobs in this state."),
    ] = None,
    kind: Annotated[
        Literal["ingest", "embed", "maintenance"] | None,
        typer.Option(
            "--kind",
            envvar=env("kind"),
            help="Only jobs of this kind; those of maintenance are shown only so.",
        ),
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            "-c",
            metavar="NAME",
            envvar=env("collection"),
            help="Only jobs of this collection.",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, max=1000, metavar="N", envvar=env("limit"), help="Most jobs shown."
        ),
    ] = 20,
    cursor: CursorOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List jobs, the newest first.

    Examples:
      lexigram-ray jobs list
      lexigram-ray jobs list --status failed -c papers
      lexigram-ray jobs list --json | jq -r '.items[].id'
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    asked: dict[str, str | None] = {"status": status, "kind": kind, "collection": collection}
    page, following = _page(invocation.load_config(), asked, limit, cursor)
    if invocation.json:
        invocation.answer({"items": [job.to_dict() for job in page], "next": following})
        return
    filters = {name: value for name, value in asked.items() if value is not None}
    _print_list(page, invocation, is_part=bool(filters or cursor))
    if following is not None:
        options = [word for name, value in filters.items() for word in (f"--{name}", value)]
        more = ("--limit", str(limit), "--cursor", following)
        say(invocation.suggest("jobs", "list", *options, *more), label="more with", style="cyan")


def show_job(
    ctx: typer.Context,
    job_id: IdArgument,
    *,
    tracebacks: TracebackOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show one job: how far it is, who worked on it, what failed and why.

    Examples:
      lexigram-ray jobs show 0193579e-1c2d
      lexigram-ray jobs show 0193579e-1c2d --traceback
      lexigram-ray jobs show 0193579e-1c2d --json | jq .attempts
    """
    from lexigram_ray.cli.job_next import is_up, say_next
    from lexigram_ray.cli.job_page import print_page
    from lexigram_ray.jobs.job_object import page_object

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    with open_store(invocation, settings) as store:
        job = find_job(store, job_id)
        attempts = store.attempts_of(job.id)
    now = datetime.now(UTC)
    if invocation.json:
        invocation.answer(page_object(job, attempts, now))
        return
    print_page(job, attempts, now, tracebacks=tracebacks)
    orphaned = job.status is JobStatus.RUNNING and bool(attempts) and attempts[-1].owner.is_gone()
    if not tracebacks and any(attempt.traceback for attempt in attempts):
        line = invocation.suggest("jobs", "show", job.id, "--traceback")
        say(line, label="traceback with", style="cyan")
    say_next(job, invocation, now, has_workers=is_up(settings), orphaned=orphaned)


def watch_jobs(
    ctx: typer.Context,
    job_ids: IdsArgument,
    *,
    no_progress: NoProgressOption = False,
    json_progress: JsonProgressOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Watch jobs until they have ended. Ctrl-C only stops looking: their work goes on.

    Examples:
      lexigram-ray jobs watch 0193579e-1c2d
      lexigram-ray jobs watch 0193579e-1c2d 0193579e-2f00 --json

    Exit codes are those of `ingest`; of several jobs, that of the one that ended worst. With --json
    one job is one object, and several are {"items": [...]}.
    """
    from lexigram_ray.cli.displays import choose_display
    from lexigram_ray.cli.job_next import is_up
    from lexigram_ray.cli.jobs_watch import answer, exit_code, watch_shown

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    has_workers = is_up(settings)
    with open_store(invocation, settings) as store:
        ended = watch_shown(
            store,
            find_jobs(store, job_ids),
            invocation=invocation,
            display=choose_display(show=not no_progress, json_lines=json_progress),
            has_workers=has_workers,
        )
    answer(ended, invocation=invocation, has_workers=has_workers)
    return exit_code(ended)


def _page(
    config: WorkersConfig, asked: Mapping[str, str | None], limit: int, cursor: str | None
) -> tuple[list[Job], str | None]:
    from lexigram_ray.jobs.store import Store

    store = Store.open_existing(config.paths.store_url)
    if store is None:
        return [], None
    status = asked["status"]
    with store:
        return store.list_jobs(
            status=None if status is None else JobStatus(status),
            kind=asked["kind"],
            collection=asked["collection"],
            limit=limit,
            cursor=cursor,
        )


def _print_list(page: Sequence[Job], invocation: Invocation, *, is_part: bool) -> None:
    from lexigram_ray.cli.jobs_table import print_jobs

    if page:
        print_jobs(page, datetime.now(UTC))
    elif is_part:
        say("no job is like that", label="note")
        say(invocation.suggest("jobs", "list"), label="try", style="cyan")
    else:
        say("there are no jobs yet", label="note")
        say(invocation.suggest("ingest", "PATH", "--collection", "NAME"), label="try", style="cyan")


jobs_app.callback(help=help_of(jobs))(jobs)
jobs_app.command("list", help=help_of(list_jobs))(list_jobs)
jobs_app.command("show", help=help_of(show_job))(show_job)
jobs_app.command("watch", help=help_of(watch_jobs))(watch_jobs)
jobs_app.command("events", help=help_of(job_events))(job_events)
jobs_app.command("cancel", help=help_of(cancel_jobs))(cancel_jobs)
jobs_app.command("retry", help=help_of(retry_jobs))(retry_jobs)
