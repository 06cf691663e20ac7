"""`lexigram-ray tokens`: who may use the HTTP service, and who has changed what through it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
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
from lexigram_ray.cli.job_options import CursorOption
from lexigram_ray.cli.output import printable, say, write_line

if TYPE_CHECKING:
    from lexigram_ray.jobs.access_tokens import AccessToken

tokens_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)


def tokens(ctx: typer.Context) -> None:
    """Make and revoke the tokens of the HTTP service, and see what was changed with them.

    Examples:
      lexigram-ray tokens create ci --scope submit --expires 90d
      lexigram-ray tokens list
      lexigram-ray tokens revoke ci
      lexigram-ray tokens audit

    Once there is a token, or where other machines reach the service, every request needs one.
    """
    refuse_without_command(ctx)


def create(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Whose it is, such as `ci`.", show_default=False),
    ],
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="read|submit|operate",
            envvar=env("scope"),
            help="What it allows: operate includes submit, and submit includes read, which is "
            "what it allows unless this is given.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="TIME",
            envvar=env("expires"),
            help="Until when it is valid: 90d, or 2027-05-04T18:00; else until it is revoked.",
        ),
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make a token and print it, this once: only a hash of it is kept.

    Examples:
      lexigram-ray tokens create reader
      lexigram-ray tokens create ci --scope submit --expires 90d
      TOKEN=$(lexigram-ray tokens create admin --scope operate)
    """
    from lexigram_ray.core.written_times import parse_time
    from lexigram_ray.jobs.store import Store

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    now = datetime.now(UTC)
    expires_at = None if expires is None else parse_time("--expires", expires, now)
    with Store.open(settings.paths.store_url) as store:
        token, secret = store.tokens.create(name, scope or ["read"], expires_at)
    if invocation.json:
        invocation.answer({"token": secret, **token.to_dict()})
        return
    write_line(sys.stdout, secret)
    _say_what_it_allows(token)


def list_tokens(
    ctx: typer.Context,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List all tokens, also those that are revoked or expired; never what they are.

    Examples:
      lexigram-ray tokens list
      lexigram-ray tokens list --json | jq -r '.items[] | select(.revoked_at == null) | .name'
    """
    from lexigram_ray.cli.tokens_table import print_tokens
    from lexigram_ray.jobs.store import Store

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    store = Store.open_existing(invocation.load_config().paths.store_url)
    found: list[AccessToken] = []
    if store is not None:
        with store:
            found = store.tokens.list()
    if invocation.json:
        invocation.answer({"items": [token.to_dict() for token in found], "next": None})
    elif found:
        print_tokens(found, datetime.now(UTC))
    else:
        say("there are no tokens yet", label="note")
        say(invocation.suggest("tokens", "create", "NAME"), label="try", style="cyan")


def revoke(
    ctx: typer.Context,
    id_or_name: Annotated[
        str,
        typer.Argument(metavar="TOKEN", help="A token's name, or its id.", show_default=False),
    ],
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Revoke a token for good: within a second, the service knows it no more.

    Examples:
      lexigram-ray tokens revoke ci
      lexigram-ray tokens revoke 4f2a9c0d1e7b
    """
    from lexigram_ray.core.errors import UsageError
    from lexigram_ray.jobs.store import Store

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    store = Store.open_existing(invocation.load_config().paths.store_url)
    if store is None:
        line = invocation.suggest("tokens", "create", "NAME")
        raise UsageError("there are no tokens yet", hint=line)
    with store:
        token = store.tokens.revoke(id_or_name)
    if invocation.json:
        invocation.answer(token.to_dict())
        return
    write_line(sys.stdout, f"revoked {printable(token.name)} ({token.id})")


def audit(
    ctx: typer.Context,
    *,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, max=1000, metavar="N", envvar=env("limit"), help="Most entries shown."
        ),
    ] = 20,
    cursor: CursorOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List who has changed what through the service, the newest first; 90 days are kept.

    Examples:
      lexigram-ray tokens audit
      lexigram-ray tokens audit --limit 100 --json | jq '.items[] | select(.token_name == "ci")'

    A status that is unknown: it is under way, or was broken off and may have been done.
    """
    from lexigram_ray.cli.tokens_table import print_entries
    from lexigram_ray.jobs.store import Store

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    store = Store.open_existing(invocation.load_config().paths.store_url)
    if store is None:
        page, following = [], None
    else:
        with store:
            page, following = store.audit.page(limit=limit, cursor=cursor)
    if invocation.json:
        invocation.answer({"items": [entry.to_dict() for entry in page], "next": following})
        return
    if page:
        print_entries(page)
    else:
        said = "there is nothing older" if cursor else "nothing was changed through the service yet"
        say(said, label="note")
    if following is not None:
        more = ("--limit", str(limit), "--cursor", following)
        say(invocation.suggest("tokens", "audit", *more), label="more with", style="cyan")


def _say_what_it_allows(token: AccessToken) -> None:
    from lexigram_ray.cli.job_words import local_time

    until = "it is revoked" if token.expires_at is None else local_time(token.expires_at)
    scopes = ", ".join(token.scopes)
    name = printable(token.name)
    say(f"{name} ({token.id}) allows {scopes}, until {until}", label="made", style="green")
    say("nobody can show it again: keep it now", label="note")


tokens_app.callback(help=help_of(tokens))(tokens)
tokens_app.command("create", help=help_of(create), short_help="Make a token and print it once.")(
    create
)
tokens_app.command("list", help=help_of(list_tokens), short_help="List tokens, without secrets.")(
    list_tokens
)
tokens_app.command("revoke", help=help_of(revoke), short_help="Take a token's rights away.")(revoke)
tokens_app.command("audit", help=help_of(audit), short_help="List who has changed what.")(audit)
