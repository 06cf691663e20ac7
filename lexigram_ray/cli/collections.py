"""`lexigram-ray collections`: what there is, and how to be rid of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

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
from lexigram_ray.core.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from lexigram_ray.vectors.collections import Collections

collections_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The collection.")]


def collections(ctx: typer.Context) -> None:
    """List, show and drop collections.

    Examples:
      lexigram-ray collections list
      lexigram-ray collections show papers
      lexigram-ray collections drop papers
    """
    refuse_without_command(ctx)


def list_collections(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the collections, with their sizes and models.

    Examples:
      lexigram-ray collections list
      lexigram-ray collections list --json | jq -r '.items[].name'
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    items = [info.to_dict() for info in _open(invocation).list_infos()]
    if invocation.json:
        invocation.answer({"items": items, "next": None})
        return
    from lexigram_ray.cli.output import print_table, say

    if not items:
        line = invocation.suggest("ingest", "PATH", "--collection", "NAME")
        say("there are no collections yet", label="note")
        say(line, label="try", style="cyan")
        return
    headers = ("NAME", "ROWS", "DOCUMENTS", "SIZE", "MODEL", "PRECISION", "CHUNKER")
    print_table(headers, [_row(item) for item in items])


def show_collection(
    ctx: typer.Context,
    name: NameArgument,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show one collection: its size, its model, how it was cut, its indexes.

    Examples:
      lexigram-ray collections show papers
      lexigram-ray collections show papers --json | jq .rows
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    item = _open(invocation).info(name).to_dict()
    if invocation.json:
        invocation.answer(item)
        return
    from lexigram_ray.cli.output import write_line

    width = max(map(len, item))
    for key, value in item.items():
        write_line(sys.stdout, f"{key:<{width}}  {_shown(key, value)}")


def drop_collection(
    ctx: typer.Context,
    name: NameArgument,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", envvar=env("yes"), help="Do not ask for the name.")
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Drop a collection and forget which documents are in it. The embedding cache stays.

    Examples:
      lexigram-ray collections drop papers
      lexigram-ray collections drop papers --yes --json
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    collections = _open(invocation)
    rows, size = _size_of(collections, name)
    if not yes:
        _confirm(name, size)
    from lexigram_ray.jobs.dropping import drop_collection as drop
    from lexigram_ray.jobs.dropping import dropped_object
    from lexigram_ray.jobs.store import Store

    with Store.open(settings.paths.store_url) as store:
        drop(settings, store, name)
    if invocation.json:
        invocation.answer(dropped_object(name, rows))
        return
    from lexigram_ray.cli.output import count, write_line

    write_line(sys.stdout, f"dropped {name}: {count(rows, 'row')}")


def _open(invocation: Invocation) -> Collections:
    from lexigram_ray.vectors.collections import Collections

    return Collections(invocation.load_config().paths.lancedb)


def _size_of(collections: Collections, name: str) -> tuple[int, str]:
    from lexigram_ray.cli.output import count

    try:
        info = collections.info(name)
    except IntegrityError as error:
        # A damaged collection is what one most wants to drop.
        return 0, f"what cannot be counted ({error.message})"
    return info.rows, f"{count(info.rows, 'row')} of {count(info.documents, 'document')}"


def _confirm(name: str, size: str) -> None:
    from lexigram_ray.cli.output import is_terminal, say

    if not is_terminal(sys.stdin):
        raise UsageError(
            f"dropping {name} would delete {size}, and there is no terminal to ask",
            hint="the same command with --yes",
        )
    say(f"{name} holds {size}, which will be deleted", label="drop", style="yellow")
    typed = str(typer.prompt("type the collection's name to drop it", err=True))
    if typed.strip() != name:
        raise UsageError(
            f"{typed.strip()!r} is not {name!r}: nothing was dropped", hint="type the name exactly"
        )


def _row(item: Mapping[str, object]) -> tuple[str, ...]:
    keys = ("name", "rows", "documents", "bytes", "model", "precision", "chunker")
    return tuple(_shown(key, item[key]) for key in keys)


def _shown(key: str, value: object) -> str:
    from lexigram_ray.cli.output import byte_size, printable

    if key.endswith("bytes") and isinstance(value, int):
        return byte_size(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(printable(str(each)) for each in value) or "none"
    return printable(str(value))


collections_app.callback(help=help_of(collections))(collections)
collections_app.command("list", help=help_of(list_collections))(list_collections)
collections_app.command("show", help=help_of(show_collection))(show_collection)
collections_app.command("drop", help=help_of(drop_collection))(drop_collection)
