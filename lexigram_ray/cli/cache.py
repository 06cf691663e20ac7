"""`lexigram-ray cache`: what the embedding cache holds, and how to make it smaller."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
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
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.embedding.cache_cleaning import CacheCleaned
    from lexigram_ray.embedding.cache_figures import CacheFigures

cache_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)

UNKNOWN_MODEL = "(unknown)"
SHOWN_FINGERPRINT = 8


def cache(ctx: typer.Context) -> None:
    """Show, clean and clear the embedding cache, which keeps every vector by its text.

    Examples:
      lexigram-ray cache show
      lexigram-ray cache clean --unused-for 90d
      lexigram-ray cache clear
    """
    refuse_without_command(ctx)


def show_cache(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show the cache of each model: its size, its age, and how many texts were found in it.

    Examples:
      lexigram-ray cache show
      lexigram-ray cache show --json | jq '.items[] | {model, hit_rate}'
    """
    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    figures = _figures(invocation)
    if invocation.json:
        invocation.answer({"items": [each.to_dict() for each in figures], "next": None})
        return
    from lexigram_ray.cli.output import print_table, say

    if not figures:
        say("the embedding cache is empty", label="note")
        return
    headers = ("MODEL", "PRECISION", "ID", "TEXTS", "SIZE", "CREATED", "LAST USED", "FOUND")
    print_table(headers, [_row(each) for each in figures])


