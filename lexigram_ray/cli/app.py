"""The commands and the program's one entrance."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from lexigram_ray import __version__
from lexigram_ray.cli.cache import cache_app
from lexigram_ray.cli.collections import collections_app
from lexigram_ray.cli.dlq import dlq_app
from lexigram_ray.cli.doctor import doctor
from lexigram_ray.cli.embed import embed
from lexigram_ray.cli.error_edge import report
from lexigram_ray.cli.exit_codes import EXIT_DONE, EXIT_INTERRUPTED
from lexigram_ray.cli.help_text import help_of, refuse_without_command
from lexigram_ray.cli.ingest import ingest
from lexigram_ray.cli.invocation import (
    PROGRAM,
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
)
from lexigram_ray.cli.jobs import jobs_app
from lexigram_ray.cli.maintenance import maintenance_app
from lexigram_ray.cli.messages import log_to
from lexigram_ray.cli.output import printable, say
from lexigram_ray.cli.search import search
from lexigram_ray.cli.serve import serve_app
from lexigram_ray.cli.stats import stats
from lexigram_ray.cli.status import status
from lexigram_ray.cli.store import store_app
from lexigram_ray.cli.stray import open_closed_streams
from lexigram_ray.cli.submit import submit
from lexigram_ray.cli.tokens import tokens_app
from lexigram_ray.cli.up import down, up

WORK = frozenset({"embed", "ingest"})
"""Names of the threads that do a run's work."""

app = typer.Typer(
    name=PROGRAM,
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def main() -> None:
    """Run the command line and exit with its code."""
    open_closed_streams()
    code = run(sys.argv[1:])
    if any(thread.name in WORK for thread in threading.enumerate()):
        _exit_at_once(code)
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; every error ends here."""
    invocation = Invocation.begin(argv)
    try:
        with log_to(_say_log, debug=invocation.debug):
            code = app(args=list(argv), prog_name=PROGRAM, standalone_mode=False, obj=invocation)
        if code == EXIT_INTERRUPTED and not invocation.answered:
            return report(KeyboardInterrupt(), invocation)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one error edge
        return report(error, invocation)
    return code if isinstance(code, int) else EXIT_DONE


def _exit_at_once(code: int) -> NoReturn:
    """End with what an interrupted run has dropped still going on; all that counts is committed.

    A thread in the middle of a model's native code aborts a process whose interpreter ends.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _say_log(text: str, label: str, style: str) -> None:
    say(printable(text), label=label, style=style)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


def root(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Documents and texts into searchable vectors: nothing lost, nothing twice.

    Examples:
      lexigram-ray ingest ~/papers --collection papers
      lexigram-ray embed reviews.parquet --collection reviews
      lexigram-ray search "how are leases renewed" --collection papers
      lexigram-ray jobs list
      lexigram-ray dlq list
      lexigram-ray collections list
      lexigram-ray maintenance run health_check
      lexigram-ray serve
      lexigram-ray submit -- ingest /data --collection data
      lexigram-ray doctor

    Exit codes:
      0    done
      1    failed, or every record failed (so does any code that is not listed)
      2    wrong use: nothing was done
      3    done, but some records failed
      4    cluster or store unreachable, or not authorised
      130  interrupted: the same command goes on from there

    Every option has an environment variable, named in its command's help. Configuration is read
    from `ai_workers:` in ./application.yaml, with LEX_AI_WORKERS__* over it and options over both.
    """
    Invocation.of(ctx, state, config, json=json, debug=debug)
    refuse_without_command(ctx)


app.callback(help=help_of(root))(root)
app.command("ingest", help=help_of(ingest), short_help="Put documents into a collection.")(ingest)
app.command("embed", help=help_of(embed), short_help="Embed a table of texts.")(embed)
app.command("search", help=help_of(search), short_help="Find passages that answer a question.")(
    search
)
app.command(
    "submit",
    help=help_of(submit),
    short_help="Send ingest or embed to a Ray cluster.",
    # What follows the command's name belongs to the command.
    context_settings={"allow_interspersed_args": False},
)(submit)
app.command("up", help=help_of(up), short_help="Start what works on submitted jobs.")(up)
app.command("status", help=help_of(status), short_help="Show what is up, and the jobs.")(status)
app.command("stats", help=help_of(stats), short_help="Show what was done, how fast, what failed.")(
    stats
)
app.command("down", help=help_of(down), short_help="End what `up` has started.")(down)
app.command("doctor", help=help_of(doctor), short_help="Check this machine and its settings.")(
    doctor
)
app.add_typer(serve_app, name="serve", short_help="Serve all of it over HTTP.")
app.add_typer(collections_app, name="collections", short_help="List, show and drop collections.")
app.add_typer(jobs_app, name="jobs", short_help="List, show, watch, cancel and retry jobs.")
app.add_typer(dlq_app, name="dlq", short_help="See what failed, retry it, archive or delete it.")
app.add_typer(
    maintenance_app, name="maintenance", short_help="See, run and switch off maintenance."
)
app.add_typer(cache_app, name="cache", short_help="Show, clean and clear the embedding cache.")
app.add_typer(tokens_app, name="tokens", short_help="Make, list and revoke the service's tokens.")
app.add_typer(store_app, name="store", short_help="Back up, restore and move the job store.")
