"""`lexigram-ray store`: the job store as a file, and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.help_text import help_of, refuse_without_command
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
)

if TYPE_CHECKING:
    from lexigram_ray.jobs.backup import Copied

store_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup's file.")]


def store(ctx: typer.Context) -> None:
    """Back up the job store, restore it, and move it between SQLite and PostgreSQL.

    Examples:
      lexigram-ray store backup jobs-monday.db
      lexigram-ray store restore jobs-monday.db --state ~/fresh
    """
    refuse_without_command(ctx)


def backup(
    ctx: typer.Context,
    file: FileArgument,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write jobs and the ledger of documents to a new file, beside running jobs.

    The file is a job store of its own: SQLite, whatever the store is in. Collections are not in
    it: copy the folder `lancedb` of the data directory too.

    Examples:
      lexigram-ray store backup jobs-monday.db
      lexigram-ray store backup jobs-monday.db --json
    """
    from lexigram_ray.jobs.backup import back_up

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    copied = back_up(invocation.load_config().paths.store_url, file)
    _answer(invocation, copied, f"backed up {_amount(copied)} of {copied.store} to {copied.file}")


def restore(
    ctx: typer.Context,
    file: FileArgument,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Fill an empty job store from a backup; the one that is configured, in either database.

    To move a store to PostgreSQL: end what works with it, back it up, set `store_url`, restore.
    A store that holds anything is left as it is.

    Examples:
      lexigram-ray store restore jobs-monday.db --state ~/fresh
      LEX_AI_WORKERS__STORE_URL=postgresql://me@db/jobs lexigram-ray store restore jobs-monday.db
    """
    from lexigram_ray.jobs.backup import restore as fill

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    copied = fill(file, invocation.load_config().paths.store_url)
    _answer(invocation, copied, f"restored {_amount(copied)} of {copied.file} to {copied.store}")


def _answer(invocation: Invocation, copied: Copied, sentence: str) -> None:
    from lexigram_ray.cli.output import byte_size, write_line

    if invocation.json:
        invocation.answer(copied.to_dict())
        return
    write_line(sys.stdout, f"{sentence} ({byte_size(copied.bytes)})")


def _amount(copied: Copied) -> str:
    from lexigram_ray.cli.output import count

    return f"{count(copied.jobs, 'job')} and {count(copied.documents, 'document')}"


store_app.callback(help=help_of(store))(store)
store_app.command("backup", help=help_of(backup), short_help="Write the job store to a file.")(
    backup
)
store_app.command("restore", help=help_of(restore), short_help="Fill an empty store from a file.")(
    restore
)
