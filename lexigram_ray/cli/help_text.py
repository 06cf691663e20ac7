"""Help: a command's is its docstring, and a group's is shown where no command is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import typer

from lexigram_ray.cli.exit_codes import EXIT_USAGE

_KEEP_LINES = "\b\n"


def help_of(command: Callable[..., object]) -> str:
    """Return a command's docstring, its blocks under a line that ends in `:` left as they are."""
    blocks = inspect.getdoc(command) or ""
    return "\n\n".join(
        _KEEP_LINES + block if block.partition("\n")[0].endswith(":") else block
        for block in blocks.split("\n\n")
    )


def refuse_without_command(ctx: typer.Context) -> None:
    """Show the help of a group of commands on stderr where none of them was given.

    Raises:
        typer.Exit: None was.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(EXIT_USAGE)