def clean(
    ctx: typer.Context,
    *,
    unused_for: Annotated[
        str | None,
        typer.Option(
            "--unused-for",
            metavar="AGE",
            envvar=env("unused-for"),
            help="Remove vectors not used for so long, such as 90d.",
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            envvar=env("older-than"),
            help="Remove vectors computed longer ago than this, such as 1y.",
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            envvar=env("max-size"),
            help="Keep the most recently used vectors of all models, up to this size: 5GB.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", envvar=env("dry-run"), help="Only say what would go.")
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Remove repeated vectors and what the options say, and compact the rest.

    Safe beside running jobs. Old versions of the tables are kept for an hour, for those who read
    them: disk space is freed by the next clean-up after that.

    Examples:
      lexigram-ray cache clean --unused-for 90d
      lexigram-ray cache clean --max-size 5GB --dry-run
    """
    from lexigram_ray.cli.amounts import parse_bytes, parse_days
    from lexigram_ray.embedding.cache_cleaning import clean_cache
    from lexigram_ray.embedding.cache_expiry import CleanLimits

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    limits = CleanLimits(
        older_than_days=None if older_than is None else parse_days("--older-than", older_than),
        unused_for_days=None if unused_for is None else parse_days("--unused-for", unused_for),
        max_bytes=None if max_size is None else parse_bytes("--max-size", max_size),
    )
    cleaned = clean_cache(invocation.load_config().paths.cache, limits, dry_run=dry_run)
    if invocation.json:
        items = [asdict(each) for each in cleaned]
        invocation.answer({"dry_run": dry_run, "items": items, "next": None})
        return
    _say_cleaned(cleaned, dry_run=dry_run)


def clear(
    ctx: typer.Context,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            envvar=env("model"),
            help="Only this model's vectors; its name or its ID as `cache show` prints them.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", envvar=env("yes"), help="Do not ask.")
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Remove all vectors from the cache, or those of one model. Collections stay as they are.

    Texts will be embedded anew when they are next needed. Running jobs go on.

    Examples:
      lexigram-ray cache clear
      lexigram-ray cache clear --model sentence-transformers/all-MiniLM-L6-v2 --yes
    """
    from lexigram_ray.cli.output import byte_size, count, say, write_line
    from lexigram_ray.embedding.cache_clearing import clear_cache, clearable
    from lexigram_ray.embedding.named_vectors import NAMED_FILE, NamedVectors

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    root = invocation.load_config().paths.cache
    figures = _figures(invocation)
    going = _chosen(figures, clearable(root), model)
    chosen = [each for each in figures if each.fingerprint in going]
    texts, size = sum(each.distinct for each in chosen), sum(each.bytes for each in chosen)
    named = NamedVectors(root / NAMED_FILE) if model is None else None
    if named is not None and len(named):
        texts, size = texts + len(named), size + named.file.stat().st_size
    what = f"{count(texts, 'vector')} ({byte_size(size)})"
    if len(going) > len(chosen):
        what += f" and {count(len(going) - len(chosen), 'cache')} that cannot be read"
    if (going or texts) and not yes:
        _confirm(what)
    cleared = clear_cache(root, fingerprints=going)
    if named is not None and named.clear():
        cleared.append(named.file.stem)
    if invocation.json:
        invocation.answer({"cleared": cleared, "texts": texts, "bytes": size})
    elif cleared:
        write_line(sys.stdout, f"cleared {what}")
    else:
        say("the embedding cache is empty", label="note")


def _figures(invocation: Invocation) -> list[CacheFigures]:
    from lexigram_ray.embedding.cache_figures import cache_figures

    return cache_figures(invocation.load_config().paths.cache)


def _chosen(figures: list[CacheFigures], fingerprints: list[str], model: str | None) -> list[str]:
    # Caches that cannot be read have no figures, and one most wants to clear those.
    if model is None:
        return fingerprints
    named = {each.fingerprint for each in figures if each.model == model}
    is_id = len(model) >= SHOWN_FINGERPRINT
    chosen = [each for each in fingerprints if each in named or (is_id and each.startswith(model))]
    if chosen:
        return chosen
    import difflib

    names = sorted({each.model for each in figures if each.model})
    near = difflib.get_close_matches(model, names, n=1, cutoff=0.4)
    raise UsageError(
        f"the cache holds nothing of model {model!r}",
        hint=f"did you mean {near[0]}?" if near else "lexigram-ray cache show",
    )


def _confirm(what: str) -> None:
    from lexigram_ray.cli.output import is_terminal, say

    if not is_terminal(sys.stdin):
        raise UsageError(
            f"clearing the cache would delete {what}, and there is no terminal to ask",
            hint="the same command with --yes",
        )
    say(f"{what} will be deleted; collections stay", label="clear", style="yellow")
    if not typer.confirm("clear the cache?", err=True):
        raise UsageError("nothing was cleared", hint="answer y to clear, or give --yes")


def _say_cleaned(cleaned: Sequence[CacheCleaned], *, dry_run: bool) -> None:
    from lexigram_ray.cli.output import byte_size, count, print_table, say

    if not cleaned:
        say("the embedding cache is empty", label="note")
        return
    headers = ("MODEL", "ID", "REPEATED", "EXPIRED", "OVER SIZE", "LEFT", "SIZE")
    print_table(
        headers,
        [
            (
                each.model or UNKNOWN_MODEL,
                each.fingerprint[:SHOWN_FINGERPRINT],
                f"{each.repeated:,}",
                f"{each.expired:,}",
                f"{each.too_much:,}",
                f"{each.rows_after:,}",
                byte_size(each.bytes_after),
            )
            for each in cleaned
        ],
    )
    if dry_run:
        gone = sum(each.rows_before - each.rows_after for each in cleaned)
        say(f"{count(gone, 'row')} would go; nothing was changed", label="dry run")
        return
    waiting = sum(each.bytes_waiting for each in cleaned)
    say(f"{byte_size(waiting)} of old versions stay for an hour, for their readers", label="note")


def _row(figures: CacheFigures) -> tuple[str, ...]:
    from lexigram_ray.cli.output import byte_size, count

    rate = figures.hit_rate
    found = (
        f"{rate:.0%} of {count(figures.lookups, 'look-up')}" if rate is not None else "never asked"
    )
    first, last = figures.created_first, figures.created_last
    return (
        figures.model or UNKNOWN_MODEL,
        figures.precision or "-",
        figures.fingerprint[:SHOWN_FINGERPRINT],
        f"{figures.distinct:,}",
        byte_size(figures.bytes),
        f"{first}" if first == last else f"{first} to {last}",
        str(figures.last_used or "-"),
        found,
    )


cache_app.callback(help=help_of(cache))(cache)
cache_app.command("show", help=help_of(show_cache))(show_cache)
cache_app.command("clean", help=help_of(clean))(clean)
cache_app.command("clear", help=help_of(clear))(clear)
